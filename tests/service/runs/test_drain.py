"""The server's end: what runs gets its time, what waits is kept, and nothing is left."""

from __future__ import annotations

import asyncio

import pytest

from llmkeep.service.errors import Unavailable
from llmkeep.service.runs import Runs
from tests.service.runs.conftest import Serve
from tests.service.runs.fakes import Agent, Store, request, text
from tests.service.runs.following import USER, agree, event, follow, messages, types
from tests.service.runs.test_queue import gated, spoken

SHUTDOWN = ("interrupted", "shutdown")


async def test_no_run_starts(runs: Runs, store: Store):
    """It is said, with the time to try again."""
    runs.begin_drain()
    assert runs.is_draining
    with pytest.raises(Unavailable) as refused:
        await runs.start(USER, request("r1", "m1"))

    assert (refused.value.code, refused.value.status) == ("draining", 503)
    assert "Retry-After" in refused.value.headers
    assert await store.thread(USER, "t") is None


async def test_a_run_that_ends_in_time_ends_as_ever(runs: Runs, agent: Agent):
    """And the drain ends with it, not at the deadline."""
    gate = asyncio.Event()
    agent.scripts = [gated("a1", gate)]
    run = await runs.start(USER, request("r1", "m1"))
    await spoken(runs, run)
    draining = asyncio.create_task(runs.drain(60.0))
    await asyncio.sleep(0)
    gate.set()
    await draining

    assert (await runs.find(USER, "t", "r1")).status == "success"


async def test_r2_a_run_that_does_not_is_cut_and_what_waits_is_kept(
    serve: Serve, store: Store, agent: Agent
):
    """Partial answer, RUN_ERROR `shutdown`; messages of runs that waited are in the thread."""
    agent.scripts = [gated("a1", asyncio.Event())]
    async with serve() as runs:
        cut = await runs.start(USER, request("r1", "m1"))
        waiting = [
            await runs.start(USER, request("r2", "m1", "m2")),
            await runs.start(USER, request("r3", "m1", "m2", "m3")),
        ]
        await spoken(runs, cut)
        readers = [asyncio.create_task(follow(runs, each)) for each in (cut, *waiting)]
        await asyncio.sleep(0)
        await runs.drain(0.02)
        told = await asyncio.gather(*readers)

    assert [event(frames[-1])["code"] for frames in told] == ["shutdown"] * 3
    assert types(told[1]) == ["RUN_STARTED", "CUSTOM", "RUN_ERROR"]
    assert [(m.message_id, m.parent_id, m.status) for m in await messages(store)] == [
        ("m1", None, "complete"),
        ("a1", "m1", "partial"),
        ("m2", "a1", "complete"),
        ("m3", "m2", "complete"),
    ]
    for run in (cut, *waiting):
        stored = await store.run(USER, "t", run.run_id)
        assert (stored.status, stored.code) == SHUTDOWN
        await agree(store, run)


async def test_the_conversation_goes_on_after_it(serve: Serve, store: Store, agent: Agent):
    """The same message, sent again to the next server, is answered."""
    agent.scripts = [gated("a1", asyncio.Event()), text("a2", "two")]
    async with serve() as runs:
        run = await runs.start(USER, request("r1", "m1"))
        await spoken(runs, run)
    async with serve() as runs:
        await follow(runs, await runs.start(USER, request("r2", "m1")))

    assert {m.message_id: m.parent_id for m in await messages(store)} == {
        "m1": None, "a1": "m1", "a2": "m1",
    }  # fmt: skip


async def test_a_request_that_is_on_its_way_when_the_server_ends(
    serve: Serve, store: Store, agent: Agent
):
    """It is refused or brought to its end: no run is left behind."""
    async with serve() as runs:
        starting = asyncio.create_task(runs.start(USER, request("r1", "m1")))
        await asyncio.sleep(0)
        await runs.drain(0.0)
        run = await starting

    stored = await store.run(USER, "t", run.run_id)
    assert (stored.status, stored.code) == SHUTDOWN
    assert agent.asked == []


async def test_nothing_is_left(serve: Serve, agent: Agent):
    """Every task that was begun has ended."""
    before = asyncio.all_tasks()
    agent.scripts = [gated("a1", asyncio.Event())]
    async with serve() as runs:
        for n in range(3):
            run = await runs.start(USER, request("r1", "m1", thread_id=f"t{n}"))
            await spoken(runs, run)
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before
    assert agent.running == 0


async def test_a_request_that_the_store_holds_up(
    serve: Serve, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """The drain does not wait for it longer than for a run; it is refused."""
    entered = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with serve(patience=0.02) as runs:
        monkeypatch.setattr(store, "open_thread", hang, raising=False)
        starting = asyncio.create_task(runs.start(USER, request("r1", "m1")))
        await entered.wait()
        await runs.drain(0.0)
        with pytest.raises(Unavailable) as refused:
            await starting

    assert refused.value.code == "draining"
