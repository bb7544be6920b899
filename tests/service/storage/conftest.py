"""A store in a file of the test's own, with a clock that the test holds."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmkeep.service.records import Thread
from llmkeep.service.storage.database import migrate
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.storage.scene import Clock, open_thread


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tables of today, to be copied: making them is slow."""
    file = tmp_path_factory.mktemp("store") / "service.sqlite3"
    migrate(file)
    return file


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock, empty_file: Path) -> AsyncIterator[SqliteStore]:
    shutil.copy(empty_file, tmp_path)
    async with SqliteStore(tmp_path / empty_file.name, now=clock) as store:
        yield store


@pytest.fixture
async def thread(store: SqliteStore) -> Thread:
    """Ann's thread `t1`."""
    return await open_thread(store)
