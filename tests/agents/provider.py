"""Fixtures: a provider that answers as a test says, for the agents and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llmock.pytest_plugin import LLMock

from tests.support.standin import StandIn


@pytest.fixture(scope="session")
def standin() -> Iterator[StandIn]:
    """A provider on a real socket; its wire formats are an independent project's."""
    with StandIn(tls=False) as server:
        yield server


@pytest.fixture
def llmock(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> LLMock:
    """The stand-in, clean, with the SDKs pointed at it; its methods say what it answers."""
    standin.reset()
    for provider in ("openai", "anthropic"):
        monkeypatch.setenv(f"{provider.upper()}_BASE_URL", standin.base_url(provider))
        monkeypatch.setenv(f"{provider.upper()}_API_KEY", "not-a-key")
    return standin.llm
