"""Runs and their events: added once, changed, counted, compacted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from llmkeep.service.errors import Conflict
from llmkeep.service.interfaces import EventsAdded, RunChanged
from llmkeep.service.records import RunRequest
from tests.service.storage.scene import (
    BEGINNING,
    finish,
    frames,
    message,
    open_run,
    open_thread,
    request,
    say,
)


async def test_a_run_is_added_once(store, thread):
    """Who adds it again gets the one that is there, with the fingerprint it came with."""
    asked = RunRequest(
        thread_id="t1",
        run_id="r1",
        fingerprint="first",
        on_disconnect="continue",
        multitask_strategy="reject",
    )
    run, is_new = await store.add_run(thread, asked, request={"ü": [1]}, model="openai:some")
    second, is_new_again = await store.add_run(
        thread, request(thread, fingerprint="second"), request={}, model=None
    )

    assert (is_new, is_new_again) == (True, False)
    assert second == run == await store.run("ann", "t1", "r1")
    assert (run.status, run.fingerprint, run.request) == ("pending", "first", {"ü": [1]})
    assert (run.on_disconnect, run.multitask_strategy) == ("continue", "reject")
    assert (run.user, run.thread_id, run.thread_key) == ("ann", "t1", thread.key)


async def test_no_run_is_added_to_a_deleted_thread(store, thread):
    """Whoever asks is told to restore it; a run that was there is found."""
    run = await open_run(store, thread)
    await store.delete_thread(thread, BEGINNING)

    with pytest.raises(Conflict) as refused:
        await open_run(store, thread, "r2")

    assert refused.value.code == "thread_deleted"
    assert (await store.add_run(thread, request(thread), request={}, model=None)) == (run, False)


async def test_what_changes_of_a_run_is_read_again(store, thread):
    """Each field that can change, each as it was given."""
    run = await open_run(store, thread)
    fields = {
        "status": "interrupted",
        "code": "approval",
        "error": "say yes or no",
        "model": "anthropic:other",
        "usage": [{"model": "x", "inputTokens": 3}],
        "tokens": 12,
        "interrupts": ({"id": "i1", "reason": "tool_call"},),
        "on_disconnect": "continue",
        "multitask_strategy": "interrupt",
        "started_at": BEGINNING,
        "ended_at": BEGINNING + timedelta(microseconds=1),
    }
    await store.write([RunChanged(run.key, {**fields, "last_event": 77})])

    now = await store.run("ann", "t1", "r1")
    assert now is not None
    assert {name: getattr(now, name) for name in fields} == fields
    assert now.last_event == 0


async def test_of_changes_in_one_batch_the_later_wins(store, thread):
    """Whatever fields each of them has."""
    run = await open_run(store, thread)
    await store.write(
        [
            RunChanged(run.key, {"status": "running", "code": "one"}),
            RunChanged(run.key, {"status": "success", "error": "two"}),
            RunChanged(run.key, {}),
        ]
    )

    now = await store.run("ann", "t1", "r1")
    assert now is not None
    assert (now.status, now.code, now.error) == ("success", "one", "two")


async def test_runs_are_listed_newest_first(store, thread):
    """Of this thread; the last is the newest that has begun."""
    other = await open_thread(store, "t2")
    await open_run(store, other, "elsewhere")
    runs = [await open_run(store, thread, f"r{number}") for number in range(4)]

    assert await store.last_run(thread) is None
    await finish(store, runs[1])
    await finish(store, runs[2])
    assert [run.run_id for run in await store.runs(thread, limit=3)] == ["r3", "r2", "r1"]
    assert (await store.last_run(thread)) == await store.run("ann", "t1", "r2")


async def test_unfinished_runs_are_those_of_everybody(store, thread):
    """Oldest first, those of deleted threads too: somebody has to end them."""
    other = await open_thread(store, "t2", user="bob")
    first, second = await open_run(store, other, "r1"), await open_run(store, thread, "r2")
    third = await open_run(store, thread, "r3")
    await store.write([RunChanged(first.key, {"status": "running"})])
    await store.write([RunChanged(second.key, {"status": "interrupted"})])
    await store.delete_thread(thread, BEGINNING)

    assert [(run.user, run.run_id) for run in await store.unfinished_runs()] == [
        ("bob", "r1"),
        ("ann", "r3"),
    ]
    assert third.key == (await store.unfinished_runs())[1].key


async def test_tokens_are_those_of_the_user_since_then(store, thread, clock):
    """Of runs that were made since, whichever thread they are in, purged ones included."""
    assert await store.tokens_since("ann", BEGINNING) == 0
    old = await open_run(store, thread, "old")
    moment = clock.time + timedelta(microseconds=1)
    other = await open_thread(store, "t2")
    bobs = await open_thread(store, "t1", user="bob")
    for place, name, tokens in ((thread, "a", 1), (thread, "b", 20), (other, "c", 300)):
        await finish(store, await open_run(store, place, name), tokens=tokens)
    await finish(store, old, tokens=4000)
    await finish(store, await open_run(store, bobs), tokens=50_000)

    assert await store.tokens_since("ann", BEGINNING) == 4321
    assert await store.tokens_since("ann", moment) == 321
    await store.delete_thread(thread, BEGINNING)
    await store.purge_thread(thread)
    assert await store.tokens_since("ann", BEGINNING) == 4321
    assert await store.tokens_since("ann", moment) == 321
    assert await store.tokens_since("bob", BEGINNING) == 50_000

    clock.time += timedelta(days=3)  # nobody asks for those days any more
    await store.delete_thread(bobs, BEGINNING)
    await store.purge_thread(bobs)
    assert await store.tokens_since("ann", BEGINNING) == 300


# --- events --------------------------------------------------------------------------------------


async def test_events_are_read_from_any_point(store, thread):
    """Without a gap; the last of an ended run is told to be so, and no other."""
    run = await open_run(store, thread)
    other = await open_run(store, thread, "r2")
    await store.write([EventsAdded(run.key, frames(1, 2)), EventsAdded(other.key, frames(1, 9))])
    await store.write([EventsAdded(run.key, frames(3, 5))])

    assert [f.number for f in await store.events(run, after=0, limit=9)] == [1, 2, 3, 4, 5]
    assert [f.number for f in await store.events(run, after=2, limit=2)] == [3, 4]
    assert await store.events(run, after=5, limit=9) == []
    assert not any(f.is_terminal for f in await store.events(run, after=0, limit=9))

    await store.write([RunChanged(run.key, {"status": "error", "ended_at": BEGINNING})])
    assert await store.events(run, after=3, limit=9) == frames(4, 5)
    assert (await store.run("ann", "t1", "r1")).last_event == 5


async def test_events_that_come_again_change_nothing(store, thread):
    """A batch can be repeated by one who was not told how it went."""
    run = await open_run(store, thread)
    await store.write([EventsAdded(run.key, frames(1, 3))])
    await store.write([EventsAdded(run.key, frames(2, 5))])

    assert [f.number for f in await store.events(run, after=0, limit=9)] == [1, 2, 3, 4, 5]


async def test_a_compacted_run_keeps_its_first_and_its_last_event(store, thread):
    """And its messages; runs that have not ended before the moment are let alone."""
    runs = [await open_run(store, thread, f"r{number}") for number in range(4)]
    await say(store, thread, message("a"))
    await finish(store, runs[0], events=5, at=BEGINNING)
    await finish(store, runs[1], events=1, at=BEGINNING - timedelta(seconds=1))
    await finish(store, runs[2], events=5, at=BEGINNING + timedelta(seconds=1))
    moment = BEGINNING + timedelta(microseconds=1)

    found = await store.runs_to_compact(moment, limit=9)
    assert [run.run_id for run in found] == ["r1", "r0"]
    assert [run.run_id for run in await store.runs_to_compact(moment, limit=1)] == ["r1"]
    for run in found:
        await store.compact_run(run)

    assert await store.runs_to_compact(moment, limit=9) == []
    left = await store.events(runs[0], after=0, limit=9)
    assert [(f.number, f.is_terminal) for f in left] == [(1, False), (5, True)]
    assert [f.number for f in await store.events(runs[1], after=0, limit=9)] == [1]
    assert len(await store.events(runs[2], after=0, limit=9)) == 5
    now = await store.run("ann", "t1", "r0")
    assert now is not None
    assert (now.is_compacted, now.last_event) == (True, 5)
    assert len(await store.messages(thread)) == 1
