"""`Scope.exclusive(n)`: at most n leases at a time, first come first served, no turn lost (I7)."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from typing import Any

import pytest

from llmkeep import Scope
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    auntil,
    crowd,
    lease,
    left_for_dead,
    start,
    until,
    until_waiting,
    waiting,
)

pytestmark = pytest.mark.usefixtures("open_gate")


@pytest.mark.parametrize("n", [1, 3])
def test_i1_no_more_than_n_leases_are_out_at_a_time(make_cache: MakeCache, n: int) -> None:
    """Threads and tasks on two loops together; and n are, where there are as many who want."""
    cache = make_cache(scope=Scope.exclusive(n))
    inside: list[int] = []
    most: list[int] = []
    lock = threading.Lock()
    full = threading.Semaphore(0)

    def enter() -> None:
        with lock:
            inside.append(1)
            most.append(len(inside))
        full.release()

    def leave() -> None:
        with lock:
            inside.pop()

    def use() -> None:
        with cache.lease("k"):
            enter()
            for _ in range(3):
                threading.Event().wait(0.001)
            leave()

    async def ause() -> None:
        async with cache.lease("k"):
            enter()
            await asyncio.sleep(0.001)
            leave()

    async def tasks() -> None:
        await asyncio.gather(*(ause() for _ in range(10)))

    workers = [start(use) for _ in range(10)]
    workers += [start(asyncio.run, tasks()) for _ in range(2)]
    for worker in workers:
        worker.result(WAIT)

    assert max(most) == n
    assert len(most) == cache.stats().acquired == 30


def test_i7_turns_are_given_in_the_order_of_asking_to_threads_and_tasks_alike(
    make_cache: MakeCache,
) -> None:
    """First come, first served, whoever comes."""
    cache = make_cache(scope=Scope.exclusive(1))
    order: list[int] = []
    plan = random.Random(7).sample([0, 1] * 10, 20)

    def use(number: int) -> None:
        with cache.lease("k"):
            order.append(number)

    async def ause(number: int) -> None:
        async with cache.lease("k"):
            order.append(number)

    workers = []
    with cache.lease("k"):
        for number, kind in enumerate(plan):
            workers.append(
                start(use, number) if kind else start(asyncio.run, ause(number)),
            )
            until_waiting(cache, number + 1)
    for worker in workers:
        worker.result(WAIT)

    assert order == list(range(20))


def test_i7_nobody_overtakes_the_queue(make_cache: MakeCache) -> None:
    """Who comes while others wait waits behind them, also where the instance is just being
    returned.
    """
    cache = make_cache(scope=Scope.exclusive(1))

    async def main() -> None:
        async with cache.lease("k"):
            queued = asyncio.create_task(alease(cache))
            await auntil(lambda: waiting(cache) == 1)
        # Returned, and granted to the task, which has not run since.
        assert cache.stats().leased == 1
        with pytest.raises(TimeoutError):
            lease(cache, timeout=0)
        await queued
        assert await alease(cache, timeout=0)

    asyncio.run(main())


def test_i7_an_invalidation_takes_the_queue_to_the_next_instance(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Those who wait get the new instance, in their order, while the old one is still leased."""
    cache = make_cache(scope=Scope.exclusive(1))
    with cache.lease("k") as old:
        callers = crowd((2, 1, 2), cache)
        until_waiting(cache, 4)

        cache.invalidate("k")

        assert {caller.result(WAIT) for caller in callers} == {gate.calls[1].client}
        assert old.closes == 0
    until(lambda: old.closes == 1)


def test_i7_turns_that_are_free_are_all_given(make_cache: MakeCache) -> None:
    """With n = 3 a return serves one waiter, and three returns three."""
    cache = make_cache(scope=Scope.exclusive(3))
    held = [cache.lease("k") for _ in range(3)]
    for each in held:
        start(each.__enter__).result(WAIT)
    go = threading.Event()

    def use() -> None:
        with cache.lease("k"):
            go.wait(WAIT)

    workers = [start(use) for _ in range(5)]
    until_waiting(cache, 5)
    for left, each in zip((4, 3, 2), held, strict=True):
        each.__exit__(None, None, None)
        assert waiting(cache) == left
    go.set()
    for worker in workers:
        worker.result(WAIT)


def test_i7_a_turn_granted_to_a_loop_that_was_closed_goes_to_the_next(
    make_cache: MakeCache,
) -> None:
    """A waiter that can never run again holds up nobody."""
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    start(holder.__enter__).result(WAIT)
    loop = asyncio.new_event_loop()
    dead = [loop.create_task(alease(cache)) for _ in range(3)]
    loop.run_until_complete(asyncio.sleep(0))
    until_waiting(cache, 3)
    loop.close()
    left_for_dead(*dead)
    alive = start(lease, cache)
    until_waiting(cache, 4)

    holder.__exit__(None, None, None)

    alive.result(WAIT)
    until(lambda: cache.stats().idle == 1)


def test_i7_who_is_granted_between_asking_and_waiting_is_granted(make_cache: MakeCache) -> None:
    """A turn that becomes free while its next owner is on its way to sleep is no deadlock.

    1. this thread holds the books; 2. the holder returns, which is queued; 3. another asks, and
    waits for the books; 4. they are released, and the other finds the return and its own request.
    """
    cache = make_cache(scope=Scope.exclusive(1))
    lock = cache._ledger.lock
    for _ in range(20):
        holder = cache.lease("k")
        start(holder.__enter__).result(WAIT)
        asking = threading.Event()

        def ask(asking: threading.Event = asking) -> Any:
            leased = cache.lease("k")
            asking.set()
            with leased as client:
                return client

        lock.acquire()
        start(holder.__exit__, None, None, None).result(WAIT)
        other = start(ask)
        asking.wait(WAIT)
        lock.release()

        other.result(WAIT)


def test_i7_contention_of_threads_ends_in_no_error(make_cache: MakeCache) -> None:
    """Whatever the interleaving of asking, returning and falling asleep."""
    cache = make_cache(scope=Scope.exclusive(1))

    def use() -> None:
        for _ in range(300):
            lease(cache)

    workers = [start(use) for _ in range(4)]
    for worker in workers:
        worker.result(WAIT)
    assert cache.stats().acquired == 1200


def test_i2_keys_of_an_exclusive_cache_do_not_wait_for_each_other(make_cache: MakeCache) -> None:
    """A turn is a turn of one instance."""
    cache = make_cache(scope=Scope.exclusive(1))
    with cache.lease(1), cache.lease(2):
        start(lease, cache, 3).result(WAIT)
        assert start(lease, cache, 1, timeout=0.01).exception(WAIT) is not None


@pytest.mark.parametrize("taker", ["thread", "task"])
def test_i3_a_turn_taken_by_somebody_who_is_gone_may_be_returned_by_another(
    make_cache: MakeCache, taker: str
) -> None:
    """Those who wait meanwhile look for cycles through one that no longer exists."""
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    if taker == "thread":
        start(holder.__enter__).result(WAIT)
    else:

        async def take() -> None:
            await holder.__aenter__()

        asyncio.run(take())
    gc.collect()

    waiters = crowd((1, 1, 1), cache)
    until_waiting(cache, 2)
    holder.__exit__(None, None, None)

    for waiter in waiters:
        waiter.result(WAIT)


@pytest.mark.parametrize("timeout", [None, 0, WAIT])
def test_i7_what_a_thread_has_returned_is_returned_for_whatever_it_does_next(
    make_cache: MakeCache, timeout: float | None
) -> None:
    """1. another thread holds the books; 2. this one returns a turn: queued; 3. it asks again; 4.
    the books are released: its own return comes first.
    """
    cache = make_cache(scope=Scope.exclusive(1))
    lock = cache._ledger.lock
    asking = threading.Event()
    lock.acquire()
    try:
        worker = start(_use_twice, cache, timeout, asking, lock)
        lock.release()
        assert asking.wait(WAIT)
    finally:
        lock.acquire()
        lock.release()
    worker.result(WAIT)


def _use_twice(cache: Any, timeout: float | None, asking: threading.Event, lock: Any) -> None:
    leased = cache.lease("k")
    leased.__enter__()
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            go.wait(WAIT)

    holder = start(hold)
    assert held.wait(WAIT)
    leased.__exit__(None, None, None)
    asking.set()
    again = cache.lease("k", timeout=timeout)
    threading.Timer(0.01, go.set).start()
    with again:
        pass
    holder.result(WAIT)
