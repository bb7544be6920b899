"""LangChain's standard integration suite on handles, answered by llmock.

What does not pass is in `standard.EXCEPTIONS`. The other adapters, the model in this process and
the providers' own classes take longer: `python -m pytest tests/models/standard_more.py`.
"""

from __future__ import annotations

import pytest

from tests.models import standard

pytestmark = [pytest.mark.filterwarnings(warning) for warning in standard.WARNINGS]


class TestOpenAI(standard.OpenAICases):
    pass


class TestAnthropic(standard.AnthropicCases):
    pass
