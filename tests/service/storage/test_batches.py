"""Batches: all of them or nothing, whoever fails, is cancelled or keeps the file locked."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from llmkeep.service.errors import Unavailable
from llmkeep.service.interfaces import EventsAdded, MessagesPut, RunChanged, TitleGiven
from llmkeep.service.records import Call
from llmkeep.service.storage import database
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.storage.scene import (
    BEGINNING,
    again,
    finish,
    frames,
    ids,
    message,
    open_run,
    open_thread,
    say,
)

STEPS_OF_A_BATCH = 9  # begin, three events, message, head, title, run, commit


def changes(thread: Any, run: Any) -> list[Any]:
    """One of each kind."""
    return [
        EventsAdded(run.key, frames(1, 3)),
        MessagesPut(thread.key, [message("a")]),
        TitleGiven(thread.key, "Title"),
        RunChanged(run.key, {"tokens": 5}),
    ]


async def is_written(store: SqliteStore, run: Any) -> bool:
    """Whether those are there, all of them; fails where only some are."""
    thread = await store.thread(run.user, run.thread_id)
    now = await store.run(run.user, run.thread_id, run.run_id)
    assert thread is not None
    assert now is not None
    parts = {
        now.last_event == 3,
        ids(await store.messages(thread)) == ["a"],
        thread.title == "Title",
        now.tokens == 5,
    }
    assert len(parts) == 1
    return parts.pop()


def is_locked(store: SqliteStore) -> bool:
    """Whether somebody is writing, or keeps others from it."""
    with closing(sqlite3.connect(store.file, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        return False


class Steps:
    """Does something, on the loop, before each statement of the connection that writes."""

    def __init__(self, store: SqliteStore) -> None:
        self.taken = 0
        self.doing: Any = lambda: None
        self._loop = asyncio.get_running_loop()
        assert store._database._writer is not None
        store._database._writer.set_trace_callback(self._begins)

    def _begins(self, _statement: str) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._do, done)
        assert done.wait(10)

    def _do(self, done: threading.Event) -> None:
        self.taken += 1
        try:
            self.doing()
        finally:
            done.set()


@pytest.fixture
async def steps(store: SqliteStore) -> Steps:
    return Steps(store)


async def test_nothing_is_left_of_a_batch_that_fails(store, thread):
    """Not what came before in it, nor a lock; the next is written."""
    run = await open_run(store, thread)
    bad = MessagesPut(thread.key, [message("b", duration=object())])

    for wrong in ([*changes(thread, run), bad], [bad, *changes(thread, run)]):
        with pytest.raises(sqlite3.Error):
            await store.write(wrong)
        assert not await is_written(store, run)
        assert not is_locked(store)
    with pytest.raises(KeyError):
        await store.write([*changes(thread, run), RunChanged(run.key, {"thread_id": "t2"})])
    assert not await is_written(store, run)

    await store.write(changes(thread, run))
    assert await is_written(store, run)


async def test_nothing_is_nothing(store, thread):
    """An empty batch, and one of empty changes, are written at once."""
    run = await open_run(store, thread)
    before = await again(store, thread)
    await store.write([])
    await store.write([EventsAdded(run.key, []), MessagesPut(thread.key, [])])

    assert await again(store, thread) == before


async def test_changes_of_a_purged_thread_do_not_fail_those_of_others(store, thread):
    """They are left out, each kind of them; a thread that comes anew under its name is another."""
    gone = await open_thread(store, "gone")
    gone_run = await open_run(store, gone)
    await store.delete_thread(gone, BEGINNING)
    await store.purge_thread(gone)
    anew = await open_thread(store, "gone")
    run = await open_run(store, thread)
    new_run = await open_run(store, anew)

    await store.write([*changes(gone, gone_run), *changes(thread, run)])

    assert await is_written(store, run)
    assert not await is_written(store, new_run)


async def test_half_characters_do_not_fail_a_batch(store, thread):
    """What no file can keep is shown as a question mark."""
    run = await open_run(store, thread)
    half = "half \ud83d"
    bad = message("b", "a", content=half, calls=(Call("c1", "x", half),))
    error = RunChanged(run.key, {"error": half})
    await store.write([*changes(thread, run), MessagesPut(thread.key, [bad]), error])

    said = await store.message(thread, "b")
    now = await store.run("ann", "t1", "r1")
    assert said is not None
    assert now is not None
    assert {said.content, said.calls[0].arguments, now.error} == {"half ?"}


async def test_a_batch_keeps_others_out_from_its_beginning(store, thread, steps):
    """Whoever wrote between what it reads and what it writes would make it fail."""
    run = await open_run(store, thread)
    looks: list[bool] = []
    steps.taken = 0
    steps.doing = lambda: looks.append(is_locked(store))

    await store.write(changes(thread, run))

    assert looks == [False, *[True] * (STEPS_OF_A_BATCH - 1)]


async def test_a_full_disk_is_told_and_the_batch_can_be_repeated(store, thread):
    """Nothing of it was written, and what is there can be read."""
    run = await open_run(store, thread)
    large = [*changes(thread, run), MessagesPut(thread.key, [message("b", content="x" * 10**6)])]
    writer = store._database._writer
    ((pages,),) = writer.execute("PRAGMA page_count")
    writer.execute(f"PRAGMA max_page_count = {pages + 1}")

    with pytest.raises(Unavailable, match="full"):
        await store.write(large)
    assert not is_locked(store)
    assert not await is_written(store, run)

    writer.execute("PRAGMA max_page_count = 1000000")
    await store.write(large)
    assert ids(await store.messages(thread)) == ["a", "b"]


# --- cancelled -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, STEPS_OF_A_BATCH + 1))
async def test_a_batch_that_is_cancelled_is_whole(store, thread, steps, step):
    """Cancelled as any of its steps begins, it ends, unlocks the file, and then tells so."""
    run = await open_run(store, thread)
    steps.taken = 0
    writing = asyncio.create_task(store.write(changes(thread, run)))
    steps.doing = lambda: writing.cancel() if steps.taken == step else None

    with pytest.raises(asyncio.CancelledError):
        await writing

    assert steps.taken == STEPS_OF_A_BATCH
    steps.doing = lambda: None
    assert not is_locked(store)
    assert await is_written(store, run)
    await finish(store, run, events=4)


@pytest.mark.parametrize("step", range(1, STEPS_OF_A_BATCH + 1))
async def test_a_batch_in_a_scope_that_cancels_again_and_again_is_whole(store, thread, steps, step):
    """As anyio's do, in which the server runs its handlers."""
    run = await open_run(store, thread)
    steps.taken = 0
    with anyio.CancelScope() as scope:
        steps.doing = lambda: scope.cancel() if steps.taken == step else None
        await store.write(changes(thread, run))
        await anyio.lowlevel.checkpoint()

    steps.doing = lambda: None
    assert scope.cancelled_caught
    assert not is_locked(store)
    assert await is_written(store, run)


async def test_one_that_waits_for_its_turn_is_cancelled_at_once(store, thread, steps):
    """It has written nothing, and keeps nobody else waiting."""
    run = await open_run(store, thread)
    steps.taken = 0
    waiting: list[asyncio.Task[None]] = []

    def on_step() -> None:
        if steps.taken == 1:  # the first one has begun, and the second asks
            waiting.append(asyncio.create_task(store.write(changes(thread, run))))
        if steps.taken == 2:
            waiting[0].cancel()

    steps.doing = on_step
    await store.write([RunChanged(run.key, {"code": "first"})])
    steps.doing = lambda: None
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]

    assert not await is_written(store, run)
    await store.write(changes(thread, run))
    assert await is_written(store, run)


async def test_readers_that_are_cancelled_leave_nothing_open(store, thread):
    """Neither a lock nor a place in the queue: the next reader gets its answer."""
    await say(store, thread, *(message(f"m{number}") for number in range(50)))
    readers = [asyncio.create_task(store.messages(thread)) for _ in range(50)]
    await asyncio.sleep(0)
    for reader in readers:
        reader.cancel()
    assert all(
        isinstance(each, asyncio.CancelledError)
        for each in await asyncio.gather(*readers, return_exceptions=True)
    )

    assert len(await store.messages(thread)) == 50
    await say(store, thread, message("more"))
    assert not is_locked(store)
    assert len(await store.messages(thread)) == 51


async def test_close_waits_for_what_is_being_written(tmp_path, store, thread):
    """Then everything is refused in words, a second close is nothing, and no log is left."""
    run = await open_run(store, thread)
    writing = asyncio.create_task(store.write(changes(thread, run)))
    await asyncio.sleep(0)
    await store.close()
    await writing
    await store.close()

    for late in (store.write(changes(thread, run)), store.thread("ann", "t1"), store.check()):
        with pytest.raises(Unavailable):
            await late
    assert [each.name for each in tmp_path.iterdir()] == ["service.sqlite3"]
    async with SqliteStore(store.file) as reopened:
        assert await is_written(reopened, run)


# --- together ------------------------------------------------------------------------------------


async def test_many_write_and_read_at_once(store):
    """Each run's events and messages are all there, and no reader sees a part of a batch."""

    async def work(number: int) -> None:
        thread = await open_thread(store, f"t{number}", user=f"user{number % 3}")
        run = await open_run(store, thread)
        for turn in range(1, 11):
            said = message(f"m{turn}", f"m{turn - 1}" if turn > 1 else None)
            written = [
                EventsAdded(run.key, frames(2 * turn - 1, 2 * turn)),
                MessagesPut(thread.key, [said]),
                RunChanged(run.key, {"tokens": turn}),
            ]
            write = asyncio.create_task(store.write(written))
            while not write.done():
                seen = await store.run(thread.user, thread.thread_id, "r1")
                assert seen is not None
                assert seen.last_event == 2 * seen.tokens
            await write
            assert len(await store.path(thread, f"m{turn}")) == turn

    await asyncio.gather(*(work(number) for number in range(12)))


async def test_notes_are_kept_in_the_same_file(store, thread):
    """The agents' tools have sessions of their own, beside what the store writes."""
    from llmkeep.agents.tools import notes

    async def note(number: int) -> None:
        async with store.sessions() as session:
            row = {"owner": "o", "text": "t", "folded": "t", "created_at": BEGINNING}
            await session.execute(notes.notes_table.insert().values(row))
            await session.commit()

    run = await open_run(store, thread)
    writes = (store.write([EventsAdded(run.key, frames(n, n))]) for n in range(1, 11))
    await asyncio.gather(*(note(number) for number in range(10)), *writes)

    async with store.sessions() as session:
        assert len((await session.execute(notes.notes_table.select())).all()) == 10
    assert len(await store.events(run, after=0, limit=99)) == 10


async def test_a_session_that_only_looks_locks_out_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A tool may wait for anything in the middle of its transaction; the runs go on writing."""
    from llmkeep.agents.tools import notes

    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.01)
    async with SqliteStore(tmp_path / "service.sqlite3") as store:
        thread = await open_thread(store)
        run = await open_run(store, thread)
        async with store.sessions() as session:
            await session.execute(notes.notes_table.select())
            await store.write(changes(thread, run))
            assert await is_written(store, run)

        async with store.sessions() as session:  # one that begins with a write has the file
            row = {"owner": "o", "text": "t", "folded": "t", "created_at": BEGINNING}
            await session.execute(notes.notes_table.insert().values(row))
            with pytest.raises(Unavailable, match="locked"):
                await store.write(changes(thread, run))


async def test_a_locked_file_is_told_and_the_batch_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nothing of it was written; `check` tells the same."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.01)
    async with SqliteStore(tmp_path / "service.sqlite3") as store:
        thread = await open_thread(store)
        run = await open_run(store, thread)
        with closing(sqlite3.connect(store.file, isolation_level=None)) as somebody:
            somebody.execute("BEGIN IMMEDIATE")
            for attempt in (store.write(changes(thread, run)), store.check()):
                with pytest.raises(Unavailable, match="locked") as refused:
                    await attempt
                assert refused.value.code == "store_unavailable"
            assert not await is_written(store, run)

        await store.check()
        await store.write(changes(thread, run))
        assert await is_written(store, run)
