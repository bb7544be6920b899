"""The janitor: what ends by itself ends, a bounded piece at a time, and a failure ends nothing."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from llmkeep.service.storage import janitor as module
from llmkeep.service.storage.janitor import Janitor
from tests.service.storage.scene import BEGINNING, finish, message, open_run, open_thread, say

UNDO = timedelta(seconds=30)
KEEP = timedelta(minutes=15)


class Memory:
    """Stands for the checkpoints: what it was asked to forget, and what it cannot."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.broken: set[str] = set()

    async def __call__(self, thread) -> None:
        if thread.thread_id in self.broken:
            raise OSError("broken")
        self.forgotten.append(thread.thread_id)


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def now():
    """The moment at which the janitor looks; a list, so that it can be changed."""
    return [BEGINNING]


@pytest.fixture
def janitor(store, memory, now):
    return Janitor(store, memory, undo=UNDO, keep_log=KEEP, now=lambda: now[0], pause=0)


async def test_a_thread_is_purged_when_its_undo_time_is_over(store, thread, janitor, memory, now):
    """With its checkpoints; not before, and not one that was restored."""
    restored = await open_thread(store, "restored")
    for each in (thread, restored):
        await store.delete_thread(each, BEGINNING)
    now[0] = BEGINNING + UNDO
    await janitor.run_once()
    assert memory.forgotten == []
    await store.restore_thread(restored)

    now[0] += timedelta(microseconds=1)
    assert await janitor.run_once()

    assert memory.forgotten == ["t1"]
    assert await store.thread("ann", "t1", deleted=True) is None
    assert await store.thread("ann", "restored") is not None


async def test_a_log_is_compacted_when_its_time_is_over(store, thread, janitor, now):
    """Once; the messages stay."""
    run = await open_run(store, thread)
    await say(store, thread, message("a"))
    await finish(store, run, events=9)
    now[0] = BEGINNING + KEEP
    await janitor.run_once()
    assert len(await store.events(run, after=0, limit=99)) == 9

    now[0] += timedelta(microseconds=1)
    await janitor.run_once()

    assert len(await store.events(run, after=0, limit=99)) == 2
    assert len(await store.messages(thread)) == 1


async def test_a_round_does_a_bounded_piece_of_work(
    store, thread, janitor, memory, now, monkeypatch
):
    """What is left over is done by the next, and it is told that there is more."""
    monkeypatch.setattr(module, "MAX_THREADS", 2)
    monkeypatch.setattr(module, "MAX_RUNS", 3)
    for number in range(4):
        await finish(store, await open_run(store, thread, f"r{number}"), events=5)
    for number in range(3):
        await store.delete_thread(await open_thread(store, f"gone{number}"), BEGINNING)
    now[0] = BEGINNING + KEEP + UNDO

    assert not await janitor.run_once()
    assert len(memory.forgotten) == 2
    assert len(await store.runs_to_compact(now[0], limit=9)) == 1
    assert await janitor.run_once()
    assert len(memory.forgotten) == 3
    assert await store.runs_to_compact(now[0], limit=9) == []


async def test_one_that_fails_keeps_no_other_waiting(store, thread, janitor, memory, now, caplog):
    """It is told in the log and tried again; its rows stay, so that it is found."""
    other = await open_thread(store, "other")
    for each in (thread, other):
        await store.delete_thread(each, BEGINNING)
    memory.broken.add("t1")
    now[0] = BEGINNING + UNDO * 2
    with caplog.at_level(logging.WARNING):
        await janitor.run_once()

    assert memory.forgotten == ["other"]
    assert "cannot purge threads" in caplog.text
    assert await store.thread("ann", "t1", deleted=True) is not None

    memory.broken.clear()
    await janitor.run_once()
    assert memory.forgotten == ["other", "t1"]
    assert await store.thread("ann", "t1", deleted=True) is None


async def test_the_task_goes_on_after_a_failure_and_ends_with_its_block(
    store, thread, memory, now, monkeypatch
):
    """A store that cannot be read is tried again; leaving the block waits for the task's end."""
    rounds = asyncio.Semaphore(0)
    original = store.threads_deleted_before

    async def failing(moment):
        rounds.release()
        raise OSError("no disk")

    await store.delete_thread(thread, BEGINNING)
    now[0] = BEGINNING + UNDO * 2
    monkeypatch.setattr(store, "threads_deleted_before", failing)
    purged = asyncio.Event()

    async def forget(gone) -> None:
        await memory(gone)
        purged.set()

    janitor = Janitor(store, forget, undo=UNDO, keep_log=KEEP, now=lambda: now[0], pause=0)
    async with janitor:
        for _ in range(3):
            await rounds.acquire()
        monkeypatch.setattr(store, "threads_deleted_before", original)
        await purged.wait()

    assert memory.forgotten == ["t1"]
    assert not [each for each in asyncio.all_tasks() if each.get_name() == "llmkeep-janitor"]
