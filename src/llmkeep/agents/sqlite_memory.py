"""Conversations in a SQLite file, for every event loop and thread, and for several processes.

LangGraph's asynchronous saver belongs to one loop; here each loop leases one of its own, opened
when it is first used and closed when the loop ends. Synchronous callers share one more.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast, final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol
from typing_extensions import override

from llmkeep.core import ClientCache, Lease, Scope

from .leased_saver import KEEP_LATEST, LeasedSaver
from .pruning import Row, superseded
from .stopping import whole

try:
    import aiosqlite
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
except ModuleNotFoundError as missing:
    raise ImportError(
        f'{missing.name} is not installed: pip install "llmkeep[agents]"', name=missing.name
    ) from None

#: Seconds to wait for others that write to the same file.
BUSY_TIMEOUT: Final = 30.0

#: Seconds that opening which was cut off gets to end.
END_TIMEOUT: Final = 5.0

#: Pages (of 4 kB) of the write-ahead log after which it is written into the file, and the bytes
#: that the log keeps of its own file then.
LOG_PAGES: Final = 64
LOG_BYTES: Final = LOG_PAGES * 4096

#: So many pages may stay free after pruning for each that is in use: a turn stores the whole
#: conversation about three times, and giving pages back only to take them again costs more.
FREE_PER_USED: Final = 3


class SqliteMemory(LeasedSaver):
    """A checkpoint saver in a SQLite file; the same object for every loop and thread.

    The file, private to its owner, and its folder are made when it is first used. Several
    processes may use one file; a forked child opens its own connections. What a run has stored
    survives the end of its process at any moment; the last moments before a power failure may be
    lost. `close` it when it is given up before the process ends.

    Args:
        path: the file.
        serde: how values are written: an `EncryptedSerializer` encrypts what was said.

    Raises ValueError for a database in memory, and what sqlite3 raises: OperationalError where
    the file cannot be opened or others have been writing for 30 seconds.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, serde: SerializerProtocol | None = None
    ) -> None:
        super().__init__(serde=serde)
        if str(path) in ("", ":memory:"):
            raise ValueError("a database in memory has no file to share: use ConversationMemory")
        self.path: Final = Path(path).expanduser().absolute()
        self._savers: Final = ClientCache[None, _LoopSaver | _ThreadSaver](
            lambda _: self._open(),
            abuild=lambda _: self._aopen(),
            close=_close,
            scope=Scope.LOOP,
            name="sqlite",
            label=lambda _: "saver",
        )

    def close(self) -> None:
        """Close the file, and take no more calls. Waits for those that are under way."""
        self._savers.close()

    async def aclose(self) -> None:
        """The same without blocking the loop."""
        await self._savers.aclose()

    @override
    def _lease(self, thread_id: str | None) -> Lease[_LoopSaver | _ThreadSaver]:
        return self._savers.lease(None)

    _alease = _lease

    def _open(self) -> _ThreadSaver:
        return _ThreadSaver(
            sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT, check_same_thread=False, factory=_Database
            ),
            serde=self.serde,
        )

    async def _aopen(self) -> _LoopSaver:
        connection = aiosqlite.connect(self.path, timeout=BUSY_TIMEOUT, factory=_Database)
        thread = _thread_of(connection)
        thread.daemon = True  # the process would wait for any other for ever
        try:
            opened = await connection
        except BaseException:
            # The thread ends, but tells this loop so: that has to be before the loop is closed.
            deadline = time.monotonic() + END_TIMEOUT
            while thread.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.001)  # nobody tells of a thread's end
            raise
        saver = _LoopSaver(opened, serde=self.serde)
        try:
            await saver.setup()
        except BaseException:
            await connection.close()
            raise
        return saver

    # A write is several statements on another thread. Cut off between them, it would keep the
    # file locked for everybody else until this loop writes again: so it is seen through.

    @override
    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await whole(super().aput(config, checkpoint, metadata, new_versions))

    @override
    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await whole(super().aput_writes(config, writes, task_id, task_path))

    @override
    async def adelete_thread(self, thread_id: str) -> None:
        await whole(super().adelete_thread(thread_id))


# --- the savers that are leased, with what they lack ---------------------------------------------

_ROWS: Final = """
    SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id,
        json_extract(CAST(metadata AS TEXT), '$.parents.""'),
        json_type(CAST(metadata AS TEXT), '$.counters_since_delta_snapshot') IS NOT NULL
    FROM checkpoints WHERE thread_id = ?"""
_DELETES: Final = (
    "DELETE FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
    "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
)


@final
class _LoopSaver(AsyncSqliteSaver):
    """The saver of one event loop; lives as long as that, or until it is idle."""

    @override
    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = KEEP_LATEST) -> None:
        connection: Any = self.conn
        async with self.lock:
            for thread in thread_ids:
                # One step on the connection's thread, which nothing cuts in the middle; aiosqlite
                # has no public way to do several statements in one.
                await connection._execute(lambda name: _prune(connection._conn, name), thread)


@final
class _ThreadSaver(SqliteSaver):
    """The saver of all synchronous callers."""

    @override
    def prune(self, thread_ids: Sequence[str], *, strategy: str = KEEP_LATEST) -> None:
        for thread in thread_ids:
            with self.cursor(transaction=False):
                _prune(self.conn, thread)


def _prune(connection: sqlite3.Connection, thread: str) -> None:
    rows = connection.execute(_ROWS, (thread,)).fetchall()
    gone = [(thread, *each) for each in superseded(Row(*row) for row in rows)]
    if not gone:
        return
    with connection:  # which commits, or rolls back
        for delete in _DELETES:
            connection.executemany(delete, gone)
    ((free,),) = connection.execute("PRAGMA freelist_count").fetchall()
    ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    # Back go free pages beyond what the steps of the next turn will fill again.
    surplus = free - FREE_PER_USED * (pages - free)
    if surplus > 0:  # a script: of a statement one step would be taken, which is one page
        connection.executescript(f"PRAGMA incremental_vacuum({surplus})")


# --- connections ---------------------------------------------------------------------------------


@final
class _Database(sqlite3.Connection):
    """A connection to a file that is ready for several writers; blocks while it is being made.

    Made by the thread that is to use it: aiosqlite's own, for a loop.
    """

    def __init__(self, path: str | Path, *args: Any, **options: Any) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_new = not path.exists()
        super().__init__(path, *args, **options)
        try:
            if is_new:  # nothing is in it yet, and the files beside it get the mode of this one
                path.chmod(0o600)
            self._get_ready()
        except BaseException:
            self.close()
            raise

    def _get_ready(self) -> None:
        deadline = time.monotonic() + BUSY_TIMEOUT
        self.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded by a new file alone
        while True:
            try:
                self.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                # Others are making the file right now, and SQLite does not wait for that.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")


def _thread_of(connection: aiosqlite.Connection) -> threading.Thread:
    """The thread that does the connection's work."""
    thread: Any = getattr(connection, "_thread", connection)  # up to 0.21 it was itself the thread
    return cast("threading.Thread", thread)


def _close(saver: _LoopSaver | _ThreadSaver) -> None:
    """On a thread of ours: the saver's loop may be gone, and its connection is bound to none."""
    if isinstance(saver, _ThreadSaver):
        saver.conn.close()
    elif _thread_of(saver.conn).is_alive():  # else a loop was closed under its work, which ended it
        asyncio.run(saver.conn.close())
