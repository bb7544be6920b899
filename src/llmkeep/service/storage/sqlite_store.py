"""`interfaces.Store` in a SQLite file: threads, messages, runs and their events.

For one process, which owns the folder (`folder.DataFolder`). What is told as written survives the
end of the process at any moment, SIGKILL included; a power failure may cost the last moments, and
never the file. Not here: what a run is, and when it is written (`runs`).

A PostgreSQL edition fills the same interface: `statements` and `rows` are most of it; what is
SQLite's own is in `database`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self, final

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from llmkeep.service.errors import Conflict, Invalid, NotFound
from llmkeep.service.interfaces import Change
from llmkeep.service.records import Frame, Message, Run, RunRequest, Thread, ThreadPage

from . import batch, statements
from .database import Database, Statement, Transaction
from .rows import (
    as_message,
    as_messages,
    as_run,
    as_thread,
    fold,
    pending_run,
    run_values,
    to_json,
    to_number,
)

#: So many words of a query are looked for, and so many characters of each.
MAX_WORDS: Final = 8
MAX_WORD: Final = 200

#: The largest number that SQLite keeps.
_LARGEST: Final = 2**63 - 1

#: For so long the tokens of purged threads are remembered: longer than any limit looks back.
TOKENS_KEPT: Final = timedelta(days=2)


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@final
class SqliteStore:
    """The store of one event loop, from `open` (or `async with`) to `close`.

    Args:
        path: the file, in a folder that is there.
        now: the clock.

    `open` makes or migrates the file: it raises SettingsError for one that a newer llmkeep has
    written. All methods raise Unavailable where the file cannot be read or written, and after
    `close`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.file: Final = Path(path)
        self._now: Final = now
        self._database: Final = Database(self.file)

    async def open(self) -> Self:
        """Make or migrate the file, and open it."""
        await self._database.open()
        return self

    async def close(self) -> None:
        """Close the file, after what is being written."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    @property
    def sessions(self) -> async_sessionmaker[AsyncSession]:
        """For tools whose rows are in the same file: the notes."""
        return self._database.sessions

    async def check(self) -> None:
        """Read and write. Raises Unavailable, which says why not."""

        def touch(transaction: Transaction) -> None:
            # A number in the file's header that nobody else uses.
            transaction.rows(statements.TOUCH)

        await self._database.write(touch)

    async def version(self) -> tuple[str, str]:
        """Which version of the tables the file has, and which this code writes."""
        ((version,),) = await self._database.read(statements.VERSION)
        return version, self._database.newest

    # --- threads ---

    async def thread(self, user: str, thread_id: str, *, deleted: bool = False) -> Thread | None:
        """The thread; with `deleted` also one whose undo time is not over."""
        found = await self._find(statements.FIND_THREAD, user=user, thread_id=thread_id)
        thread = as_thread(found) if found else None
        return None if thread and thread.deleted_at and not deleted else thread

    async def open_thread(
        self,
        user: str,
        thread_id: str,
        *,
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[Thread, bool]:
        """The thread, and whether it was made now. A deleted one comes with `deleted_at`."""
        values = {
            "user": user,
            "thread_id": thread_id,
            "title": title,
            "folded": fold(title),
            "is_titled": bool(title),
            "metadata": to_json(dict(metadata or {})),
            "now": to_number(self._now()),
        }

        def add(transaction: Transaction) -> tuple[Thread, bool]:
            added = transaction.rows(statements.ADD_THREAD, **values)
            (row,) = transaction.rows(statements.FIND_THREAD, user=user, thread_id=thread_id)
            return as_thread(row), bool(added)

        return await self._database.write(add)

    async def threads(
        self, user: str, *, limit: int, cursor: str | None = None, query: str = ""
    ) -> ThreadPage:
        """Newest activity first; each word of `query` is in the title or in a message.

        A thread that becomes active moves to the front: what comes after a cursor neither repeats
        nor leaves out any of the others. Raises Invalid for a cursor that is none.
        """
        words = {f"word{n}": _pattern(w) for n, w in enumerate(fold(query).split()[:MAX_WORDS])}
        place = {} if cursor is None else _place(cursor)
        find = statements.page_of_threads(len(words), is_first=cursor is None)
        look = self._database.search if words else self._database.scan
        rows = await look(find, user=user, limit=limit + 1, **words, **place)
        threads = [as_thread(row) for row in rows[:limit]]
        return ThreadPage(threads, _cursor(threads[-1]) if len(rows) > limit else None)

    async def rename_thread(self, thread: Thread, title: str) -> Thread:
        """Give it a title that automatic ones do not replace."""
        return await self._change(thread, statements.RENAME_THREAD, new=title, folded=fold(title))

    async def delete_thread(self, thread: Thread, at: datetime) -> None:
        """Hide it; `purge_thread` ends it. One that is hidden already stays so from then."""
        await self._change(thread, statements.DELETE_THREAD, at=to_number(at))

    async def restore_thread(self, thread: Thread) -> Thread:
        """Undo that."""
        return await self._change(thread, statements.RESTORE_THREAD)

    async def _change(self, thread: Thread, change: Statement, **values: Any) -> Thread:
        def work(transaction: Transaction) -> Sequence[Any]:
            transaction.rows(change, thread=thread.key, **values)
            return transaction.rows(statements.READ_THREAD, thread=thread.key)

        rows = await self._database.write(work)
        if not rows:
            raise NotFound("there is no such thread any more: its undo time was over")
        return as_thread(rows[0])

    async def threads_deleted_before(self, moment: datetime) -> Sequence[Thread]:
        """Those whose undo time is over, but for those of which a run is still being stopped."""
        rows = await self._database.scan(statements.DELETED_THREADS, moment=to_number(moment))
        return [as_thread(row) for row in rows]

    async def purge_thread(self, thread: Thread) -> None:
        """Delete it with messages, runs and events, unless it has been restored.

        The tokens it cost still count: deleting gives none back.
        """
        moment = to_number(self._now() - TOKENS_KEPT)

        def purge(transaction: Transaction) -> None:
            transaction.rows(statements.FORGET_PURGED_TOKENS, moment=moment)
            transaction.rows(statements.KEEP_PURGED_TOKENS, thread=thread.key, moment=moment)
            transaction.rows(statements.PURGE_THREAD, thread=thread.key)

        await self._database.write(purge)
        await self._database.shrink()

    # --- messages ---

    async def messages(self, thread: Thread) -> Sequence[Message]:
        """All, of all branches, oldest first; `model` and `usage` come from their runs."""
        return as_messages(await self._database.scan(statements.MESSAGES, thread=thread.key))

    async def message(self, thread: Thread, message_id: str) -> Message | None:
        """One, without usage."""
        row = await self._find(statements.MESSAGE, thread=thread.key, message_id=message_id)
        return as_message(row) if row else None

    async def path(self, thread: Thread, message_id: str | None) -> Sequence[Message]:
        """From the first message down to this one, without usage; empty for None."""
        if message_id is None:
            return []
        rows = await self._database.read(statements.PATH, thread=thread.key, message_id=message_id)
        return [as_message(row) for row in rows]

    async def known_messages(self, thread: Thread, ids: Sequence[str]) -> frozenset[str]:
        """Which of these ids there are."""
        if not ids:
            return frozenset()
        rows = await self._database.read(
            statements.KNOWN, thread=thread.key, ids=json.dumps(list(ids))
        )
        return frozenset(message_id for (message_id,) in rows)

    async def ids_beside(self, thread: Thread, message_id: str | None) -> frozenset[str]:
        """Ids of messages and of their calls that are not on the path to this one."""
        rows = await self._database.read(
            statements.BESIDE, thread=thread.key, message_id=message_id
        )
        calls = (call[0] for row in rows if row[1] for call in json.loads(row[1]))
        return frozenset((*(row[0] for row in rows), *calls))

    # --- runs ---

    async def run(self, user: str, thread_id: str, run_id: str) -> Run | None:
        """One; None also where its thread is deleted."""
        row = await self._find(statements.FIND_RUN, user=user, thread_id=thread_id, run_id=run_id)
        return as_run(row) if row else None

    async def add_run(
        self, thread: Thread, asked: RunRequest, *, request: Mapping[str, Any], model: str | None
    ) -> tuple[Run, bool]:
        """A pending run, and whether it was added now.

        Raises Conflict where the thread has been deleted meanwhile.
        """
        run = pending_run(thread, asked, request, model, self._now())
        values = run_values(run)

        def add(transaction: Transaction) -> tuple[Run | None, bool]:
            for (key,) in transaction.rows(statements.ADD_RUN, **values):
                return replace(run, key=key), True
            for row in transaction.rows(
                statements.RUN_OF_THREAD, thread=thread.key, run_id=asked.run_id
            ):
                return as_run(row), False
            return None, False

        found, is_new = await self._database.write(add)
        if found is None:
            raise Conflict(
                "this conversation has been deleted: restore it first", code="thread_deleted"
            )
        return found, is_new

    async def runs(self, thread: Thread, *, limit: int) -> Sequence[Run]:
        """Newest first."""
        rows = await self._database.scan(statements.RUNS, thread=thread.key, limit=limit)
        return [as_run(row) for row in rows]

    async def last_run(self, thread: Thread) -> Run | None:
        """The newest that has begun."""
        row = await self._find(statements.LAST_RUN, thread=thread.key)
        return as_run(row) if row else None

    async def unfinished_runs(self) -> Sequence[Run]:
        """Of all users, oldest first: what a process that was killed has left."""
        rows = await self._database.scan(statements.UNFINISHED_RUNS)
        return [as_run(row) for row in sorted(rows)]  # whose first column is the number

    async def tokens_since(self, user: str, moment: datetime) -> int:
        """The tokens of the user's runs that were made since then, those of purged ones too.

        Purged ones are remembered for `TOKENS_KEPT`.
        """
        ((tokens,),) = await self._database.read(
            statements.TOKENS_SINCE, user=user, moment=to_number(moment)
        )
        return int(tokens)

    # --- events ---

    async def events(self, run: Run, *, after: int, limit: int) -> Sequence[Frame]:
        """The events behind number `after`; `is_terminal` is true of the last of an ended run."""
        rows = await self._database.read(statements.EVENTS, run=run.key, after=after, limit=limit)
        return [Frame(number, data, bool(is_last)) for number, data, is_last in rows]

    async def runs_to_compact(self, ended_before: datetime, *, limit: int) -> Sequence[Run]:
        """Ended runs whose events are still there."""
        moment = to_number(ended_before)
        rows = await self._database.scan(statements.RUNS_TO_COMPACT, moment=moment, limit=limit)
        return [as_run(row) for row in rows]

    async def compact_run(self, run: Run) -> None:
        """Drop its events but the first and the last."""

        def compact(transaction: Transaction) -> None:
            transaction.rows(statements.DROP_EVENTS, run=run.key)
            transaction.rows(statements.MARK_COMPACTED, run=run.key)

        await self._database.write(compact)

    async def write(self, changes: Sequence[Change]) -> None:
        """All of them or none, in order; what belongs to a purged thread is left out.

        Can be repeated: an event whose number is there stays as it is.
        """
        if changes:
            await batch.write(self._database, changes, self._now())

    async def _find(self, statement: Statement, **values: Any) -> Sequence[Any] | None:
        rows = await self._database.read(statement, **values)
        return rows[0] if rows else None


# --- cursors and queries -------------------------------------------------------------------------


def _cursor(thread: Thread) -> str:
    place = f"{to_number(thread.updated_at)}.{thread.key}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _place(cursor: str) -> dict[str, int]:
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
        updated_at, key = (int(part) for part in place.decode().split("."))
        if max(updated_at, key) > _LARGEST:
            raise ValueError(place)
    except ValueError:
        raise Invalid("the cursor is none of ours: leave it out", code="invalid_cursor") from None
    return {"updated_at": updated_at, "key": key}


def _pattern(word: str) -> str:
    word = word[:MAX_WORD]
    for special in ("\\", "%", "_"):
        word = word.replace(special, f"\\{special}")
    return f"%{word}%"
