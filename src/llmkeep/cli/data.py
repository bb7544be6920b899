"""Where the terminal keeps what it keeps: conversations, notes and the lines one has typed.

One SQLite file and one text file in the user's data folder, readable by the user alone.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import platformdirs
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from llmkeep.agents.sqlite_memory import SqliteMemory
from llmkeep.agents.tools import notes
from llmkeep.core.errors import LLMKeepError

from . import conversations

#: The environment variable that names another folder.
VARIABLE: Final = "LLMKEEP_DATA_FOLDER"

DATABASE: Final = "conversations.sqlite3"
HISTORY: Final = "history"


def data_folder(given: Path | None = None) -> Path:
    """The folder: the one given, else the one of the environment, else the user's own."""
    named = given or os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("llmkeep", appauthor=False)


def make_private(folder: Path) -> None:
    """Make the folder and the file of lines, for the user alone. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(folder / HISTORY, os.O_RDWR | os.O_CREAT, 0o600))


def check_database(path: Path) -> None:
    """Whether it can be used. Raises sqlite3.Error.

    Tried here, since a connection for asyncio that cannot be made ends later than its caller: its
    thread then speaks to a loop that may be closed.
    """
    if path.exists():
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode = WAL")


class UnusableFolder(LLMKeepError):
    """Nothing can be kept in the data folder; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An open data folder; lives until it is closed, on one event loop."""

    folder: Path
    memory: SqliteMemory
    conversations: conversations.Conversations
    session: AsyncSession
    """For tools that keep something of the user's."""
    engine: AsyncEngine

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open it, made if there is none. Raises UnusableFolder."""
        try:
            return await cls._open(folder)
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            raise UnusableFolder(
                f"conversations cannot be kept in {folder} ({type(error).__name__}): "
                f"name another folder by --data-folder or {VARIABLE}"
            ) from None

    @classmethod
    async def _open(cls, folder: Path) -> Self:
        make_private(folder)
        check_database(folder / DATABASE)
        memory = SqliteMemory(folder / DATABASE)
        engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(memory.path)))
        session = AsyncSession(engine, expire_on_commit=False)
        kept = cls(folder, memory, conversations.Conversations(engine), session, engine)
        try:
            await memory.aget_tuple({"configurable": {"thread_id": ""}})  # makes the file its way
            async with engine.begin() as connection:
                for tables in (conversations.metadata, notes.metadata):
                    await connection.run_sync(tables.create_all)
        except BaseException:
            await kept.close()
            raise
        return kept

    @property
    def history(self) -> Path:
        """The file of the lines one has typed."""
        return self.folder / HISTORY

    async def close(self) -> None:
        """Close everything."""
        await self.session.close()
        await self.engine.dispose()
        await self.memory.aclose()
