"""What mutation testing of the housekeeping found unproved: when something is due.

Housekeeping is asked here, as the housekeeper asks, at moments of the test's choice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from llmkeep import BuildTimeout, Scope
from llmkeep.core.events import LeasedTooLong, LeaseReturnedLate
from llmkeep.core.sweep import LOOP_CHECK, _closes
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Gate, Recorder, auntil, lease, start

#: In seconds; far longer than any test, so that nothing happens by itself.
LIMIT = 1000.0


class Due:
    """Something that time alone brings about."""

    def __init__(self, option: str, begin: Callable[[Any, Gate], Callable[[], bool]]) -> None:
        self.option = option
        #: Have it become due some day; whether it has happened.
        self.begin = begin


def _idle(cache: Any, gate: Gate) -> Callable[[], bool]:
    gate.open()
    lease(cache)
    return lambda: cache.stats().idle == 0


def _aged(cache: Any, gate: Gate) -> Callable[[], bool]:
    gate.open()
    leased = cache.lease("k")
    leased.__enter__()
    return lambda: cache.stats().retired == 1 and leased.__exit__(None, None, None) is None


def _build(cache: Any, gate: Gate) -> Callable[[], bool]:
    outcome = start(lease, cache)
    gate.begun()
    return lambda: _raised(outcome, cache)


def _raised(outcome: Future[Any], cache: Any) -> bool:
    return cache.stats().builds_abandoned == 1 and isinstance(outcome.exception(WAIT), BuildTimeout)


def _failure(cache: Any, gate: Gate) -> Callable[[], bool]:
    outcome = start(lease, cache)
    gate.begun().fail(ZeroDivisionError())
    assert isinstance(outcome.exception(WAIT), ZeroDivisionError)
    return lambda: not cache._ledger.backoffs and not cache._ledger.home.slots


DUE = {
    "idle": Due("idle_ttl", _idle),
    "age": Due("max_age", _aged),
    "build": Due("build_timeout", _build),
    "failure": Due("failure_backoff", _failure),
}


@pytest.mark.parametrize("due", DUE.values(), ids=DUE)
def test_i10_what_is_due_is_done_at_that_moment_and_not_before(
    make_cache: MakeCache, gate: Gate, due: Due
) -> None:
    """Housekeeping says when to come again: then there is something to do, and before nothing."""
    began = time.monotonic()
    options = {"idle_ttl": None, due.option: LIMIT}
    cache = make_cache(**options)
    has_happened = due.begin(cache, gate)

    when = cache._ledger.sweep(time.monotonic())
    assert when is not None
    assert began + LIMIT <= when <= time.monotonic() + LIMIT
    assert cache._ledger.sweep(when - 0.01) == when
    assert not has_happened()

    cache._ledger.sweep(when)
    assert has_happened()


def test_i3_a_lease_is_reported_once_it_is_out_for_its_limit_and_not_before(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """`leak_after` counts from when the lease was asked for."""
    cache = make_cache(idle_ttl=None, leak_after=LIMIT)
    told = Recorder()
    cache.subscribe(told)
    with cache.lease("k"):
        ((_, _, watch, _),) = cache._ledger.out()
        assert watch is not None

        cache._ledger.sweep(watch.since + LIMIT - 0.01)
        assert not told.of(LeasedTooLong)
        cache._ledger.sweep(watch.since + LIMIT)
        assert [event.seconds for event in told.of(LeasedTooLong)] == [pytest.approx(LIMIT)]
        cache._ledger.sweep(watch.since + LIMIT + 1)

    assert len(told.of(LeasedTooLong)) == len(told.of(LeaseReturnedLate)) == 1


@pytest.mark.parametrize("option", ["idle_ttl", "leak_after"])
def test_i10_while_something_is_leased_housekeeping_comes_again_after_the_limit(
    make_cache: MakeCache, open_gate: Gate, option: str
) -> None:
    """It may be returned, or be out for too long, without anybody telling the housekeeper."""
    cache = make_cache(**{"idle_ttl": None, option: LIMIT})
    now = time.monotonic()
    assert cache._ledger.sweep(now) is None
    with cache.lease("k"):
        assert cache._ledger.sweep(now) == now + LIMIT


async def test_i5_while_there_are_loops_housekeeping_looks_whether_they_are(
    make_cache: MakeCache, gate: Gate
) -> None:
    """A loop that dies without ceremony tells nobody; nor does one that never begins a close."""
    may_end = asyncio.Event()

    async def close(client: object) -> None:
        await may_end.wait()

    gate.open()
    cache = make_cache(
        None, abuild=gate.abuild, close=close, close_timeout=None, scope=Scope.LOOP, idle_ttl=None
    )
    ledger, now = cache._ledger, time.monotonic()
    async with cache.lease("k"):
        assert ledger.sweep(now) == now + LOOP_CHECK
    cache.clear()
    await auntil(lambda: any(each.loop for each in ledger.closes.under_way))
    assert _closes(ledger, now) == now + LOOP_CHECK
    may_end.set()
    await auntil(lambda: cache.stats().closed == 1)
    assert _closes(ledger, now) is None
