"""`Scope.LOOP`: one instance per event loop, one more for all synchronous callers; it ends with
its loop (I5, as far as the core goes).
"""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from llmkeep import Scope
from llmkeep.core.events import Closed, CloseFailed, Dropped, Retired
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Client,
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


def test_i5_each_loop_has_an_instance_of_its_own(make_cache: MakeCache, gate: Gate) -> None:
    """Within a loop it is shared by all tasks; beside it there is one for all threads."""
    cache = make_cache(scope=Scope.LOOP, close=None)

    async def twice() -> set[Client]:
        return {*await asyncio.gather(*(alease(cache) for _ in range(10)))}

    on_loops = together(3, lambda: asyncio.run(twice()))
    on_threads = {*together(3, lambda: lease(cache))}

    assert [len(each) for each in (*on_loops, on_threads)] == [1, 1, 1, 1]
    assert len(set.union(on_threads, *on_loops)) == len(gate.calls) == 4


def test_i5_a_synchronous_caller_on_a_loop_shares_with_the_threads(
    make_cache: MakeCache,
) -> None:
    """What counts is how one asks: `with` is for clients that know no loop."""
    cache = make_cache(scope=Scope.LOOP)
    on_thread = lease(cache)

    async def main() -> None:
        assert lease(cache) is on_thread
        assert await alease(cache) is not on_thread

    asyncio.run(main())


@pytest.mark.parametrize("asynchronous", [False, True], ids=["close", "coroutine close"])
def test_i5_when_a_loop_ends_in_order_its_instances_are_closed_before_it_is(
    make_cache: MakeCache, gate: Gate, asynchronous: bool
) -> None:
    """A coroutine close runs on that loop, while it still can do so."""
    closed_on: list[Any] = []
    events = Recorder()

    def close(client: Client) -> None:
        closed_on.append(None)

    async def aclose(client: Client) -> None:
        await asyncio.sleep(0)
        closed_on.append(asyncio.get_running_loop())

    cache = make_cache(
        abuild=gate.abuild, close=aclose if asynchronous else close, scope=Scope.LOOP
    )
    cache.subscribe(events)
    loops: list[Any] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await alease(cache, 1)
        await alease(cache, 2)

    for number in (1, 2, 3):
        asyncio.run(main())
        assert len(closed_on) == 2 * number

    assert [loop for loop in closed_on if loop is not None] == (
        [loop for loop in loops for _ in range(2)] if asynchronous else []
    )
    assert {event.reason for event in events.of(Retired)} == {"loop closed"}
    assert len(events.of(Closed)) == 6
    assert not events.of(Dropped)


def test_i5_the_end_of_one_loop_leaves_the_others_alone(make_cache: MakeCache) -> None:
    """Instances of another loop, and those of the threads, stay."""
    cache = make_cache(scope=Scope.LOOP)
    on_thread = lease(cache)

    async def outer() -> None:
        mine = await alease(cache)
        await asyncio.to_thread(asyncio.run, alease(cache))
        assert cache.stats().closed == 1
        assert await alease(cache) is mine
        assert mine.closes == on_thread.closes == 0

    asyncio.run(outer())
    assert lease(cache) is on_thread


def test_i5_a_lease_out_at_the_end_of_its_loop_is_not_closed_under(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I3 holds here too: what is leased is closed when the lease returns."""
    monkeypatch.setattr("llmkeep.core.cache.AT_LOOP_END", 0.05)
    cache = make_cache(scope=Scope.LOOP)
    kept: list[Any] = []

    async def main() -> None:
        kept.append(cache.lease("k"))
        kept.append(await kept[0].__aenter__())

    asyncio.run(main())
    leased, client = kept
    assert client.closes == 0

    leased.__exit__(None, None, None)

    until(lambda: client.closes == 1)


def test_i5_a_loop_that_dies_without_ceremony_leaks_nothing(make_cache: MakeCache) -> None:
    """Its instances are retired by the housekeeper, and closed or dropped."""
    events = Recorder()
    cache = make_cache(scope=Scope.LOOP)
    cache.subscribe(events)
    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(alease(cache))
    loop.close()

    sweep(cache, 0)

    until(lambda: client.closes == 1)
    until(lambda: cache.stats().live == 0)
    assert not cache._ledger.loop_homes
    assert not events.of(CloseFailed)


def test_i5_a_cache_keeps_no_loop_alive(make_cache: MakeCache) -> None:
    """A loop that nobody else holds is collected, and what belonged to it let go."""
    cache = make_cache(scope=Scope.LOOP)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(alease(cache))
    loop.close()
    gone = weakref.ref(loop)
    del loop

    until(lambda: gc.collect() is not None and gone() is None, "the end of the loop")
    sweep(cache, 0)
    until(lambda: cache.stats().live == 0)


def test_i10_a_thousand_loops_leave_nothing_behind(make_cache: MakeCache, gate: Gate) -> None:
    """Homes go with their loops, in order or not."""
    cache = make_cache(scope=Scope.LOOP)
    for number in range(1000):
        if number % 10:
            asyncio.run(alease(cache))
        else:
            loop = asyncio.new_event_loop()
            loop.run_until_complete(alease(cache))
            loop.close()
    sweep(cache, 0)

    until(lambda: len(gate.closed) == 1000)
    assert not cache._ledger.loop_homes
    assert cache.stats().live == 0


def test_i5_an_instance_made_while_its_loop_ends_is_closed_with_its_last_lease(
    make_cache: MakeCache,
) -> None:
    """A task that is still at work while the loop winds up may lease; nothing is left of it."""
    cache = make_cache(scope=Scope.LOOP)
    late: list[Client] = []

    async def at_the_end() -> Any:
        try:
            yield
        finally:
            late.append(await alease(cache, "late"))

    async def main() -> None:
        await alease(cache)
        generator = at_the_end()
        await anext(generator)
        kept.append(generator)

    kept: list[Any] = []
    asyncio.run(main())
    (client,) = late
    sweep(cache, 0)
    until(lambda: client.closes == 1)


def test_i7_a_loop_does_not_end_before_its_closes_but_waits_not_for_ever(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a loop waits for the closes that run on it, within a bound."""
    monkeypatch.setattr("llmkeep.core.cache.AT_LOOP_END", 0.05)
    go = threading.Event()
    cache = make_cache(scope=Scope.LOOP, close=lambda client: go.wait(WAIT))

    start(asyncio.run, alease(cache)).result(WAIT)

    assert cache.stats().closed == 0
    go.set()
    until(lambda: cache.stats().closed == 1)
