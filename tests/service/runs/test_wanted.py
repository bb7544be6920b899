"""Who wants a run: what leaving does, for each `on_disconnect`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from llmkeep.service.records import Run
from llmkeep.service.runs import Runs, manager
from llmkeep.service.runs.attendance import Attendance
from tests.service.runs.fakes import Agent, Store, request, text
from tests.service.runs.following import USER, agree, over


async def running(runs: Runs, agent: Agent, **more: str) -> tuple[Run, asyncio.Event]:
    gate = asyncio.Event()
    agent.scripts = [[*text("a1", "Hm")[:2], gate, *text("a1", "Hm")[2:]]]
    return await runs.start(USER, request("r1", "m1", **more)), gate


async def ended(runs: Runs) -> tuple[str, str | None]:
    """How the run ended; nobody reads it meanwhile."""
    await over(runs)
    run = await runs.find(USER, "t", "r1")
    return run.status, run.code


async def test_r8_a_run_whose_starter_leaves_is_stopped(runs: Runs, store: Store, agent: Agent):
    """At once, and what was said stays."""
    run, _ = await running(runs, agent)
    async with runs.read(run, is_starter=True) as reader:
        await anext(reader)

    assert await ended(runs) == ("cancelled", "disconnected")
    assert agent.running == 0
    await agree(store, run)


async def test_r8_a_run_that_others_read_is_stopped_when_the_last_leaves(runs: Runs, agent: Agent):
    """Not when its starter leaves, nor the first of the others."""
    run, _ = await running(runs, agent)
    async with AsyncExitStack() as others:
        first = await others.enter_async_context(runs.read(run))
        async with runs.read(run), runs.read(run, is_starter=True) as reader:
            await anext(reader)
        await anext(first)
        assert runs.active(USER, "t") is not None
        assert agent.stops == []

    assert await ended(runs) == ("cancelled", "disconnected")


async def test_r8_a_reader_that_leaves_before_the_starter_stops_nothing(runs: Runs, agent: Agent):
    """Nor one that comes and goes before the starter has come."""
    run, gate = await running(runs, agent)
    async with runs.read(run):
        pass
    async with runs.read(run, is_starter=True) as starter:
        async with runs.read(run):
            pass
        gate.set()
        async for _ in starter:
            pass

    assert await ended(runs) == ("success", None)


async def test_r8_a_run_that_shall_continue_does(runs: Runs, agent: Agent):
    """Without any reader; it ends by itself."""
    run, gate = await running(runs, agent, on_disconnect="continue")
    async with runs.read(run, is_starter=True) as reader:
        await anext(reader)
    assert agent.stops == []
    gate.set()

    assert await ended(runs) == ("success", None)


async def test_r8_a_starter_that_comes_again_is_there(runs: Runs, agent: Agent):
    """The same request, sent again, joins the run and wants it."""
    run, gate = await running(runs, agent)
    async with runs.read(run, is_starter=True):
        again = await runs.start(USER, request("r1", "m1"))
        assert again.key == run.key
        second = runs.read(again, is_starter=True)
        await second.__aenter__()
    gate.set()
    async for _ in second:
        pass
    await second.__aexit__(None, None, None)

    assert await ended(runs) == ("success", None)


async def test_r8_a_starter_that_never_comes_is_gone(
    runs: Runs, agent: Agent, monkeypatch: pytest.MonkeyPatch
):
    """It has so many seconds to come."""
    monkeypatch.setattr(manager, "STARTER_PATIENCE", 0.01)
    await running(runs, agent)

    assert await ended(runs) == ("cancelled", "disconnected")


async def test_r8_whoever_asks_is_gone_before_the_run_is_there(
    runs: Runs, store: Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
):
    """The run that is in the store all the same is stopped, and at once."""
    monkeypatch.setattr(manager, "STARTER_PATIENCE", 1000.0)
    added = asyncio.Event()
    go_on = asyncio.Event()
    add_run = store.add_run

    async def slowly(*arguments: object, **more: object) -> object:
        result = await add_run(*arguments, **more)
        added.set()
        await go_on.wait()
        return result

    store.add_run = slowly  # type: ignore[attr-defined]
    agent.scripts = [[asyncio.Event()]]
    asking = asyncio.create_task(runs.start(USER, request("r1", "m1")))
    await added.wait()
    looking = asyncio.create_task(runs.find(USER, "t", "r1"))
    asking.cancel()
    await asyncio.wait([asking])
    go_on.set()

    assert (await looking).run_id == "r1"
    assert await ended(runs) == ("cancelled", "disconnected")


def test_attendance_abandons_when_nobody_is_left():
    """Late is only a starter that has not come."""
    abandoned: list[None] = []
    attendance = Attendance("cancel", lambda: abandoned.append(None))
    attendance.came(is_starter=True)
    attendance.starter_is_late()
    assert not abandoned
    attendance.came(is_starter=False)
    attendance.left(is_starter=True)
    assert not abandoned
    attendance.left(is_starter=False)
    assert abandoned
