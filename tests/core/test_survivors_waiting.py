"""What mutation testing of the waiting callers found unproved."""

from __future__ import annotations

import pytest

from llmkeep import Scope
from llmkeep.core.instance import State
from llmkeep.core.waiters import ThreadWaiter
from tests.core.books import check
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Gate, lease, start, until_waiting

#: In seconds; far longer than any test.
LIMIT = 1000.0


def test_i7_a_turn_given_at_the_last_moment_is_taken(
    make_cache: MakeCache, open_gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. the caller's time is up; 2. its turn comes; 3. it looks once more, and has its lease."""
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    client = holder.__enter__()

    def time_is_up(waiter: ThreadWaiter, deadline: float | None) -> bool:
        holder.__exit__(None, None, None)
        return False

    monkeypatch.setattr(ThreadWaiter, "wait", time_is_up)

    assert start(lease, cache, timeout=LIMIT).result(WAIT) is client

    monkeypatch.undo()
    assert cache.stats().idle == 1


def test_i7_who_warms_waits_for_no_turn(make_cache: MakeCache, gate: Gate) -> None:
    """It wants the instance to be ready, and that it is while somebody else has it."""
    cache = make_cache(scope=Scope.exclusive(1))
    leased = cache.lease("k")
    holder = start(leased.__enter__)
    gate.begun()
    warmer = start(cache.warm, "k")
    until_waiting(cache, 2)

    gate.open()

    assert warmer.result(WAIT) is None
    holder.result(WAIT)
    assert cache.stats().leased == 1
    check(cache)
    leased.__exit__(None, None, None)


def test_i6_what_a_failed_build_was_to_make_is_closed(make_cache: MakeCache, gate: Gate) -> None:
    """Its record ends as all others do, although there never was a client."""
    cache = make_cache()
    caller = start(lease, cache)
    call = gate.begun()
    (flight,) = cache._ledger.flights

    call.fail(ZeroDivisionError())

    assert isinstance(caller.exception(WAIT), ZeroDivisionError)
    assert flight.instance.state is State.CLOSED
    assert cache.stats().closed == 0
