"""Runs on the real store, with an agent that the test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmkeep.service.runs import Runs
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.runs.fakes import Agent, Store

Serve = Callable[..., AbstractAsyncContextManager[Runs]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with SqliteStore(tmp_path / "store.sqlite3") as real:
        yield Store(real)


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def serve(store: Store, agent: Agent) -> Serve:
    """Enters runs with settings of the test's; they have left no task behind when it is over."""

    @asynccontextmanager
    async def serve(**settings: Any) -> AsyncIterator[Runs]:
        settings = {"write_interval": 0.002, "patience": 0.5, **settings}
        async with Runs(store, agent, **settings) as runs:
            yield runs
        assert runs.count("u") == 0

    return serve


@pytest.fixture
async def runs(serve: Serve) -> AsyncIterator[Runs]:
    async with serve() as runs:
        yield runs
