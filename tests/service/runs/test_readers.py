"""Readers: from any point, live and ended, each event once; and none of them costs the others."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from llmkeep.service.records import Frame
from llmkeep.service.runs import Runs, readers, tail
from llmkeep.service.runs.tail import Tail
from tests.service.runs.fakes import Agent, Store, call, request, result, text
from tests.service.runs.following import USER, event, follow, messages, types

ANSWER = [*text("a1", "One", " two"), *call("a1", "c1"), result("c1"), *text("a2", "three")]


async def begun(runs: Runs, agent: Agent, *, at: int) -> tuple[Any, Callable[[], None]]:
    """A run that has told that many steps of the answer, and what lets it go on."""
    gate = asyncio.Event()
    agent.scripts = [[*ANSWER[:at], gate, *ANSWER[at:]]]
    run = await runs.start(USER, request("r1", "m1"))
    async with runs.read(run) as reader:
        seen = 0
        async for frames in reader:
            seen = frames[-1].number
            if seen >= 3 + at:
                break
    return run, gate.set


@pytest.mark.parametrize("at", [0, 4, len(ANSWER)])
async def test_r3_from_every_number_live_and_ended(runs: Runs, agent: Agent, at: int):
    """A reader gets exactly what follows the number it has, while the run lives and after it."""
    run, go_on = await begun(runs, agent, at=at)
    last = len(ANSWER) + 4
    live = [asyncio.create_task(follow(runs, run, after)) for after in range(last + 1)]
    await asyncio.sleep(0)
    go_on()
    told = await asyncio.gather(*live)

    whole = told[0]
    assert len(whole) == last
    ended = await runs.find(USER, "t", "r1")
    for after in range(last + 1):
        assert told[after] == whole[after:]
        assert await follow(runs, ended, after) == whole[after:]


async def test_r3_a_reader_that_lags_reads_from_the_store(
    runs: Runs, agent: Agent, monkeypatch: pytest.MonkeyPatch
):
    """What is not held any more comes in pages, and joins what is held without a seam."""
    monkeypatch.setattr(tail, "TAIL_CHARACTERS", 300)
    monkeypatch.setattr(readers, "FIRST_PAGE", 2)
    monkeypatch.setattr(readers, "LARGEST_PAGE", 7)
    agent.scripts = [text("a1", *(str(each) for each in range(100)))]
    run = await runs.start(USER, request("r1", "m1"))

    async with runs.read(run) as slow:
        fast = await follow(runs, run)
        frames: list[Frame] = []
        async for batch in slow:
            frames += batch

    assert frames == fast
    assert len(frames) == 106


async def test_r4_a_reader_that_does_not_read_holds_up_nobody(
    runs: Runs, agent: Agent, monkeypatch: pytest.MonkeyPatch
):
    """The run ends, others read on, and what is held for it is bounded."""
    monkeypatch.setattr(tail, "TAIL_CHARACTERS", 1_000)
    agent.scripts = [text("a1", *("x" * 100 for _ in range(300)))]
    run = await runs.start(USER, request("r1", "m1"))

    async with runs.read(run) as idle:
        assert len(await follow(runs, run)) == 306
        assert (await runs.find(USER, "t", "r1")).status == "success"
        held = idle._live.tail._frames  # type: ignore[union-attr]
        assert sum(len(frame.data) for frame in held) <= 2_000


@pytest.mark.parametrize("is_live", [True, False])
async def test_r4_a_reader_is_given_little_at_a_time(runs: Runs, agent: Agent, is_live: bool):
    """Large events come a few at a time, from the tail and from the store."""
    agent.scripts = [text("a1", *("x" * 10_000 for _ in range(100)))]
    run = await runs.start(USER, request("r1", "m1"))
    reader = runs.read(run)
    whole = await follow(runs, run)
    if not is_live:
        reader = runs.read(await runs.find(USER, "t", "r1"), after=30)

    async with reader:
        batches = [batch async for batch in reader]
    sizes = [sum(len(frame.data) for frame in batch) for batch in batches]
    assert [frame for batch in batches for frame in batch] == whole[0 if is_live else 30 :]
    assert max(sizes[1:]) < 100_000  # of the first, nobody knows how large its events are


async def test_a_run_leaves_memory_with_its_last_reader(runs: Runs):
    """Nothing of an ended run is held when nobody reads it."""
    run = await runs.start(USER, request("r1", "m1"))
    reader = runs.read(run)
    async with reader:
        live = weakref.ref(reader._live)
        async for _ in reader:
            pass
        await runs.cancel(USER, "t", "r1")
        gc.collect()
        assert live() is not None
    del reader
    gc.collect()

    assert live() is None


async def test_a_compacted_log_gives_a_snapshot(runs: Runs, store: Store, agent: Agent):
    """First event, the messages up to the run's end, last event: numbers go up, the last stays."""
    agent.scripts = [[*ANSWER], text("b1", "later")]
    run = await runs.start(USER, request("r1", "m1"))
    whole = await follow(runs, run)
    await follow(runs, await runs.start(USER, request("r2", "m2")))
    run = await runs.find(USER, "t", "r1")
    await store.compact_run(run)
    run = await runs.find(USER, "t", "r1")
    last = whole[-1].number

    for after, numbers in {0: [1, last - 1, last], 1: [last - 1, last], last - 1: [last]}.items():
        async with runs.read(run, after=after) as reader:
            frames = [frame async for batch in reader for frame in batch]
        assert [frame.number for frame in frames] == numbers
        assert frames[-1] == whole[-1]
    async with runs.read(run, after=last) as reader:
        assert [batch async for batch in reader] == []

    async with runs.read(run) as reader:
        frames = [frame async for batch in reader for frame in batch]
    assert types(frames) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]
    told = event(frames[1])["messages"]
    assert [(each["role"], each["id"]) for each in told] == [
        ("user", "m1"), ("assistant", "a1"), ("tool", "c1"), ("assistant", "a2"),
    ]  # fmt: skip
    assert told[1]["toolCalls"][0]["function"] == {"name": "dig", "arguments": "{}"}
    assert told[2]["metadata"] == {"status": "success", "duration": 0.5}


async def test_a_log_that_is_compacted_under_a_reader(
    runs: Runs, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """It gets the snapshot in place of what it has not read."""
    run = await runs.start(USER, request("r1", "m1"))
    whole = await follow(runs, run)
    monkeypatch.setattr(readers, "FIRST_PAGE", 2)
    run = await runs.find(USER, "t", "r1")

    async with runs.read(run) as reader:
        first = await anext(reader)
        await store.compact_run(run)
        rest = [frame async for batch in reader for frame in batch]

    assert [*first] == whole[:2]
    assert types(rest) == ["MESSAGES_SNAPSHOT", "RUN_FINISHED"]
    assert rest[-1] == whole[-1]
    assert len(await messages(store)) == 2


async def test_a_store_that_cannot_be_read(
    runs: Runs, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """That is no end of the run: it is raised, and who comes again goes on."""
    run = await runs.start(USER, request("r1", "m1"))
    whole = await follow(runs, run)
    run = await runs.find(USER, "t", "r1")

    async def fail(*_: Any, **__: Any) -> Any:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "events", fail, raising=False)
        async with runs.read(run, after=2) as reader:
            with pytest.raises(OSError, match="gone"):
                await anext(reader)

    assert await follow(runs, run, after=2) == whole[2:]


@pytest.mark.parametrize("is_live", [True, False])
async def test_a_reader_that_says_it_has_more_than_there_is(
    runs: Runs, agent: Agent, is_live: bool
):
    """It gets the end: a stream that merely ends would count as a success."""
    run, go_on = await begun(runs, agent, at=4)
    reader = runs.read(run, after=1000)
    go_on()
    whole = await follow(runs, run)
    if not is_live:
        reader = runs.read(await runs.find(USER, "t", "r1"), after=1000)
    async with reader:
        told = [frame async for batch in reader for frame in batch]

    assert told == whole[-1:]


async def test_a_tail_wakes_all_who_wait():
    """Whoever waits is told once, and one that leaves is forgotten."""
    followed = Tail()
    waiting = [asyncio.create_task(followed.more(0)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    followed.publish([Frame(1, "{}")])
    followed.publish([Frame(2, "{}", is_terminal=True)])
    await asyncio.gather(*waiting, return_exceptions=True)

    assert [task.cancelled() for task in waiting] == [True, False, False]
    assert followed.behind(0) == [Frame(1, "{}"), Frame(2, "{}", is_terminal=True)]
    assert followed.behind(2) == ()
    assert not followed._waiting


async def test_r3_a_reader_that_is_ahead_waits_for_what_follows():
    """An event that it has already does not wake it for nothing: that would look like the end."""
    followed = Tail()
    waiting = asyncio.create_task(followed.more(1))
    await asyncio.sleep(0)
    followed.publish([Frame(1, "{}")])
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    followed.publish([Frame(2, "{}")])
    await waiting

    assert followed.behind(1) == [Frame(2, "{}")]
    assert repr(followed) == "<Tail 1..2, 0 waiting>"
