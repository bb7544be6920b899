"""I3 and I4 at the end: closing a cache is final, waits for leases, and names those it breaks."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from llmkeep import CacheClosed, ClientCache, Scope
from llmkeep.core.events import LeaseBroken
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Client,
    Gate,
    Recorder,
    alease,
    crowd,
    lease,
    program,
    start,
    until,
    until_waiting,
)

Close = Any


def close(cache: ClientCache[Any, Any], timeout: float = WAIT) -> None:
    cache.close(timeout=timeout)


def aclose(cache: ClientCache[Any, Any], timeout: float = WAIT) -> None:
    asyncio.run(cache.aclose(timeout=timeout))


def close_on_a_loop(cache: ClientCache[Any, Any], timeout: float = WAIT) -> None:
    async def main() -> None:
        cache.close(timeout=timeout)

    asyncio.run(main())


@pytest.fixture(params=[close, aclose, close_on_a_loop], ids=lambda each: each.__name__)
def shut(request: pytest.FixtureRequest) -> Close:
    """The ways to close a cache."""
    return request.param


def test_i3_closing_waits_for_the_leases_that_are_out(
    make_cache: MakeCache, gate: Gate, shut: Close
) -> None:
    """No instance is closed under a lease while the deadline has not passed."""
    gate.open()
    cache = make_cache()
    leased = cache.lease("k")
    client = leased.__enter__()
    idle = lease(cache, "idle")

    closing = start(shut, cache)
    until(lambda: idle.closes == 1)
    assert client.closes == 0
    assert not closing.done()
    leased.__exit__(None, None, None)

    closing.result(WAIT)
    assert client.closes == 1


def test_i3_closing_at_its_deadline_names_the_leases_it_breaks(
    make_cache: MakeCache, gate: Gate, shut: Close
) -> None:
    """In a ResourceWarning and an event each, by their lines; returning them later does nothing."""
    gate.open()
    events = Recorder()
    cache = make_cache(name="telling")
    cache.subscribe(events)
    first, second = cache.lease(1), cache.lease(2)
    clients = [first.__enter__(), second.__enter__()]

    with pytest.warns(ResourceWarning, match=r"'telling'.*2 leases.*test_shutdown\.py:.*names_the"):
        shut(cache, 0.01)

    assert [client.closes for client in clients] == [1, 1]
    assert all("names_the_leases" in event.where for event in events.of(LeaseBroken))
    assert len(events.of(LeaseBroken)) == 2
    first.__exit__(None, None, None)
    del second  # dropped, and broken already: nothing more to warn of
    assert cache.stats().live == 0


def test_i3_closing_again_waits_as_well(make_cache: MakeCache, gate: Gate) -> None:
    """Several may close at once, and each is back only when everything is closed."""
    gate.open()
    cache = make_cache()
    leased = cache.lease("k")
    leased.__enter__()
    closings = [start(close, cache), start(aclose, cache), start(close, cache)]
    until(lambda: cache.stats().retired == 1)
    assert not any(each.done() for each in closings)

    leased.__exit__(None, None, None)

    for each in closings:
        each.result(WAIT)
    cache.close()


def test_i4_a_closed_cache_leases_nothing_more(
    make_cache: MakeCache, gate: Gate, shut: Close
) -> None:
    """Closing is final: every way to ask raises CacheClosed, with the cache's name."""
    gate.open()
    cache = make_cache(name="over")
    lease(cache)
    shut(cache)

    for ask in (
        lambda: lease(cache),
        lambda: lease(cache, timeout=0),
        lambda: lease(cache, timeout=1),
        lambda: cache.warm("k"),
        lambda: asyncio.run(alease(cache)),
        lambda: asyncio.run(cache.awarm("k")),
    ):
        with pytest.raises(CacheClosed, match="'over'"):
            ask()
    assert not cache.invalidate("k")
    cache.clear()
    assert "closed" in repr(cache)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["build", "abuild"])
def test_i4_closing_wakes_everybody_who_waits(
    make_cache: MakeCache, gate: Gate, shut: Close, asynchronous: bool
) -> None:
    """Callers that wait for a build are told, and what it makes in the end is closed.

    A caller that is building on its own thread cannot be interrupted: it is told when it is done.
    """
    cache = make_cache(abuild=gate.abuild if asynchronous else None, build_timeout=1000.0)
    callers = crowd((2, 2, 2), cache)
    until_waiting(cache, 6)

    start(shut, cache).result(WAIT)

    for caller in callers:
        with pytest.raises(CacheClosed):
            caller.result(WAIT)
    gate.open()
    until(lambda: not cache._ledger.flights)
    until(lambda: len(gate.closed) == cache.stats().closed)


def test_i4_closing_wakes_everybody_in_an_exclusive_queue(
    make_cache: MakeCache, gate: Gate, shut: Close
) -> None:
    """Those who wait for their turn are told at once, and the one whose turn it is may finish."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    client = holder.__enter__()
    callers = crowd((2, 1, 2), cache)
    until_waiting(cache, 4)

    closing = start(shut, cache)

    for caller in callers:
        with pytest.raises(CacheClosed):
            caller.result(WAIT)
    assert client.closes == 0
    holder.__exit__(None, None, None)
    closing.result(WAIT)


def test_i4_a_cache_is_a_context_manager_of_both_kinds(gate: Gate) -> None:
    """Leaving it closes it."""
    gate.open()
    with ClientCache(gate.build, close=gate.close) as cache:
        lease(cache)

    async def main() -> None:
        async with ClientCache(gate.build, close=gate.aclose) as cache:
            await alease(cache)

    asyncio.run(main())
    assert [client.closes for client in gate.closed] == [1, 1]


def test_i4_a_hanging_close_does_not_hold_up_closing_the_cache(
    make_cache: MakeCache, gate: Gate, shut: Close
) -> None:
    """The closes have their own limit, and closing the cache ends with it."""
    go = threading.Event()
    cache = make_cache(close=lambda client: go.wait(WAIT), close_timeout=0.01)
    gate.open()
    lease(cache)
    try:
        start(shut, cache).result(WAIT)
        assert cache.stats().close_failures == 1
    finally:
        go.set()


def test_i4_a_synchronous_close_on_a_loop_closes_what_belongs_to_that_loop(
    make_cache: MakeCache, gate: Gate
) -> None:
    """The loop stands still meanwhile, so the coroutine close runs beside it, and does not hang."""
    gate.open()
    closed: list[Client] = []

    async def close(client: Client) -> None:
        await asyncio.sleep(0)
        closed.append(client)

    cache = make_cache(abuild=gate.abuild, close=close)

    async def main() -> None:
        client = await alease(cache)
        cache.close(timeout=WAIT)
        assert closed == [client]

    asyncio.run(main())


def test_i7_a_cancelled_aclose_closes_all_the_same(make_cache: MakeCache, gate: Gate) -> None:
    """Only the waiting ends: everything is closed when its lease returns, the cache is shut."""
    gate.open()
    cache = make_cache()
    leased = cache.lease("k")
    client = leased.__enter__()

    async def main() -> None:
        closing = asyncio.create_task(cache.aclose())
        await asyncio.to_thread(until, lambda: cache.stats().retired == 1)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    asyncio.run(main())
    with pytest.raises(CacheClosed):
        lease(cache)
    leased.__exit__(None, None, None)
    until(lambda: client.closes == 1)


def test_i3_a_dropped_cache_closes_what_it_kept_and_warns(gate: Gate) -> None:
    """Nobody called close: the instances are closed, and a ResourceWarning names the cache."""
    gate.open()
    cache: Any = ClientCache(gate.build, close=gate.close, name="forgotten")
    cache.warm("k")

    with pytest.warns(ResourceWarning, match=r"'forgotten'.*1 instances open: call close\(\)"):
        del cache

    until(lambda: len(gate.closed) == 1)


def test_i3_a_cache_dropped_during_a_build_closes_what_that_makes(gate: Gate) -> None:
    """The last caller has given up, the cache is gone, and the build's result is closed."""
    cache: Any = ClientCache(gate.build, close=gate.close)
    with pytest.raises(TimeoutError):
        lease(cache, timeout=0.01)
    del cache

    gate.open()

    until(lambda: gate.calls[0].client.closes == 1)


def test_i3_a_deadline_holds_without_a_close_timeout(
    make_cache: MakeCache, gate: Gate, shut: Close
) -> None:
    """A close that hangs without a bound does not keep `close` beyond its own deadline."""
    going = threading.Event()
    cache = make_cache(close=lambda client: going.wait(), close_timeout=None)
    gate.open()
    lease(cache)
    try:
        start(shut, cache, timeout=0.01).result(WAIT)
        assert cache.stats().closed == 0
    finally:
        going.set()
    until(lambda: cache.stats().closed == 1)


AT_EXIT = """
import sys, threading
from llmkeep import ClientCache
def close(client):
    print("closed", client, flush=True)
    if client == "hangs":
        threading.Event().wait()
cache = ClientCache(lambda spec: spec, close=close, name="telling", {options})
cache.warm("idle")
{body}
"""


@pytest.mark.parametrize("options", ["", "idle_ttl=None, close_timeout=None"])
def test_i3_at_exit_idle_instances_are_closed_and_leases_named(options: str) -> None:
    """At the exit idle instances get two seconds; leases are named and not waited for."""
    body = "leased = cache.lease('leased'); leased.__enter__()"
    outcome = program(AT_EXIT.format(options=options, body=body))

    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines() == ["closed idle"]
    assert "'telling'" in outcome.stderr
    assert "taken at <string>:10 in <module>" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "Exception ignored" not in outcome.stderr


@pytest.mark.xfail(
    sys.version_info[:2] == (3, 12),
    reason="CPython 3.12 starts no thread in exit handlers: closes run there one after the other",
)
def test_i4_at_exit_a_hanging_close_holds_up_neither_the_others_nor_the_exit() -> None:
    """One that hangs loses nothing else, and the process ends."""
    body = "cache.warm('hangs'); other = ClientCache(lambda s: s, close=close); other.warm('too')"
    outcome = program(AT_EXIT.format(options="", body=body))

    assert outcome.returncode == 0, outcome.stderr
    assert sorted(outcome.stdout.split()) == ["closed", "closed", "closed", "hangs", "idle", "too"]


def test_i3_at_exit_a_failed_program_says_its_own_error_first() -> None:
    """Caches left open do not get into the way of a traceback, or of the exit status."""
    outcome = program(AT_EXIT.format(options="", body="raise SystemExit(3)"))

    assert (outcome.returncode, outcome.stdout) == (3, "closed idle\n")
    assert outcome.stderr == ""
