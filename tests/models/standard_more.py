"""The rest of LangChain's standard integration suite; not in the default run.

`python -m pytest tests/models/standard_more.py`: the other adapters, the model in this process, and
the providers' own classes, as they come. What fails on a handle and passes on its class is a fault
of ours.
"""

from __future__ import annotations

import pytest

from tests.models import standard

pytestmark = [pytest.mark.filterwarnings(warning) for warning in standard.WARNINGS]


class TestOpenAIResponses(standard.OpenAIResponsesCases):
    pass


class TestAzure(standard.AzureCases):
    pass


class TestLangSmith(standard.LangSmithCases):
    pass


class TestLocal(standard.LocalCases):
    pass


class TestBareOpenAI(standard.Bare, standard.OpenAICases):
    pass


class TestBareOpenAIResponses(standard.Bare, standard.OpenAIResponsesCases):
    pass


class TestBareAnthropic(standard.Bare, standard.AnthropicCases):
    sdk_clients = ("_client", "_async_client")
