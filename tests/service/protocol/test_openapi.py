"""What Schemathesis finds out about the service from its OpenAPI document alone.

    OPENAPI_EXAMPLES=200 pytest tests/service/protocol/test_openapi.py      looks for longer

Its command is run, beside pytest: it goes through examples, boundaries, random values, and chains
of requests in which one takes what another gave.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.scripted import Scripted
from tests.support.scripted_wire import Text
from tests.support.service import ROOT, Service

#: Generated requests for each operation, beside those at the boundaries.
EXAMPLES = os.environ.get("OPENAPI_EXAMPLES", "5")


def test_every_answer_is_described(service: Service, provider: Scripted, tmp_path: Path):
    """No 5xx; each answer has a described status, type and shape; each refusal is a problem."""
    provider.answers = lambda _: [Text("hi")]

    explored = explore(service, tmp_path)

    assert explored.returncode == 0, explored.stdout + explored.stderr
    assert '"level": "error"' not in service.output


def explore(service: Service, folder: Path) -> subprocess.CompletedProcess[str]:
    """One run of Schemathesis, the same each time."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", "--no-color"]
    options = {
        "--exclude-path": "/api/cache/stream",  # it does not end
        # A model that is not configured, or a cursor of nobody's, is of the right form.
        "--exclude-checks": "positive_data_acceptance",
        "--max-examples": EXAMPLES,
        "--request-timeout": "30",
    }
    return subprocess.run(
        [
            *command,
            f"{service.address}/api/openapi.json",
            "--generation-deterministic",
            *(part for option in options.items() for part in option),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.service.protocol.problems",
        },
        capture_output=True,
        text=True,
        check=False,
    )
