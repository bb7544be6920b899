"""I4, third part: a coroutine close runs on the loop that it belongs to, and is never lost."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from llmkeep import Scope
from llmkeep.core.events import Closed, CloseFailed, Dropped
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Client,
    Gate,
    Recorder,
    alease,
    auntil,
    lease,
    left_for_dead,
    start,
    sweep,
    until,
)

pytestmark = pytest.mark.usefixtures("open_gate")


def test_i4_a_coroutine_close_that_hangs_is_cancelled_at_its_limit(
    make_cache: MakeCache,
) -> None:
    """A coroutine can be told to stop: it is, and reported."""
    ended: list[str] = []

    async def close(client: Client) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    events = Recorder()
    cache = make_cache(close=close, close_timeout=0.01)
    cache.subscribe(events)
    lease(cache)

    cache.clear()

    until(lambda: events.of(CloseFailed))
    until(lambda: ended == ["cancelled"])
    assert events.of(CloseFailed)[0].error == "TimeoutError"


def test_i4_a_coroutine_close_runs_on_the_loop_that_built_the_instance(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Whoever retires it, on whatever thread, its close is a task on its own loop."""
    loops: list[Any] = []

    async def close(client: Client) -> None:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())

    cache = make_cache(None, abuild=gate.abuild, close=close)

    async def main() -> None:
        await alease(cache)
        await asyncio.to_thread(cache.clear)
        await asyncio.to_thread(until, lambda: cache.stats().closed)
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())


@pytest.mark.parametrize("where", ["gone", "never"])
def test_i4_a_coroutine_close_without_a_loop_of_its_own_runs_on_a_short_one(
    make_cache: MakeCache, gate: Gate, where: str
) -> None:
    """Built on a loop that has ended, or on a thread: the close gets a loop on our thread."""
    seen: list[str] = []

    async def close(client: Client) -> None:
        await asyncio.sleep(0)
        seen.append(threading.current_thread().name)

    cache = make_cache(abuild=gate.abuild, close=close)
    if where == "gone":
        asyncio.run(alease(cache))
    else:
        lease(cache)

    cache.clear()

    until(lambda: cache.stats().closed == 1)
    assert seen == ["llmkeep-close"]
    assert cache.stats().close_failures == 0


def test_i4_a_coroutine_close_whose_loop_ends_before_it_began_is_made_up_for(
    make_cache: MakeCache, gate: Gate
) -> None:
    """`asyncio.run` cancels what is left on its loop; a close that had not begun is still owed."""
    closed: list[int] = []

    async def close(client: Client) -> None:
        await asyncio.sleep(0)
        closed.append(client.spec)

    cache = make_cache(None, abuild=gate.abuild, close=close)

    async def main(number: int) -> None:
        await alease(cache, number)
        cache.clear()  # the closer thread and the end of this loop are on their way now

    for number in range(30):
        asyncio.run(main(number))

    until(lambda: cache.stats().closed == 30)
    assert cache.stats().close_failures == 30 - len(closed)
    assert len(closed) == len(set(closed))


def test_i4_a_close_may_return_any_awaitable(make_cache: MakeCache) -> None:
    """What a close returns is awaited if it can be, and ignored if not."""
    steps: list[str] = []

    class Awaitable:
        def __await__(self) -> Any:
            steps.append("awaited")
            yield from asyncio.sleep(0).__await__()

    cache = make_cache(close=lambda client: Awaitable() if client.spec == 1 else "ignored")
    events = Recorder()
    cache.subscribe(events)
    lease(cache, 1)
    lease(cache, 2)
    cache.clear()

    until(lambda: len(events.of(Closed)) == 2)
    assert steps == ["awaited"]


def test_i5_a_coroutine_close_never_runs_on_another_loop_than_its_own(
    make_cache: MakeCache, gate: Gate
) -> None:
    """With a scope per loop an instance whose loop is gone is dropped with an event instead."""
    ran: list[Client] = []

    async def close(client: Client) -> None:
        ran.append(client)

    events = Recorder()
    cache = make_cache(abuild=gate.abuild, close=close, scope=Scope.LOOP)
    cache.subscribe(events)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(alease(cache))
    loop.close()  # without ceremony

    sweep(cache, 0)

    until(lambda: events.of(Dropped))
    assert (cache.stats().closed, cache.stats().close_failures) == (1, 0)
    assert not ran
    start(cache.close).result(WAIT)


def test_i4_a_coroutine_close_that_is_cancelled_by_itself_costs_no_other_its_close(
    make_cache: MakeCache,
) -> None:
    """`task.cancel(); await task` is how SDKs stop what they started; closers outlive it."""
    closed: list[int] = []

    async def close(client: Client) -> None:
        closed.append(client.spec)
        raise asyncio.CancelledError

    cache = make_cache(close=close)
    for number in range(20):
        lease(cache, number)

    cache.clear()

    until(lambda: cache.stats().close_failures == 20)
    assert sorted(closed) == list(range(20))
    start(cache.close).result(WAIT)


def test_i4_closing_on_a_loop_waits_for_no_close_that_was_handed_to_that_loop(
    make_cache: MakeCache, gate: Gate
) -> None:
    """1. a coroutine close is handed to the loop; 2. its thread closes the cache, and so waits."""
    closed: list[Client] = []
    begun = threading.Event()

    def close(client: Client) -> Any:
        begun.set()
        return close_it(client)

    async def close_it(client: Client) -> None:
        await asyncio.sleep(0)
        closed.append(client)

    cache = make_cache(None, abuild=gate.abuild, close=close, close_timeout=1000.0)

    async def main() -> None:
        client = await alease(cache)
        cache.invalidate("k")
        until(lambda: begun.is_set() and not _closers())  # handed over, and the loop stands still
        cache.close(timeout=WAIT)
        assert closed == [client]

    start(asyncio.run, main()).result(WAIT)
    assert cache.stats().close_failures == 0


def _closers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "llmkeep-close"]


@pytest.mark.parametrize("scope", [Scope.PROCESS, Scope.LOOP])
def test_i4_a_close_that_its_loop_never_began_is_not_lost(
    make_cache: MakeCache, gate: Gate, scope: Scope
) -> None:
    """The loop is closed with the close in its queue: run elsewhere, or dropped with an event."""
    events = Recorder()
    begun = threading.Event()

    def close(client: Client) -> Any:
        begun.set()
        return gate.aclose(client)

    cache = make_cache(None, abuild=gate.abuild, close=close, scope=scope, close_timeout=None)
    cache.subscribe(events)
    loop = asyncio.new_event_loop()

    async def main() -> None:
        await alease(cache)
        cache.invalidate("k")
        until(lambda: begun.is_set() and not _closers())

    loop.run_until_complete(main())
    loop.close()
    del loop

    sweep(cache, 0)
    until(lambda: events.of(Closed) or events.of(Dropped))
    assert len(events.of(Dropped)) == (scope is Scope.LOOP)
    start(cache.close).result(WAIT)
    gc.collect()  # a coroutine of ours that was never awaited would be told of here


def test_i4_a_coroutine_close_whose_loop_dies_under_it_is_reported(
    make_cache: MakeCache, gate: Gate
) -> None:
    """It had begun, and nobody will ever hear of its end."""
    events = Recorder()

    async def close(client: Client) -> None:
        begun.append(client)
        await asyncio.Event().wait()

    begun: list[Client] = []
    cache = make_cache(None, abuild=gate.abuild, close=close, close_timeout=None)
    cache.subscribe(events)
    loop = asyncio.new_event_loop()

    async def main() -> None:
        await alease(cache)
        cache.invalidate("k")
        await auntil(lambda: begun)

    loop.run_until_complete(main())
    left_for_dead(*asyncio.all_tasks(loop))
    loop.close()

    sweep(cache, 0)
    until(lambda: events.of(CloseFailed))
    assert events.of(CloseFailed)[0].error == "LoopClosed"
    start(cache.close).result(WAIT)


def test_i4_a_close_that_comes_too_late_with_a_coroutine_is_not_told_again(
    make_cache: MakeCache, gate: Gate
) -> None:
    """It was reported as overdue, and another thread is closing in its place: nothing is left
    un-awaited, and no closer is lost.
    """
    go = threading.Event()
    events = Recorder()

    def close(client: Client) -> Any:
        if client.spec < 10:
            go.wait(WAIT)
        return gate.aclose(client)

    cache = make_cache(abuild=gate.abuild, close=close, close_timeout=1000.0)
    cache.subscribe(events)

    async def main() -> None:
        for number in range(10):
            await alease(cache, number)
        cache.clear()
        while cache.stats().closed < 10:
            sweep(cache, 1001)
            await asyncio.sleep(0)
        go.set()
        for number in range(10, 40):
            await alease(cache, number)
        cache.clear()
        await auntil(lambda: cache.stats().closed == 40)
        await auntil(lambda: not _closers())

    asyncio.run(main())
    gc.collect()
    until(lambda: len(events.of(Closed)) == 30)
    assert [event.error for event in events.of(CloseFailed)] == ["TimeoutError"] * 10
