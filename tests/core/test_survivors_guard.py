"""What mutation testing of the lock's discipline found unproved."""

from __future__ import annotations

import sys
import threading
from functools import partial
from types import FrameType
from typing import Any

import pytest

from llmkeep import LLMKeepError, Scope, WouldDeadlock
from llmkeep.core.ledger import Ledger
from tests.core.books import check, check_at_rest
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Gate, is_free, lease, start, sweep, until, until_waiting


class Interrupt(KeyboardInterrupt):
    """What a signal handler raises."""


def interrupt_at(function: Any) -> None:
    """Raise as soon as this thread enters `function`: CPython runs signal handlers there."""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code is function.__code__:
            sys.setprofile(None)
            raise Interrupt

    sys.setprofile(profile)


def test_i14_a_return_is_over_while_another_thread_holds_the_lock(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """It does not wait until that thread lets go: the section ends only after the return has."""
    cache = make_cache()
    leased = cache.lease("k")
    leased.__enter__()
    held, returned = threading.Event(), threading.Event()

    def section() -> bool:
        held.set()
        return returned.wait(WAIT)

    holder = start(cache._ledger.decide, section)
    assert held.wait(WAIT)
    leased.__exit__(None, None, None)
    returned.set()

    assert holder.result(WAIT), "the return waited for the section, and that gave up"
    assert cache.stats().idle == 1


def test_i14_who_takes_a_lease_does_what_follows_from_the_word_it_found(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """1. a return finds the lock taken and leaves word; 2. whoever comes next reads it, and wakes
    the next in the queue, although it has been served itself.
    """
    cache = make_cache(scope=Scope.exclusive(1))
    cache.warm("ready")
    holder = cache.lease("k")
    holder.__enter__()
    waiter = start(lease, cache)
    until_waiting(cache, 1)
    ledger = cache._ledger
    assert holder.instance is not None
    ledger.inbox.append(partial(ledger.returned, holder.instance, holder.token))
    holder.instance = None

    with cache.lease("ready"):
        assert waiter.result(WAIT) is not None


def test_i14_whoever_enters_reads_the_word_first(make_cache: MakeCache, open_gate: Gate) -> None:
    """What somebody has returned is returned for whatever is asked next."""
    cache = make_cache()
    leased = cache.lease("k")
    leased.__enter__()
    ledger = cache._ledger
    assert leased.instance is not None
    ledger.inbox.append(partial(ledger.returned, leased.instance, leased.token))
    leased.instance = None

    assert cache.stats().idle == 1


def test_i14_using_the_cache_while_left_word_is_read_is_an_error(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """Deciding what was left to be decided is a section as any other."""
    cache = make_cache()
    lease(cache)
    refused: list[LLMKeepError] = []

    def finalizer() -> None:
        for use in (cache.stats, lambda: lease(cache)):
            with pytest.raises(WouldDeadlock) as raised:
                use()
            refused.append(raised.value)

    cache._ledger.leave_word(finalizer)

    assert len(refused) == 2
    assert is_free(cache)


def test_i14_who_waits_behind_an_interrupted_return_is_served_by_the_housekeeper(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """1. a lease returns; 2. a signal handler raises before the turn is passed on; 3. although
    nobody uses the cache any more, the next in the queue has it.
    """
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    holder.__enter__()
    waiter = start(lease, cache)
    until_waiting(cache, 1)

    interrupt_at(Ledger.advance)
    try:
        with pytest.raises(Interrupt):
            holder.__exit__(None, None, None)
    finally:
        sys.setprofile(None)

    assert waiter.result(WAIT) is not None


def test_i14_what_an_interrupt_left_neither_leased_nor_idle_becomes_idle(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """1. a build ends; 2. a signal handler raises while its end is written down; 3. although nobody
    uses the cache any more, the instance is idle, and bounded as such.
    """
    cache = make_cache()
    interrupt_at(Ledger._tell_warmers)
    try:
        with pytest.raises(Interrupt):
            cache.warm("k")
    finally:
        sys.setprofile(None)

    until(lambda: len(cache._ledger.idle) == 1)
    check_at_rest(cache)


def test_i14_mending_leaves_alone_what_is_leased(make_cache: MakeCache, open_gate: Gate) -> None:
    """What is out was not left half done."""
    cache = make_cache(max_idle=0)
    with cache.lease("k") as client:
        cache._ledger.torn = True
        sweep(cache, 0)
        assert not cache._ledger.torn
        check(cache)
        assert cache.stats().leased == 1
        assert client.closes == 0
