"""I8 with exclusive leases: who holds what another needs. Builds are in test_deadlocks.py."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from llmkeep import ClientCache, Scope, WouldDeadlock
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    auntil,
    lease,
    start,
    until,
    until_waiting,
    waiting,
)

Cache = ClientCache[Any, Any]


def ask(cache: Cache) -> Any:
    return lease(cache, timeout=WAIT)


async def aask(cache: Cache) -> Any:
    return await alease(cache, timeout=WAIT)


def in_a_loop(cache: Cache) -> Any:
    return asyncio.run(aask(cache))


@pytest.fixture
def one_at_a_time(make_cache: MakeCache, gate: Gate) -> Cache:
    gate.open()
    return make_cache(scope=Scope.exclusive(1))


def test_i8_who_holds_an_exclusive_lease_and_asks_again_is_told(one_at_a_time: Cache) -> None:
    """In the same thread, in the same task, and in a loop that the holding thread runs."""
    cache = one_at_a_time

    async def main() -> None:
        async with cache.lease("k"):
            with pytest.raises(WouldDeadlock, match=r"_deadlocks\.py:\d+ in .*main"):
                await aask(cache)

    asyncio.run(main())
    with cache.lease("k"):
        for again in (ask, in_a_loop):
            with pytest.raises(WouldDeadlock, match="the lease taken at"):
                again(cache)
    ask(cache)


def test_i8_other_threads_and_tasks_may_wait_for_an_exclusive_lease(
    one_at_a_time: Cache,
) -> None:
    """That is what the queue is for, also for two tasks of one loop."""
    cache = one_at_a_time

    async def main() -> None:
        async with cache.lease("k"):
            other = asyncio.create_task(aask(cache))
            thread = start(ask, cache)
            await auntil(lambda: waiting(cache) == 2)
        await other
        await asyncio.wrap_future(thread)

    asyncio.run(main())


def test_i8_of_two_exclusive_leases_one_may_be_asked_again(make_cache: MakeCache) -> None:
    """With n = 2 a second lease is granted; a third, with both held here, is not."""
    cache = make_cache(lambda spec: object(), close=None, scope=Scope.exclusive(2))
    with cache.lease("k"), cache.lease("k"), pytest.raises(WouldDeadlock):
        ask(cache)
    other = cache.lease("k")
    start(other.__enter__).result(WAIT)
    with cache.lease("k"):
        waiter = start(lambda: _release_when_waiting(cache, other))
        ask(cache)  # the other thread's lease may come back, and does
        waiter.result(WAIT)


def _release_when_waiting(cache: Cache, other: Any) -> None:
    until_waiting(cache, 1)
    other.__exit__(None, None, None)


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_i8_two_who_want_what_the_other_holds_are_told(make_cache: MakeCache, kind: str) -> None:
    """The philosophers: one of them is refused, and the other is served then."""
    left, right = (
        make_cache(lambda spec: object(), close=None, scope=Scope.exclusive(1)) for _ in range(2)
    )
    barrier = threading.Barrier(2)

    def dine(first: Cache, second: Cache) -> str:
        with first.lease("k"):
            barrier.wait(WAIT)
            try:
                ask(second)
            except WouldDeadlock:
                return "refused"
            return "served"

    async def adine(first: Cache, second: Cache) -> str:
        async with first.lease("k"):
            await asyncio.to_thread(barrier.wait, WAIT)
            try:
                await aask(second)
            except WouldDeadlock:
                return "refused"
            return "served"

    if kind == "threads":
        both = [start(dine, left, right), start(dine, right, left)]
        outcomes = [each.result(WAIT) for each in both]
    else:

        async def main() -> list[str]:
            return [*await asyncio.gather(adine(left, right), adine(right, left))]

        outcomes = asyncio.run(main())
    assert sorted(outcomes) == ["refused", "served"]


def test_i8_a_diamond_of_holders_is_found(make_cache: MakeCache) -> None:
    """Both holders of an instance of two wait for the one who asks for it."""
    two, one = (
        make_cache(lambda spec: object(), close=None, scope=Scope.exclusive(n)) for n in (2, 1)
    )
    go = threading.Event()

    def hold_two_and_want_one() -> None:
        with two.lease("k"):
            go.wait(WAIT)
            ask(one)

    with one.lease("k"):
        holders = [start(hold_two_and_want_one) for _ in range(2)]
        until(lambda: two.stats().acquired == 2)
        go.set()
        until_waiting(one, 2)
        with pytest.raises(WouldDeadlock):
            ask(two)
    for each in holders:
        each.result(WAIT)


def test_i8_waits_that_depend_on_each_other_are_found(make_cache: MakeCache) -> None:
    """X(2) is held by a and b, Z(2) by a and c, Y(1) by b; a waits for Y, b for Z, and c asks for
    X: nobody would ever go on.
    """
    x, y, z = (
        make_cache(lambda spec: object(), close=None, scope=Scope.exclusive(n)) for n in (2, 1, 2)
    )
    ready = threading.Barrier(3)

    def a() -> None:
        with x.lease("k"), z.lease("k"):
            ready.wait(WAIT)
            ask(y)

    def b() -> None:
        with x.lease("k"), y.lease("k"):
            ready.wait(WAIT)
            until_waiting(y, 1)
            ask(z)

    others = [start(a), start(b)]
    with z.lease("k"):
        ready.wait(WAIT)
        until_waiting(z, 1)
        with pytest.raises(WouldDeadlock):
            ask(x)
    for each in others:
        each.result(WAIT)


def test_i8_a_factory_that_wants_what_its_waiter_holds_is_told(make_cache: MakeCache) -> None:
    """The caller holds an exclusive lease, and the build it waits for wants that."""
    held = make_cache(lambda spec: object(), close=None, scope=Scope.exclusive(1))
    built = make_cache(lambda spec: ask(held), close=None)
    with held.lease("k"):
        for outer in (lease, ask):
            with pytest.raises(WouldDeadlock):
                outer(built)
    assert ask(built) is not None
