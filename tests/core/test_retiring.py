"""I4: retired means gone, and closed exactly once. What a close may do wrong: test_closing.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from llmkeep import ClientCache, Scope
from llmkeep.core.events import Built, Closed, Retired
from llmkeep.core.instance import MOVES, Instance, State
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    Recorder,
    alease,
    lease,
    start,
    sweep,
    together,
    until,
)

pytestmark = pytest.mark.usefixtures("open_gate")


def test_i4_after_an_invalidation_nobody_gets_the_old_instance(
    make_cache: MakeCache,
) -> None:
    """The next lease builds anew, also while the old instance is still leased."""
    cache = make_cache()
    with cache.lease("k") as old:
        assert cache.invalidate("k")
        with cache.lease("k") as new:
            assert new is not old
            assert old.closes == new.closes == 0
        assert asyncio.run(alease(cache)) is new
    until(lambda: old.closes == 1)
    assert lease(cache) is new


def test_i4_invalidate_says_whether_there_was_something(make_cache: MakeCache) -> None:
    """True for what is ready or being built, False otherwise; other keys are left alone."""
    cache = make_cache()
    other = lease(cache, "other")

    assert not cache.invalidate("k")
    lease(cache)
    assert cache.invalidate("k")
    assert not cache.invalidate("k")
    assert lease(cache, "other") is other
    assert other.closes == 0


def test_i4_invalidate_says_true_of_a_build_under_way(make_cache: MakeCache) -> None:
    """What is being built is something."""
    held = Gate()
    cache = make_cache(held.build)
    caller = start(lease, cache)
    held.begun()

    assert cache.invalidate("k")

    held.open()
    caller.result(WAIT)


def test_i4_invalidate_reaches_every_home(make_cache: MakeCache) -> None:
    """With a scope per loop the instances on all loops go, and that of the threads."""
    cache = make_cache(scope=Scope.LOOP)

    async def main() -> None:
        threads_own, on_loop = await asyncio.to_thread(lease, cache), await alease(cache)
        assert threads_own is not on_loop
        assert cache.invalidate("k")
        await asyncio.to_thread(until, lambda: threads_own.closes and on_loop.closes)
        assert await alease(cache) is not on_loop

    asyncio.run(main())


def test_i4_clear_retires_everything_and_does_not_wait(make_cache: MakeCache) -> None:
    """Idle instances are closed, leased ones when they return; the cache goes on."""
    cache = make_cache()
    clients = [lease(cache, key) for key in range(10)]
    with cache.lease("k") as leased:
        cache.clear()
        until(lambda: all(client.closes == 1 for client in clients))
        assert leased.closes == 0
        figures = cache.stats()
        assert (figures.retired, figures.live, figures.closed) == (1, 1, 10)
    until(lambda: leased.closes == 1)
    assert lease(cache) is not leased


@pytest.mark.parametrize(
    ("reason", "retire"),
    [
        ("invalidated", lambda cache: cache.invalidate("k")),
        ("cleared", lambda cache: cache.clear()),
        ("idle", lambda cache: sweep(cache, 601)),
        ("age", lambda cache: sweep(cache, 5001)),
        ("evicted", lambda cache: cache.warm("another")),
        ("shutdown", lambda cache: cache.close()),
    ],
)
def test_i4_every_way_to_retire_closes_once_and_says_why(
    make_cache: MakeCache, reason: str, retire: Callable[[Any], object]
) -> None:
    """Built, retired, closed: each is told once, in this order, with one id."""
    events = Recorder()
    idle_ttl = None if reason == "age" else 600.0
    cache = make_cache(max_idle=1, max_age=5000.0, idle_ttl=idle_ttl, name="telling")
    cache.subscribe(events)
    client = lease(cache)

    retire(cache)

    until(lambda: client.closes == 1 and events.of(Closed))
    (retired,) = events.of(Retired)
    assert retired.reason == reason
    mine = [event for event in events.events if event.instance == retired.instance]
    assert [type(event) for event in mine] == [Built, Retired, Closed]
    assert {(event.cache, event.label) for event in mine} == {("telling", "Client")}


def test_i4_many_who_retire_at_once_close_once(make_cache: MakeCache, gate: Gate) -> None:
    """Invalidations, clears and sweeps that meet take each instance once."""
    cache = make_cache()

    def use() -> None:
        for number in range(50):
            lease(cache)
            (cache.clear, lambda: cache.invalidate("k"), lambda: sweep(cache, 601))[number % 3]()

    together(4, use)
    cache.clear()
    until(lambda: cache.stats().closed == len(gate.calls))
    assert all(client.closes == 1 for client in gate.closed)


def test_i4_an_unwanted_result_is_closed_and_a_wanted_one_kept(
    make_cache: MakeCache,
) -> None:
    """`keep_unclaimed`: what becomes of a build's result when its last caller has gone."""
    for keep, live in ((True, 1), (False, 0)):
        held = Gate()
        cache = make_cache(held.build, keep_unclaimed=keep, close=held.close)

        async def give_up(cache: Any = cache, held: Gate = held) -> None:
            task = asyncio.create_task(alease(cache))
            await asyncio.to_thread(held.begun)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(give_up())
        held.open()
        until(partial(_settled, cache, held, live), "the end of the build")


def _settled(cache: ClientCache[Any, Any], held: Gate, live: int) -> bool:
    stats = cache.stats()
    return (stats.builds_ok, stats.live, len(held.closed)) == (1, live, 1 - live)


def test_i4_states_move_one_way_only(make_cache: MakeCache) -> None:
    """Building, ready, retired, closed: there is no way back, and none to skip a close."""
    order = list(State)
    for state, following in MOVES.items():
        assert all(order.index(to) > order.index(state) for to in following)
    cache = make_cache()
    with cache.lease("k"):
        slot = next(iter(cache._ledger.home.slots.values()))
        instance = slot.instance
        assert isinstance(instance, Instance)
        with pytest.raises(AssertionError, match=r"READY.*BUILDING"):
            instance.move(State.BUILDING)
