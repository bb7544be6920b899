"""A key that is nobody's, and nothing that one test leaves for the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llmkeep
from llmkeep.agents import ConversationHandler
from llmkeep.agents.memory import SHARED_MEMORY
from llmkeep.settings import Settings, load, settings
from tests.agents.provider import llmock, standin
from tests.support.scripted_fixtures import scripted, scripted_server, wire

__all__ = ["llmock", "scripted", "scripted_server", "standin", "wire"]


@pytest.fixture(autouse=True)
def a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models can be made; nothing answers there."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Each test starts without instances and conversations, and leaves none."""
    ConversationHandler.clear_llm_cache()
    yield
    SHARED_MEMORY.clear()
    ConversationHandler.clear_llm_cache()
    llmkeep.close()


@pytest.fixture(autouse=True)
def own_settings(nothing_kept: None) -> Iterator[Settings]:
    """What a test sets is not set for the next."""
    fresh = load()
    yield settings
    settings.llm, settings.agents = fresh.llm, fresh.agents
