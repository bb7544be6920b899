"""I8 on loops: a synchronous lease on a loop's thread stops the loop while it waits. If only that
loop could serve it, it is refused; otherwise it waits.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

import pytest

from llmkeep import ClientCache, Scope, WouldDeadlock
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    auntil,
    crowd,
    in_turn,
    lease,
    start,
    until,
    until_waiting,
    waiting,
)

Cache = ClientCache[Any, Any]


def ask(cache: Cache) -> Any:
    return lease(cache, timeout=WAIT)


def test_i8_a_synchronous_lease_of_what_its_own_loop_is_building_is_refused(
    make_cache: MakeCache, gate: Gate
) -> None:
    """The build is a task on the loop that the waiting would stop."""
    cache = make_cache(abuild=gate.abuild)

    async def main() -> None:
        task = asyncio.create_task(alease(cache))
        await auntil(lambda: gate.calls)
        with pytest.raises(WouldDeadlock):
            ask(cache)
        gate.open()
        assert await task is ask(cache)

    asyncio.run(main())


def test_i8_a_synchronous_lease_of_what_another_loop_is_building_waits(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Somebody else goes on, so the wait ends."""
    cache = make_cache(abuild=gate.abuild)
    (elsewhere,) = crowd((0, 1, 1), cache)
    gate.begun()

    async def main() -> Any:
        start(in_turn, partial(until_waiting, cache, 2), gate.open)
        return ask(cache)

    assert asyncio.run(main()) is elsewhere.result(WAIT)


def test_i8_a_synchronous_lease_on_a_loop_may_build(make_cache: MakeCache, gate: Gate) -> None:
    """It blocks its loop, as the caller wanted, and ends."""
    gate.open()
    cache = make_cache(abuild=gate.abuild)

    async def main() -> None:
        assert lease(cache) is await alease(cache)

    asyncio.run(main())


def test_i8_a_synchronous_lease_of_what_a_task_of_its_loop_holds_is_refused(
    make_cache: MakeCache, gate: Gate
) -> None:
    """That task could return it only if the loop went on."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))

    async def hold(entered: asyncio.Event, go: asyncio.Event) -> None:
        async with cache.lease("k"):
            entered.set()
            await go.wait()

    async def main() -> None:
        entered, go = asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(hold(entered, go))
        await entered.wait()
        with pytest.raises(WouldDeadlock):
            ask(cache)
        go.set()
        await holder
        ask(cache)

    asyncio.run(main())


def test_i8_a_synchronous_lease_behind_a_task_of_its_own_loop_is_refused(
    make_cache: MakeCache, gate: Gate
) -> None:
    """A thread holds the lease and will return it, to a task that cannot take it."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    start(holder.__enter__).result(WAIT)

    async def main() -> None:
        queued = asyncio.create_task(alease(cache))
        await auntil(lambda: waiting(cache) == 1)
        with pytest.raises(WouldDeadlock):
            ask(cache)
        holder.__exit__(None, None, None)
        await queued

    asyncio.run(main())


def test_i8_a_synchronous_lease_behind_others_waits_for_its_turn(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Threads and tasks of other loops ahead of it go on."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    start(holder.__enter__).result(WAIT)
    ahead = crowd((2, 1, 2), cache)
    until_waiting(cache, 4)

    async def main() -> None:
        leave = partial(holder.__exit__, None, None, None)
        start(in_turn, partial(until_waiting, cache, 5), leave)
        ask(cache)

    asyncio.run(main())
    for each in ahead:
        each.result(WAIT)


def test_i8_an_invalidation_gives_no_build_to_a_loop_that_stands_still(
    make_cache: MakeCache, gate: Gate
) -> None:
    """1. a thread builds; 2. a task waits for it; 3. its loop's thread waits too, which is allowed;
    4. the build is overtaken: it has to go to somebody who can run it.
    """
    cache = make_cache(abuild=gate.abuild)
    builder = start(lease, cache)
    gate.begun(1)

    async def main() -> list[Any]:
        task = asyncio.create_task(alease(cache))
        await auntil(lambda: waiting(cache) == 2)
        start(overtake)
        return [ask(cache), await task]

    def overtake() -> None:
        until_waiting(cache, 3)
        cache.invalidate("k")
        gate.begun(2)
        gate.open()

    assert set(asyncio.run(main())) == {gate.calls[1].client}
    assert builder.result(WAIT) is gate.calls[1].client


def test_i8_an_interrupted_build_is_not_given_to_a_loop_that_stands_still(
    make_cache: MakeCache, gate: Gate
) -> None:
    """The same where the builder is interrupted."""
    cache = make_cache(abuild=gate.abuild)
    builder = start(lease, cache)
    gate.begun(1)

    async def main() -> list[Any]:
        task = asyncio.create_task(alease(cache))
        await auntil(lambda: waiting(cache) == 2)
        start(interrupt)
        return [ask(cache), await task]

    def interrupt() -> None:
        until_waiting(cache, 3)
        gate.calls[0].fail(KeyboardInterrupt())
        gate.begun(2)
        gate.open()

    assert set(asyncio.run(main())) == {gate.calls[1].client}
    with pytest.raises(KeyboardInterrupt):
        builder.result(WAIT)


def test_i8_two_loops_that_stand_still_for_each_other_are_told(make_cache: MakeCache) -> None:
    """Each builds what the other's thread waits for."""
    gates = [Gate(), Gate()]
    caches = [make_cache(gate.build, abuild=gate.abuild, close=gate.close) for gate in gates]

    async def build_and_ask(mine: int) -> str:
        task = asyncio.create_task(alease(caches[mine]))
        await auntil(lambda: gates[0].calls and gates[1].calls)
        try:
            ask(caches[1 - mine])
        except WouldDeadlock:
            outcome = "refused"
        else:
            outcome = "served"
        gates[mine].open()
        await task
        return outcome

    loops = [start(asyncio.run, build_and_ask(number)) for number in (0, 1)]
    outcomes = [loop.result(WAIT) for loop in loops]
    assert sorted(outcomes) == ["refused", "served"]


def test_i2_a_newcomer_to_a_long_queue_costs_what_the_first_did(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Looking for deadlocks does not look at everybody who waits for the same build."""
    cache = make_cache()
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call" and "llmkeep" in frame.f_code.co_filename

    async def cost_of_one_more() -> int:
        nonlocal calls
        calls = 0
        sys.setprofile(count)
        try:
            tasks.append(asyncio.create_task(alease(cache)))
            await asyncio.sleep(0)
        finally:
            sys.setprofile(None)
        return calls

    async def main() -> None:
        costs = [await cost_of_one_more() for _ in range(200)]
        assert waiting(cache) == 200
        assert costs[-1] <= costs[1] + 10
        gate.open()
        await asyncio.gather(*tasks)

    tasks: list[asyncio.Task[Any]] = []
    asyncio.run(main())
    until(lambda: cache.stats().idle == 1)


def test_i8_a_synchronous_lease_that_has_come_to_depend_on_its_own_loop_is_told(
    make_cache: MakeCache, gate: Gate
) -> None:
    """It was allowed, since another loop was building; that ends, and only a task of the loop that
    it blocks could go on.
    """
    cache = make_cache(None, abuild=gate.abuild)
    (elsewhere,) = crowd((0, 1, 1), cache)
    gate.begun(1)

    async def main() -> None:
        task = asyncio.create_task(alease(cache))
        await auntil(lambda: waiting(cache) == 2)
        start(end_the_other)
        with pytest.raises(WouldDeadlock, match="only a task on this thread's loop"):
            ask(cache)
        gate.open()
        assert await task is gate.calls[1].client

    def end_the_other() -> None:
        until_waiting(cache, 3)
        gate.calls[0].fail(asyncio.CancelledError())

    asyncio.run(main())
    with pytest.raises((asyncio.CancelledError, CancelledError)):
        elsewhere.result(WAIT)
