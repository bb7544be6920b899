"""What the tests of the store write: threads, messages and runs, with as few words as possible."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from llmkeep.service.interfaces import Change, EventsAdded, MessagesPut, RunChanged
from llmkeep.service.records import Frame, Message, Run, RunRequest, Thread
from llmkeep.service.storage.sqlite_store import SqliteStore

BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that goes on by a second with each look, or as far as it is told."""

    def __init__(self) -> None:
        self.time = BEGINNING

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


def message(message_id: str, parent_id: str | None = None, **fields: Any) -> Message:
    """A message that a user says, if nothing else is told of it."""
    given = {"run_id": "r1", "role": "user", "content": message_id, "created_at": BEGINNING}
    return Message(message_id=message_id, parent_id=parent_id, **{**given, **fields})


def request(thread: Thread, run_id: str = "r1", fingerprint: str = "same") -> RunRequest:
    return RunRequest(thread_id=thread.thread_id, run_id=run_id, fingerprint=fingerprint)


def frames(first: int, last: int) -> list[Frame]:
    return [Frame(n, f'{{"event": {n}}}', is_terminal=n == last) for n in range(first, last + 1)]


async def open_thread(store: SqliteStore, thread_id: str = "t1", user: str = "ann") -> Thread:
    thread, _ = await store.open_thread(user, thread_id)
    return thread


async def open_run(store: SqliteStore, thread: Thread, run_id: str = "r1") -> Run:
    run, _ = await store.add_run(thread, request(thread, run_id), request={}, model="openai:some")
    return run


async def say(store: SqliteStore, thread: Thread, *messages: Message) -> None:
    await store.write([MessagesPut(thread.key, messages)])


async def finish(
    store: SqliteStore, run: Run, *, events: int = 3, at: datetime = BEGINNING, **fields: Any
) -> None:
    """The run has been, with so many events."""
    ended = {"status": "success", "started_at": at, "ended_at": at, **fields}
    changes: list[Change] = [EventsAdded(run.key, frames(1, events)), RunChanged(run.key, ended)]
    await store.write(changes)


async def again(store: SqliteStore, thread: Thread) -> Thread:
    """How the thread is by now."""
    found = await store.thread(thread.user, thread.thread_id, deleted=True)
    assert found is not None
    return found


def ids(messages: Sequence[Message]) -> list[str]:
    return [each.message_id for each in messages]
