"""What mutation testing of the closes found unproved."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine
from typing import Any

from llmkeep import Scope
from llmkeep.core.close_queue import CLOSERS
from llmkeep.core.events import CloseFailed, Dropped
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Client, Gate, Recorder, alease, lease, start, sweep, until


def test_i4_a_stuck_close_hides_no_other_that_its_loop_never_began(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """Whoever looks after the closes looks at all of them."""
    go = threading.Event()

    def close(client: Client) -> Any:
        if client.spec == "stuck":
            go.wait(WAIT)
        return open_gate.aclose(client)

    cache = make_cache(None, abuild=open_gate.abuild, close=close, close_timeout=None)
    under_way = cache._ledger.closes.under_way
    loop = asyncio.new_event_loop()

    async def main() -> None:
        stuck, handed = await alease(cache, "stuck"), await alease(cache, "handed")
        cache.invalidate("stuck")
        until(lambda: [each.client for each in under_way] == [stuck])
        cache.invalidate("handed")
        until(lambda: any(each.client is handed and each.loop for each in list(under_way)))

    loop.run_until_complete(main())
    loop.close()
    del loop

    sweep(cache, 0)
    until(lambda: cache.stats().closed == 1)
    assert [client.spec for client in open_gate.closed] == ["handed"]
    go.set()
    until(lambda: cache.stats().closed == 2)
    start(cache.close).result(WAIT)


async def test_i4_an_overdue_close_that_its_loop_never_began_is_never_begun(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """It has been reported as failed: it does not run behind that report, and is not left
    un-awaited.
    """
    events = Recorder()
    closes: list[Coroutine[Any, Any, None]] = []

    def close(client: Client) -> Coroutine[Any, Any, None]:
        closes.append(open_gate.aclose(client))
        return closes[-1]

    cache = make_cache(None, abuild=open_gate.abuild, close=close, close_timeout=1000.0)
    cache.subscribe(events)
    await alease(cache)
    cache.invalidate("k")
    until(lambda: any(each.loop for each in list(cache._ledger.closes.under_way)))
    sweep(cache, 1001)  # this loop stands still meanwhile

    assert [event.error for event in events.of(CloseFailed)] == ["TimeoutError"]
    assert inspect.getcoroutinestate(closes[0]) == inspect.CORO_CLOSED
    await cache.aclose()
    assert not open_gate.closed


async def test_i4_a_close_that_waits_on_a_loop_of_its_own_which_stands_still_is_run(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """The loop is there, but its thread waits for that very close: it is run beside it."""
    events = Recorder()
    cache = make_cache(
        None, abuild=open_gate.abuild, close=open_gate.aclose, scope=Scope.LOOP, close_timeout=None
    )
    cache.subscribe(events)
    client = await alease(cache)
    cache.invalidate("k")
    until(lambda: any(each.loop for each in list(cache._ledger.closes.under_way)))

    cache.close(timeout=WAIT)  # this loop stands still meanwhile

    assert open_gate.closed == [client]
    assert not events.of(Dropped)


def test_i4_there_are_never_more_threads_that_close_than_a_few(
    make_cache: MakeCache, gate: Gate
) -> None:
    """One that has nothing to do ends, and one that hung ends too: it has been replaced."""
    hang, go = threading.Event(), threading.Event()
    running: list[str] = []

    def close(client: Client) -> None:
        running.append(client.spec)
        if client.spec != "short":
            (hang if client.spec == "overdue" else go).wait(WAIT)

    gate.open()
    cache = make_cache(close=close, close_timeout=1000.0)
    lease(cache, "short")
    cache.invalidate("short")
    until(lambda: cache.stats().closed and not _closers())
    lease(cache, "overdue")
    cache.invalidate("overdue")
    until(lambda: len(running) == 2)
    sweep(cache, 1001)
    hang.set()
    until(lambda: not _closers())

    for number in range(8):
        lease(cache, str(number))
    cache.clear()
    until(lambda: len(running) == 2 + CLOSERS)

    assert len(_closers()) == CLOSERS
    go.set()


def _closers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "llmkeep-close"]
