"""I1, second half: builds that were overtaken or ran out of time are abandoned, never published.

The time limit is reached by keeping house with a clock of the test's own, not by waiting.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmkeep import BuildTimeout
from llmkeep.core.events import BuildAbandoned
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Crowd,
    Gate,
    Recorder,
    alease,
    crowd,
    lease,
    start,
    sweep,
    until,
    until_waiting,
    waiting,
)

FACES = {"threads": (4, 0, 0), "tasks": (0, 1, 4), "mixed": (2, 2, 2)}
LONG = 1000.0
LATER = LONG + 1


@pytest.mark.parametrize("who", FACES.values(), ids=FACES)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["build", "abuild"])
def test_i1_who_joined_before_an_invalidation_waits_for_the_build_after_it(
    make_cache: MakeCache, gate: Gate, who: Crowd, asynchronous: bool
) -> None:
    """An invalidation overtakes a build: all its callers get the next one, and its result is
    closed without ever having been leased.
    """
    cache = make_cache(abuild=gate.abuild if asynchronous else None)
    callers = crowd(who, cache)
    until_waiting(cache, len(callers))
    overtaken = gate.begun(1)

    assert cache.invalidate("k")
    after = gate.begun(2)
    overtaken.release()
    until(lambda: overtaken.client.closes == 1, "the close of the overtaken result")
    assert waiting(cache) == len(callers)
    after.release()

    assert {caller.result(WAIT) for caller in callers} == {after.client}
    assert after.client.closes == 0
    figures = cache.stats()
    assert (figures.builds, figures.builds_ok, figures.builds_abandoned) == (2, 1, 1)


def test_i1_an_only_caller_whose_build_is_overtaken_builds_again_on_its_own_thread(
    make_cache: MakeCache, gate: Gate
) -> None:
    """A synchronous caller that is alone ends the overtaken build, and then the one after it."""
    cache = make_cache()
    caller = start(lease, cache)
    first = gate.begun(1)
    cache.invalidate("k")
    assert len(gate.calls) == 1  # its thread is busy, and nobody else is there

    first.release()
    second = gate.begun(2).release()

    assert caller.result(WAIT) is second
    until(lambda: first.client.closes == 1)


def test_i1_clear_overtakes_builds_too(make_cache: MakeCache, gate: Gate) -> None:
    """What is being built while everything is cleared belongs to the past."""
    cache = make_cache()
    callers = [start(lease, cache) for _ in range(2)]
    until_waiting(cache, 2)
    gate.begun(1)

    cache.clear()
    gate.begun(2)
    gate.open()

    assert {caller.result(WAIT) for caller in callers} == {gate.calls[1].client}
    until(lambda: gate.closed == [gate.calls[0].client])


def test_i1_one_abandoned_call_at_most_runs_beside_the_current_one(
    make_cache: MakeCache, gate: Gate
) -> None:
    """However often a stuck build is invalidated, two calls of its factory run and not three."""
    cache = make_cache()
    callers = [start(lease, cache) for _ in range(5)]
    until_waiting(cache, 5)
    gate.begun(1)
    for _ in range(4):
        cache.invalidate("k")
        until(lambda: len(gate.calls) == 2)

    first, second = gate.calls
    assert cache.stats().building == 0  # both are abandoned: the third has to wait
    first.release()
    third = gate.begun(3)
    assert cache.stats().building == 1
    second.release()
    third.release()

    assert {caller.result(WAIT) for caller in callers} == {third.client}
    until(lambda: gate.closed == [first.client, second.client])


def test_i1_a_build_beyond_its_limit_is_abandoned_and_its_late_result_closed(
    make_cache: MakeCache, gate: Gate
) -> None:
    """All callers get BuildTimeout; what the build returns later is closed, not published."""
    events = Recorder()
    cache = make_cache(build_timeout=LONG)
    cache.subscribe(events)
    callers = crowd((2, 1, 2), cache)
    until_waiting(cache, 4)
    stuck = gate.begun()

    sweep(cache, LATER)

    for caller in callers:
        with pytest.raises(BuildTimeout, match=r"build_timeout=1000\.0 s"):
            caller.result(WAIT)
    assert [event.reason for event in events.of(BuildAbandoned)] == ["timed out"]
    stuck.release()
    until(lambda: stuck.client.closes == 1)
    assert cache.stats().live == 0


def test_i1_after_a_time_out_the_next_caller_builds_beside_the_stuck_call(
    make_cache: MakeCache, gate: Gate
) -> None:
    """An abandoned build is in nobody's way."""
    cache = make_cache(build_timeout=LONG)
    first = start(lease, cache)
    stuck = gate.begun(1)
    sweep(cache, LATER)
    with pytest.raises(BuildTimeout):
        first.result(WAIT)

    second = start(lease, cache)
    fresh = gate.begun(2).release()

    assert second.result(WAIT) is fresh
    stuck.release()
    until(lambda: stuck.client.closes == 1)
    assert lease(cache) is fresh


def test_i1_beside_two_stuck_calls_further_callers_are_told_at_once(
    make_cache: MakeCache, gate: Gate
) -> None:
    """While an abandoned call is stuck beside another, a third is refused and not started."""
    cache = make_cache(build_timeout=LONG)
    for number in (1, 2):
        caller = start(lease, cache)
        gate.begun(number)
        sweep(cache, LATER)
        with pytest.raises(BuildTimeout):
            caller.result(WAIT)

    with pytest.raises(BuildTimeout):
        lease(cache)
    with pytest.raises(BuildTimeout):
        asyncio.run(alease(cache))
    assert len(gate.calls) == 2

    gate.calls[0].release()
    until(lambda: gate.closed == [gate.calls[0].client])
    caller = start(lease, cache)
    fresh = gate.begun(3).release()
    assert caller.result(WAIT) is fresh


def test_i1_an_overtaken_asynchronous_build_beyond_its_limit_is_cancelled(
    make_cache: MakeCache, gate: Gate
) -> None:
    """A build that is a task on a loop is cancelled when its time is over; one that finishes
    all the same is closed.
    """
    cancelled: list[bool] = []

    async def abuild(spec: Any) -> Any:
        try:
            return await gate.abuild(spec)
        except asyncio.CancelledError:
            cancelled.append(True)
            return gate.calls[0].client  # stubborn: it returns all the same

    cache = make_cache(None, abuild=abuild, build_timeout=LONG)

    async def main() -> None:
        caller = asyncio.create_task(alease(cache))
        await asyncio.to_thread(gate.begun)
        sweep(cache, LATER)
        with pytest.raises(BuildTimeout):
            await caller
        await asyncio.to_thread(until, lambda: gate.closed)

    asyncio.run(main())
    assert cancelled == [True]
    assert gate.calls[0].client.closes == 1


@pytest.mark.parametrize("asynchronous", [False, True], ids=["build", "abuild"])
def test_i1_an_abandoned_build_that_fails_tells_nobody(
    make_cache: MakeCache, gate: Gate, asynchronous: bool
) -> None:
    """Its callers have gone on to the build after it, and its error is nobody's."""
    cache = make_cache(abuild=gate.abuild if asynchronous else None)
    callers = crowd((0, 2, 2), cache)
    until_waiting(cache, 4)
    gate.begun(1)

    cache.invalidate("k")
    gate.begun(2)
    gate.calls[0].fail(ValueError("too late"))
    gate.calls[1].release()

    assert {caller.result(WAIT) for caller in callers} == {gate.calls[1].client}
    assert cache.stats().build_failures == 0


def test_i1_an_invalidation_between_a_build_and_the_wake_of_its_callers_takes_nothing_away(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Who was granted the instance keeps it; who comes after gets the next."""
    cache = make_cache()

    async def main() -> None:
        task = asyncio.create_task(alease_and_hold())
        await asyncio.to_thread(gate.begun)
        gate.open()
        # The grant is on its way through the loop; the task has not run since.
        until(lambda: cache.stats().leased == 1)
        cache.invalidate("k")
        assert await task is gate.calls[0].client
        assert await alease(cache) is gate.calls[1].client

    async def alease_and_hold() -> Any:
        async with cache.lease("k") as client:
            assert client.closes == 0
            await asyncio.sleep(0)
            assert client.closes == 0
            return client

    asyncio.run(main())
    until(lambda: gate.closed == [gate.calls[0].client])
