"""I3: leased means alive, whatever happens meanwhile. Dropped leases are in test_dropped.py."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmkeep import Lease, LeaseMisuse, Scope
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    lease,
    start,
    sweep,
    until,
)

#: Everything that retires an instance, with the reason it gives.
RETIREMENTS: dict[str, Callable[[Any], object]] = {
    "invalidated": lambda cache: cache.invalidate("k"),
    "cleared": lambda cache: cache.clear(),
    "age": lambda cache: sweep(cache, 1001),
    "shutdown": lambda cache: start(cache.close),
}


@pytest.mark.parametrize("retire", RETIREMENTS.values(), ids=RETIREMENTS)
@pytest.mark.parametrize("scope", [Scope.PROCESS, Scope.LOOP, Scope.exclusive(2)])
def test_i3_a_retired_instance_is_closed_when_its_last_lease_returns(
    make_cache: MakeCache, open_gate: Gate, retire: Callable[[Any], object], scope: Scope
) -> None:
    """While one lease is out it is not closed; with the last it is, at once and once."""
    cache = make_cache(scope=scope, max_age=1000.0)
    first, second = cache.lease("k"), cache.lease("k")
    client = first.__enter__()
    second.__enter__()

    retire(cache)
    until(lambda: cache.stats().retired == 1)
    first.__exit__(None, None, None)
    assert cache.stats().retired == 1
    assert client.closes == 0
    second.__exit__(None, None, None)

    until(lambda: client.closes == 1)
    until(lambda: cache.stats().closed == 1)
    assert cache.stats().live == 0


@pytest.mark.parametrize("scope", [Scope.PROCESS, Scope.LOOP, Scope.exclusive(2)])
def test_i3_nothing_that_bounds_idle_instances_touches_a_leased_one(
    make_cache: MakeCache, open_gate: Gate, scope: Scope
) -> None:
    """Idle time, count and weight concern what is idle."""
    cache = make_cache(scope=scope, max_idle=0, weigh=lambda client: 10.0, max_weight=1.0)
    with cache.lease("k") as client:
        sweep(cache, 10_000)
        for other in range(20):
            lease(cache, other)
        until(lambda: cache.stats().closed == 20)
        assert client.closes == 0
        assert lease(cache) is client
        assert client.closes == 0
    until(lambda: client.closes == 1)  # idle now, and there is no room for it


def test_i3_a_lease_taken_while_another_returns_finds_the_instance_alive(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """With no room for idle instances, every return closes or hands over, never both."""
    cache = make_cache(max_idle=0)

    def use() -> None:
        for _ in range(200):
            lease(cache)  # asserts that what it holds is open

    for worker in [start(use) for _ in range(4)]:
        worker.result(WAIT)
    until(lambda: cache.stats().closed == len(open_gate.calls))


def test_i3_a_lease_may_be_left_on_another_thread(make_cache: MakeCache, open_gate: Gate) -> None:
    """What counts is that it is returned, not where."""
    cache = make_cache()
    leased = cache.lease("k")
    client = leased.__enter__()
    cache.invalidate("k")
    assert client.closes == 0

    start(leased.__exit__, None, None, None).result(WAIT)

    until(lambda: client.closes == 1)


def test_i3_a_lease_may_be_left_on_another_loop(make_cache: MakeCache, open_gate: Gate) -> None:
    """Entered by a task on one loop, left by a task on another, or by a thread."""
    cache = make_cache()

    async def enter() -> Lease[Any]:
        leased = cache.lease("k")
        await leased.__aenter__()
        return leased

    async def leave(leased: Lease[Any]) -> None:
        await leased.__aexit__(None, None, None)

    first, second = asyncio.run(enter()), asyncio.run(enter())
    assert cache.stats().leased == 1
    asyncio.run(leave(first))
    second.__exit__(None, None, None)

    assert cache.stats().idle == 1


def test_i3_a_stream_holds_its_lease_until_it_is_exhausted_closed_or_collected(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """A generator that leases keeps the instance alive for as long as it is being read."""
    cache = make_cache()

    def stream() -> Any:
        with cache.lease("k") as client:
            for number in range(3):
                assert client.closes == 0
                yield number

    exhausted, closed, collected = stream(), stream(), stream()
    for each in (exhausted, closed, collected):
        next(each)
    cache.invalidate("k")
    (client,) = [call.client for call in open_gate.calls]

    assert list(exhausted) == [1, 2]
    closed.close()
    assert client.closes == 0
    del each, collected

    until(lambda: client.closes == 1)


def test_i3_an_asynchronous_stream_holds_its_lease_until_the_loop_ends_it(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """A stream that a task walked away from is closed by the loop in the end, and returns."""
    cache = make_cache()

    async def stream() -> Any:
        async with cache.lease("k"):
            for number in range(3):
                yield number

    async def main() -> None:
        walked_away = stream()
        assert await anext(walked_away) == 0
        cache.invalidate("k")
        assert cache.stats().retired == 1

    asyncio.run(main())
    until(lambda: open_gate.calls[0].client.closes == 1)


def test_i3_a_body_that_raises_returns_its_lease(make_cache: MakeCache, open_gate: Gate) -> None:
    """The body's exception passes, and the instance is kept: it says nothing about it."""
    cache = make_cache()

    async def main() -> None:
        async with cache.lease("k"):
            raise KeyError("the body's own")

    with pytest.raises(KeyError, match="the body's own"), cache.lease("k"):
        raise KeyError("the body's own")
    with pytest.raises(KeyError, match="the body's own"):
        asyncio.run(main())

    assert (cache.stats().idle, len(open_gate.calls)) == (1, 1)


def test_i3_a_lease_does_nothing_until_it_is_entered(make_cache: MakeCache, gate: Gate) -> None:
    """Asking for a lease builds nothing and holds nothing."""
    cache = make_cache()
    unused = cache.lease("k")

    assert "not entered" in repr(unused)
    assert gate.calls == []
    assert cache.stats().acquired == 0


def test_i3_a_lease_is_used_once(make_cache: MakeCache, open_gate: Gate) -> None:
    """Entering or leaving it again is an error that says what to do, and changes nothing."""
    cache = make_cache()
    used = cache.lease("k")
    with used:
        with pytest.raises(LeaseMisuse, match=r"used once: call cache\.lease"):
            used.__enter__()
        assert cache.stats().leased == 1
    with pytest.raises(LeaseMisuse, match="returned already"):
        used.__exit__(None, None, None)
    with pytest.raises(LeaseMisuse, match="never entered: use it in a with statement"):
        cache.lease("k").__exit__(None, None, None)
    with pytest.raises(LeaseMisuse, match="used once"):
        asyncio.run(used.__aenter__())
    assert cache.stats().idle == 1


def test_i3_a_return_that_is_still_queued_is_not_taken_for_that_of_a_later_lease(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """Leases are told apart although a later one may live at the address of an earlier one.

    1. a section is under way on this thread; 2. another returns a lease: that is queued; 3. it
    makes a lease at the same address and enters it, which has to wait; 4. this thread releases the
    lock, and is preempted before it looks into the queue; 5. the other is granted its lease.
    """
    cache = make_cache(max_idle=0)
    lock = cache._ledger.lock
    box = [cache.lease("k")]
    box[0].__enter__()
    queued, entered, finish = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        former = box.pop()
        address = id(former)
        former.__exit__(None, None, None)
        del former
        tries: list[Lease[Any]] = []
        while id(later := cache.lease("k")) != address and len(tries) < 1000:
            tries.append(later)
        queued.set()
        with later as got:
            entered.set()
            finish.wait(WAIT)
            assert got.closes == 0

    lock.acquire()
    worker = start(work)
    assert queued.wait(WAIT)
    lock.release()
    assert entered.wait(WAIT)
    assert cache.stats().leased == 1
    finish.set()
    worker.result(WAIT)
