"""A store in a file of the test's own, with a clock that the test holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmkeep.service.records import Thread
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.storage.scene import Clock, open_thread


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "service.sqlite3", now=clock) as store:
        yield store


@pytest.fixture
async def thread(store: SqliteStore) -> Thread:
    """Ann's thread `t1`."""
    return await open_thread(store)
