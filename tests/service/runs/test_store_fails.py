"""A store that fails: at each write, for one run, for good; and when it works again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from llmkeep.service.errors import Unavailable
from llmkeep.service.interfaces import EventsAdded
from llmkeep.service.runs import Runs, journal, mending
from tests.service.runs.conftest import Serve
from tests.service.runs.fakes import Agent, Store, call, request, result, text
from tests.service.runs.following import USER, agree, check, event, follow, messages, over, said
from tests.service.runs.test_queue import spoken

#: With the end of the run; its beginning is written with the first step.
WRITES = 11
ANSWER = [*text("a1", "Let me."), *call("a1", "c1"), result("c1"), *text("a2", "So.")]


@pytest.fixture(autouse=True)
def retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "RETRIES", (0.0, 0.0))


def one_by_one(runs: Runs) -> list[Any]:
    """The answer, each step of which is written before the next is told: WRITES in all."""
    return [each for step in ANSWER for each in (step, runs._journal.flush)]


def fail_from(store: Store, number: int, until: int | None = None) -> None:
    def refuse(_: Sequence[Any], count: int) -> None:
        if count >= number and (until is None or count < until):
            raise OSError("disk full")

    store.before = refuse


@pytest.mark.parametrize("number", range(1, WRITES + 1))
async def test_r2_a_store_that_fails_for_good_at_each_write(
    serve: Serve, store: Store, agent: Agent, number: int
):
    """Readers get what was stored and one end; when it works again the run is brought to its end.

    It says the same up to there, and the conversation goes on.
    """
    async with serve() as runs:
        agent.scripts = [one_by_one(runs), text("b1", "again")]
        fail_from(store, number)
        run = await runs.start(USER, request("r1", "m1"))
        told: list[Any] = []
        async with runs.read(run) as reader:
            async for frames in reader:
                told += frames
        check(told)
        assert event(told[-1]).get("code") == "internal"
        await over(runs)
        assert agent.running == 0

        store.before = None
        mended = await follow(runs, await runs.find(USER, "t", "r1"))
        stored = await runs.find(USER, "t", "r1")
        assert stored.status in ("interrupted", "success")
        assert mended[: len(told) - 1] == told[:-1]
        await agree(store, stored)
        again = await runs.start(USER, request("r2", "m2"))
        assert said(await follow(runs, again)) == "again"


async def test_r2_a_store_that_fails_once_costs_nothing(serve: Serve, store: Store, agent: Agent):
    """Each write is tried again."""
    async with serve() as runs:
        agent.scripts = [one_by_one(runs)]
        fail_from(store, 2, until=4)
        run = await runs.start(USER, request("r1", "m1"))
        frames = await follow(runs, run)
        await agree(store, run)

    assert said(frames) == "Let me.So."
    assert (await store.run(USER, "t", "r1")).status == "success"


async def test_r2_the_next_message_brings_it_to_its_end(runs: Runs, store: Store, agent: Agent):
    """Before it is placed: it hangs behind what the run before had said."""
    agent.scripts = [one_by_one(runs), text("b1", "again")]
    fail_from(store, 3)
    run = await runs.start(USER, request("r1", "m1"))
    async with runs.read(run) as reader:
        async for _ in reader:
            pass
    await over(runs)
    with pytest.raises((Unavailable, OSError)):
        await runs.start(USER, request("r2", "m2"))
    store.before = None
    await follow(runs, await runs.start(USER, request("r2", "m2")))

    assert (await runs.find(USER, "t", "r1")).code == "restart"
    table = {m.message_id: m.parent_id for m in await messages(store)}
    assert table["m1"] is None
    assert table["b1"] == "m2"
    assert table["m2"] in table


async def test_r2_what_waits_behind_it_hangs_behind_it(runs: Runs, store: Store, agent: Agent):
    """A run that was in the line already: the one before is brought to its end at its turn."""
    gate = asyncio.Event()
    hanging: list[Any] = [*text("a1", "Hm")[:2], gate.wait]
    agent.scripts = [hanging, text("b1", "again")]
    first = await runs.start(USER, request("r1", "m1"))
    second = await runs.start(USER, request("r2", "m1", "m2"))
    await spoken(runs, first)

    def refuse(changes: Sequence[Any], _: int) -> None:
        if any(isinstance(each, EventsAdded) and each.run == first.key for each in changes):
            raise OSError("this one, for now")

    live = runs._live[USER, "t", "r1"]
    store.before = refuse
    gate.set()
    async with runs.read(first) as reader:
        async for frames in reader:
            told = event(frames[-1])
    assert told["code"] == "internal"
    store.before = None
    await live.over.wait()
    assert said(await follow(runs, second)) == "again"

    stored = await runs.find(USER, "t", "r1")
    assert (stored.status, stored.code) == ("interrupted", "restart")
    assert [(m.message_id, m.parent_id, m.status) for m in await messages(store)] == [
        ("m1", None, "complete"),
        ("a1", "m1", "partial"),
        ("m2", "a1", "complete"),
        ("b1", "m2", "complete"),
    ]
    for run in (first, second):
        await agree(store, run)


async def test_r2_whoever_looks_at_it_brings_it_to_its_end(runs: Runs, store: Store, agent: Agent):
    """It is not shown as running for ever; while the store fails, it is shown as it is there."""
    agent.scripts = [one_by_one(runs)]
    fail_from(store, 3)
    await runs.start(USER, request("r1", "m1"))
    await over(runs)
    assert (await runs.find(USER, "t", "r1")).status == "running"
    async with runs.read(await store.run(USER, "t", "r1")) as reader:
        with pytest.raises(OSError, match="disk full"):
            _ = [frame async for frames in reader for frame in frames]
    store.before = None

    assert (await runs.find(USER, "t", "r1")).status == "interrupted"


async def test_r2_the_next_server_brings_it_to_its_end(serve: Serve, store: Store, agent: Agent):
    """If nobody came before."""
    async with serve() as runs:
        agent.scripts = [one_by_one(runs)]
        fail_from(store, 3)
        run = await runs.start(USER, request("r1", "m1"))
        async with runs.read(run) as reader:
            async for _ in reader:
                pass
    store.before = None
    async with serve() as runs:
        stored = await runs.find(USER, "t", "r1")
        assert (stored.status, stored.code) == ("interrupted", "restart")
        await follow(runs, stored)
        await agree(store, stored)


async def test_r2_one_run_that_cannot_be_stored_takes_no_other_with_it(
    runs: Runs, store: Store, agent: Agent
):
    """The others of the same transaction are written without it."""
    agent.scripts = [one_by_one(runs)]
    started = [await runs.start(USER, request("r1", "m1", thread_id=f"t{n}")) for n in range(5)]

    def refuse(changes: Sequence[Any], _: int) -> None:
        if any(isinstance(each, EventsAdded) and each.run == started[2].key for each in changes):
            raise OSError("this one")

    store.before = refuse
    told = await asyncio.gather(*(follow(runs, run) for run in started))

    ends = [event(frames[-1])["type"] for frames in told]
    assert ends == ["RUN_FINISHED", "RUN_FINISHED", "RUN_ERROR", "RUN_FINISHED", "RUN_FINISHED"]


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_r2_time_brings_it_to_its_end(
    runs: Runs, store: Store, agent: Agent, monkeypatch: pytest.MonkeyPatch, is_deleted: bool
):
    """If nobody looks at it; also in a thread that has been deleted, which is purged then."""
    monkeypatch.setattr(mending, "MEND_INTERVAL", 0.01)
    agent.scripts = [one_by_one(runs)]
    fail_from(store, 3)
    run = await runs.start(USER, request("r1", "m1"))
    await over(runs)
    thread = await store.thread(USER, "t")
    if is_deleted:
        await store.delete_thread(thread, run.created_at)
        assert not await store.threads_deleted_before(datetime.now(UTC))
    assert "1 unstored" in repr(runs)
    store.before = None
    while "1 unstored" in repr(runs):
        await asyncio.sleep(0)

    if is_deleted:
        assert await store.threads_deleted_before(datetime.now(UTC))
        await store.restore_thread(thread)
    assert (await store.run(USER, "t", "r1")).code == "restart"


async def test_a_store_that_fails_when_a_run_is_asked_for(
    runs: Runs, store: Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
):
    """It is refused, and nothing is counted."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise Unavailable("full", code="store_unavailable")

    monkeypatch.setattr(store, "add_run", fail, raising=False)
    with pytest.raises(Unavailable):
        await runs.start(USER, request("r1", "m1"))

    assert runs.count(USER) == 0
    assert runs.active(USER, "t") is None
