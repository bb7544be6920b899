"""What Schemathesis finds out about the service from its OpenAPI document alone.

OPENAPI_EXAMPLES=200 pytest tests/service/protocol/test_openapi.py      looks for longer
"""

from __future__ import annotations

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.schemas import BaseSchema

from tests.support.scripted import Scripted
from tests.support.scripted_signal import PATIENCE
from tests.support.scripted_wire import Text
from tests.support.service import Service

#: Generated requests for each operation, beside those for each boundary of its parameters.
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "5"))


@pytest.fixture
def described(service: Service, provider: Scripted) -> BaseSchema:
    """The document, as the running service gives it."""
    provider.answers = lambda _: [Text("hi")]
    schema = schemathesis.openapi.from_url(f"{service.address}/api/openapi.json")
    return schema.exclude(path="/api/cache/stream")  # it does not end


described_lazily = schemathesis.pytest.from_fixture("described")


@described_lazily.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_described(case: schemathesis.Case):
    """No 5xx; each answer has a described status, type and shape; each refusal is a problem."""
    response = case.call(timeout=PATIENCE)
    case.validate_response(response)
    if response.status_code >= 400:
        [kind] = response.headers["content-type"]
        assert kind == "application/problem+json"
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["code"]
        assert problem["detail"]
