"""I8: waits that would never end are errors that tell the cycle; waits that end are none.

Every ask has a time limit far beyond what it takes, so that a hang shows as a LeaseTimeout.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from llmkeep import ClientCache, WouldDeadlock
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    lease,
    start,
    until_waiting,
)

Cache = ClientCache[Any, Any]


def ask(cache: Cache, spec: Any = "k") -> Any:
    return lease(cache, spec, timeout=WAIT)


async def aask(cache: Cache, spec: Any = "k") -> Any:
    return await alease(cache, spec, timeout=WAIT)


def in_a_loop(cache: Cache) -> Any:
    return asyncio.run(aask(cache))


def through_to_thread(cache: Cache) -> Any:
    async def main() -> Any:
        return await asyncio.to_thread(ask, cache)

    return asyncio.run(main())


def through_a_task(cache: Cache) -> Any:
    async def main() -> Any:
        return await asyncio.create_task(aask(cache))

    return asyncio.run(main())


@pytest.mark.parametrize(
    "inner", [ask, in_a_loop, through_to_thread, through_a_task], ids=lambda each: each.__name__
)
@pytest.mark.parametrize("outer", [lease, ask, in_a_loop], ids=["inline", "our thread", "loop"])
def test_i8_a_factory_that_leases_its_own_key_is_told(
    make_cache: MakeCache, inner: Any, outer: Any
) -> None:
    """Directly, in a loop of its own, through `to_thread` and through tasks."""
    cache: Cache = make_cache(lambda spec: inner(cache))

    with pytest.raises(WouldDeadlock) as raised:
        outer(cache)

    assert "the build of" in str(raised.value)
    assert str(raised.value).splitlines()[1:] == [f"  {step}" for step in raised.value.cycle]
    assert cache.stats().building == 0


@pytest.mark.parametrize("inner", ["await", "task", "to_thread"])
def test_i8_an_asynchronous_factory_that_leases_its_own_key_is_told(
    make_cache: MakeCache, inner: str
) -> None:
    """The same for a build that is a task."""

    async def abuild(spec: Any) -> Any:
        if inner == "await":
            return await aask(cache)
        if inner == "task":
            return await asyncio.create_task(aask(cache))
        return await asyncio.to_thread(ask, cache)

    cache: Cache = make_cache(None, abuild=abuild)

    with pytest.raises(WouldDeadlock):
        in_a_loop(cache)


def test_i8_warming_counts_as_waiting(make_cache: MakeCache) -> None:
    """A factory that warms its own key never ends either."""
    cache: Cache = make_cache(lambda spec: cache.warm("k", timeout=WAIT))
    with pytest.raises(WouldDeadlock):
        cache.warm("k")


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("kind", ["threads", "tasks", "mixed"])
def test_i8_a_cycle_of_builds_is_found_wherever_it_closes(
    make_cache: MakeCache, kind: str, n: int
) -> None:
    """Key 0 needs 1, 1 needs 2 ... needs 0; each in a cache of its own, begun at the same time."""
    barrier = threading.Barrier(n)

    def build(spec: int) -> Any:
        barrier.wait(WAIT)
        return ask(caches[(spec + 1) % n], (spec + 1) % n)

    async def abuild(spec: int) -> Any:
        await asyncio.to_thread(barrier.wait, WAIT)
        return await aask(caches[(spec + 1) % n], (spec + 1) % n)

    caches = [
        make_cache(build, abuild=None if kind == "threads" else abuild, close=None)
        for _ in range(n)
    ]
    callers = [
        start(ask, caches[number], number)
        if kind == "threads" or (kind == "mixed" and number % 2)
        else start(asyncio.run, aask(caches[number], number))
        for number in range(n)
    ]

    for caller in callers:
        with pytest.raises(WouldDeadlock):
            caller.result(WAIT)


def test_i8_the_cycle_is_told_step_by_step(make_cache: MakeCache) -> None:
    """Who waits for whom, the caller first, by thread, task, cache and line."""
    first: Cache = make_cache(lambda spec: ask(second), name="first")
    second: Cache = make_cache(lambda spec: ask(first), name="second")

    with pytest.raises(WouldDeadlock) as raised:
        lease(first)

    assert len(raised.value.cycle) >= 2
    told = "\n".join(raised.value.cycle)
    assert "the build of" in told
    assert "in cache 'first'" in told
    assert "in cache 'second'" in told


def test_i8_a_factory_may_lease_other_keys(make_cache: MakeCache) -> None:
    """A chain is no cycle, however many caches and loops it goes through."""

    def build(spec: int) -> Any:
        if spec == 0:
            return "the end"
        return (ask, in_a_loop, through_to_thread)[spec % 3](_at(cache, spec - 1))

    cache = make_cache(build, close=None)
    assert ask(cache, 9) == "the end"


def _at(cache: Cache, spec: int) -> Any:
    """`cache`, as if "k" were `spec`."""

    class At:
        def lease(self, _: str, **options: Any) -> Any:
            return cache.lease(spec, **options)

    return At()


def test_i8_two_who_wait_for_one_stuck_build_are_no_cycle(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Waiting for somebody slow is allowed, and so is a factory that does."""
    slow = make_cache()
    quick = make_cache(lambda spec: ask(slow), close=None)
    callers = [start(ask, quick, 1), start(ask, quick, 2), start(ask, slow)]
    until_waiting(slow, 3)
    gate.open()
    assert len({caller.result(WAIT) for caller in callers}) == 1


def test_i8_what_a_build_left_running_is_not_the_build(make_cache: MakeCache) -> None:
    """A thread or task that a factory started and that outlives it may lease as anybody."""
    go = threading.Event()
    later: list[Any] = []

    async def abuild(spec: Any) -> Any:
        async def afterwards() -> Any:
            await asyncio.to_thread(go.wait, WAIT)
            return await aask(cache)

        later.append(asyncio.create_task(afterwards()))
        return "built"

    cache: Cache = make_cache(None, abuild=abuild, close=None)

    async def main() -> None:
        await aask(cache)
        cache.invalidate("k")
        go.set()
        assert await later[0] == "built"
        later[1].cancel()
        await asyncio.gather(later[1], return_exceptions=True)

    asyncio.run(main())
