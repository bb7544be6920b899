"""The application in the process of the tests, on a real socket, asking the scripted provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import llmkeep
from llmkeep.agents import ConversationHandler
from llmkeep.settings import Settings, load, settings
from tests.service.api.application import Running, running
from tests.support.scripted_fixtures import scripted, scripted_server
from tests.support.service_client import Client

__all__ = ["scripted", "scripted_server"]

Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def own_settings() -> Iterator[Settings]:
    """What a test sets is not set for the next, and no model is kept from one to the next."""
    ConversationHandler.clear_llm_cache()
    fresh = load()
    yield settings
    settings.llm, settings.agents, settings.service = fresh.llm, fresh.agents, fresh.service
    ConversationHandler.clear_llm_cache()
    llmkeep.close()


@pytest.fixture
def start(own_settings: Settings, scripted: Any, tmp_path: Path) -> Start:
    """Starts the application on a folder of the test's, with settings of the service's section."""
    settings.agents.conversation_handler_default_model = "openai:scripted"

    @asynccontextmanager
    async def start(**values: Any) -> AsyncIterator[Running]:
        for name, value in {"data_dir": tmp_path / "data", **values}.items():
            setattr(settings.service, name, value)
        async with running(settings.service) as app:
            yield app

    return start


@pytest.fixture
async def app(start: Start) -> AsyncIterator[Running]:
    """The application as it comes: nobody signs in."""
    async with start() as app:
        yield app


@pytest.fixture
async def client(app: Running) -> AsyncIterator[Client]:
    """Speaks to it."""
    async with Client(app.address) as client:
        yield client
