"""I7: cancelling one caller, or its running out of time, harms nobody else and loses nothing."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from llmkeep import ClientCache, LeaseTimeout, Scope
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    auntil,
    crowd,
    lease,
    start,
    until,
    until_waiting,
    waiting,
)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel `task` and see that it is."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("asynchronous", [False, True], ids=["build", "abuild"])
def test_i7_a_cancelled_first_caller_does_not_cancel_the_build(
    make_cache: MakeCache, gate: Gate, asynchronous: bool
) -> None:
    """The build is nobody's own: those who joined get its result."""
    cache = make_cache(abuild=gate.abuild if asynchronous else None)

    async def main() -> None:
        first = asyncio.create_task(alease(cache))
        await auntil(lambda: gate.calls)
        others = [asyncio.create_task(alease(cache)) for _ in range(10)]
        elsewhere = crowd((2, 1, 2), cache)
        await auntil(lambda: waiting(cache) == 15)

        await cancelled(first)
        gate.open()

        results = [*await asyncio.gather(*others), *map(asyncio.wrap_future, elsewhere)]
        client = gate.calls[0].client
        assert {await each if asyncio.isfuture(each) else each for each in results} == {client}

    asyncio.run(main())
    assert len(gate.calls) == 1


def test_i7_when_all_are_cancelled_the_result_is_kept_for_the_next(
    make_cache: MakeCache, gate: Gate
) -> None:
    """By default; test_retiring.py has the other way."""
    cache = make_cache()

    async def main() -> None:
        tasks = [asyncio.create_task(alease(cache)) for _ in range(3)]
        await auntil(lambda: waiting(cache) == 3)
        for task in tasks:
            await cancelled(task)
        assert waiting(cache) == 0
        gate.open()
        await auntil(lambda: cache.stats().idle == 1)
        assert await alease(cache) is gate.calls[0].client

    asyncio.run(main())
    assert len(gate.calls) == 1


def test_i7_a_cancel_at_the_very_moment_of_the_grant_leaks_nothing(
    make_cache: MakeCache, gate: Gate
) -> None:
    """1. the build ends, and the task's wake is on its way; 2. the task is cancelled; 3. it runs:
    the lease it had been given goes back.
    """
    cache = make_cache()

    async def main() -> None:
        task = asyncio.create_task(alease(cache))
        await auntil(lambda: gate.calls)
        gate.open()
        until(lambda: cache.stats().leased == 1)  # this loop stands still meanwhile
        await cancelled(task)
        assert cache.stats().leased == 0

    asyncio.run(main())
    assert cache.stats().idle == 1


@pytest.mark.parametrize("next_in_line", ["task", "thread"])
def test_i7_a_cancelled_waiter_passes_on_the_turn_it_had_been_given(
    make_cache: MakeCache, gate: Gate, next_in_line: str
) -> None:
    """The same for an exclusive instance: the next in line has it."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))

    async def main() -> None:
        holder = cache.lease("k")
        await asyncio.to_thread(holder.__enter__)
        first = asyncio.create_task(alease(cache))
        await auntil(lambda: waiting(cache) == 1)
        crowd_of_one = (1, 0, 0) if next_in_line == "thread" else (0, 1, 1)
        (second,) = crowd(crowd_of_one, cache)
        await auntil(lambda: waiting(cache) == 2)

        holder.__exit__(None, None, None)  # the first is granted its turn, and has not run yet
        assert waiting(cache) == 1
        await cancelled(first)

        await asyncio.wrap_future(second)

    asyncio.run(main())
    assert cache.stats().idle == 1


def test_i7_a_waiting_task_that_nobody_else_holds_is_held_by_its_loop(
    make_cache: MakeCache, gate: Gate
) -> None:
    """As with every asyncio primitive: the collector takes no task away in the middle of a wait."""
    cache = make_cache(scope=Scope.exclusive(1))
    served: list[str] = []

    async def use(spec: str) -> None:
        async with cache.lease(spec):
            served.append(spec)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(asyncio.create_task, use("built"))  # and nobody keeps the task
        await auntil(lambda: gate.calls)
        gc.collect()
        gate.open()
        await auntil(lambda: served)
        async with cache.lease("built"):
            loop.call_soon(asyncio.create_task, use("queued"))
            loop.call_soon(asyncio.create_task, use("built"))
            await auntil(lambda: waiting(cache) == 1)
            gc.collect()
        await auntil(lambda: len(served) == 3)

    asyncio.run(main())


def test_i7_a_cancelled_waiter_leaves_the_queue(make_cache: MakeCache, gate: Gate) -> None:
    """Its place is gone before its turn comes, and nobody waits for it."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))

    async def main() -> None:
        async with cache.lease("k"):
            tasks = [asyncio.create_task(alease(cache)) for _ in range(5)]
            await auntil(lambda: waiting(cache) == 5)
            for task in tasks[:4]:
                await cancelled(task)
            assert waiting(cache) == 1
        await tasks[4]

    asyncio.run(main())


def test_i7_a_cancelled_body_returns_its_lease(make_cache: MakeCache, gate: Gate) -> None:
    """Leaving never waits, so that a second cancel finds nothing to interrupt."""
    gate.open()
    cache = make_cache()

    async def hold() -> None:
        async with cache.lease("k"):
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(hold())
        await auntil(lambda: cache.stats().leased == 1)
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cache.stats().idle == 1

    asyncio.run(main())


def test_i7_returning_a_lease_takes_no_step_of_the_loop(make_cache: MakeCache, gate: Gate) -> None:
    """`__aexit__` never suspends, so it cannot be cancelled."""
    gate.open()
    cache = make_cache()

    async def main() -> None:
        leased = cache.lease("k")
        await leased.__aenter__()
        with pytest.raises(StopIteration):
            leased.__aexit__(None, None, None).send(None)

    asyncio.run(main())


def test_i7_holds_under_anyio_which_cancels_again_and_again(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Waiting for a build, for a turn and in the body, within a scope that is cancelled."""
    cache = make_cache(scope=Scope.exclusive(1))

    async def use(spec: str) -> None:
        async with cache.lease(spec):
            await anyio.sleep_forever()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(use, "body")
            await auntil(lambda: gate.calls)
            gate.begun(1).release()
            await auntil(lambda: cache.stats().leased == 1)
            group.start_soon(use, "body")
            group.start_soon(use, "being built")
            await auntil(lambda: len(gate.calls) == 2 and waiting(cache) == 2)
            group.cancel_scope.cancel()
        assert waiting(cache) == 0
        assert cache.stats().leased == 0

    anyio.run(main)
    gate.open()
    until(lambda: cache.stats().idle == 2)


def test_i7_an_anyio_timeout_around_a_lease_is_only_that_callers(
    make_cache: MakeCache, gate: Gate
) -> None:
    """The scope ends the wait; the build goes on, and the next caller joins it."""
    cache = make_cache()

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await alease(cache)
        assert scope.cancelled_caught
        joined = asyncio.create_task(alease(cache))
        await auntil(lambda: waiting(cache) == 1)
        gate.open()
        assert await joined is gate.calls[0].client

    anyio.run(main)
    assert len(gate.calls) == 1


@pytest.mark.parametrize(
    "who", [(3, 0, 0), (0, 1, 3), (1, 2, 1)], ids=["threads", "tasks", "mixed"]
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["build", "abuild"])
def test_i7_who_runs_out_of_time_harms_nobody(
    make_cache: MakeCache, gate: Gate, who: Any, asynchronous: bool
) -> None:
    """The caller's own time limit covers joining and building, and ends neither for others."""
    cache = make_cache(abuild=gate.abuild if asynchronous else None)
    patient = start(lease, cache)
    gate.begun()

    for caller in crowd(who, cache, timeout=0.01):
        with pytest.raises(LeaseTimeout, match=r"1 building, \d+ waiting"):
            caller.result(WAIT)
    gate.open()

    assert patient.result(WAIT) is gate.calls[0].client
    assert len(gate.calls) == 1


def test_i7_the_starter_may_run_out_of_time_itself(make_cache: MakeCache, gate: Gate) -> None:
    """Its build goes on without it, on a thread of ours, for those who wait and who will come."""
    cache = make_cache()
    impatient = start(lease, cache, timeout=0.01)
    gate.begun()
    patient = start(lease, cache)

    with pytest.raises(LeaseTimeout):
        impatient.result(WAIT)
    gate.open()

    assert patient.result(WAIT) is gate.calls[0].client


def test_i7_a_time_limit_covers_the_exclusive_queue(make_cache: MakeCache, gate: Gate) -> None:
    """Who does not get its turn in time leaves the queue."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))
    with cache.lease("k"):
        for caller in crowd((1, 1, 1), cache, timeout=0.01):
            with pytest.raises(LeaseTimeout, match="1 leased"):
                caller.result(WAIT)
        assert waiting(cache) == 0
    lease(cache, timeout=WAIT)


def test_i7_a_time_limit_of_zero_takes_what_is_ready_and_free(
    make_cache: MakeCache, gate: Gate
) -> None:
    """It never waits, never builds, and never asks for a turn."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))

    def ask(cache: ClientCache[Any, Any]) -> list[Any]:
        return [lease(cache, timeout=0), asyncio.run(alease(cache, timeout=0))]

    with pytest.raises(LeaseTimeout, match="timeout=0"):
        ask(cache)
    assert gate.calls == []
    cache.warm("k")
    cache.warm("k", timeout=0)
    assert ask(cache) == [gate.calls[0].client] * 2
    with cache.lease("k"), pytest.raises(LeaseTimeout, match="timeout=0"):
        start(ask, cache).result(WAIT)


def test_i7_timeouts_are_timeouterrors(make_cache: MakeCache, gate: Gate) -> None:
    """Code that knows only the builtin catches them."""
    cache = make_cache()
    with pytest.raises(TimeoutError):
        lease(cache, timeout=0.01)


def test_i7_a_huge_time_limit_is_no_error(make_cache: MakeCache, gate: Gate) -> None:
    """A limit beyond what the platform's locks can wait for is as good as none."""
    cache = make_cache()
    caller = start(lease, cache, timeout=threading.TIMEOUT_MAX * 10)
    gate.begun()
    joined = start(lease, cache, timeout=float("inf"))
    until_waiting(cache, 2)
    gate.open()
    assert caller.result(WAIT) is joined.result(WAIT)
