"""A fake provider, a stand-in for real ones, and a default cache that is closed after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llmkeep.models
from llmkeep.core import Scope
from llmkeep.models.providers import PROVIDERS
from tests.models.fakes import FakeClient, KeyedStandIn, fake_adapter
from tests.models.standard import (  # noqa: F401 - hooks, by their names
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
)


@pytest.fixture(autouse=True)
def closed_afterwards(nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No model outlives a test, and what the test registered goes."""
    known = dict(PROVIDERS)
    llmkeep.models.register(fake_adapter())
    llmkeep.models.register(fake_adapter("fake_loop", Scope.LOOP))
    llmkeep.models.register(fake_adapter("fake_exclusive", Scope.exclusive(1)))
    monkeypatch.setenv("FAKE_API_KEY", "fake-key")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-anthropic")
    FakeClient.made.clear()
    yield
    llmkeep.models.close(timeout=5)
    PROVIDERS.clear()
    PROVIDERS.update(known)


@pytest.fixture(scope="session")
def running_standin() -> Iterator[KeyedStandIn]:
    with KeyedStandIn() as standin:
        yield standin


@pytest.fixture
def standin(running_standin: KeyedStandIn, monkeypatch: pytest.MonkeyPatch) -> KeyedStandIn:
    """A provider behind TLS that both adapters reach by their environment."""
    running_standin.reset()
    monkeypatch.setenv("SSL_CERT_FILE", str(running_standin.authority))
    monkeypatch.setenv("OPENAI_API_BASE", running_standin.base_url("openai"))
    monkeypatch.setenv("ANTHROPIC_API_URL", running_standin.base_url("anthropic"))
    return running_standin
