"""I9, second part: what other threads of the parent are in the middle of when it forks."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any

import pytest

from llmkeep import Scope
from tests.core.books import check
from tests.core.conftest import MakeCache
from tests.core.forking import in_child
from tests.core.tools import (
    WAIT,
    Gate,
    Recorder,
    alease,
    lease,
    start,
    until,
    until_waiting,
)

pytestmark = pytest.mark.usefixtures("open_gate")

if not hasattr(os, "fork"):
    pytest.skip("there is no fork here", allow_module_level=True)


def test_i9_a_flight_of_the_parents_is_none_in_the_child(make_cache: MakeCache) -> None:
    """A build that another thread is running will never end in the child: it builds its own."""
    held = Gate()
    cache = make_cache(held.build, abuild=held.abuild, close=held.close)
    callers = [start(lease, cache), start(asyncio.run, alease(cache)), start(cache.warm, "k")]
    until_waiting(cache, 3)
    own = Gate(is_open=True)

    def checks() -> None:
        assert cache.stats().building == 0
        assert lease(cache, build=own.build) is own.calls[0].client
        assert asyncio.run(alease(cache)) is own.calls[0].client

    in_child(checks)

    held.open()
    assert {callers[0].result(WAIT), callers[1].result(WAIT)} == {held.calls[0].client}


def test_i9_no_lock_is_inherited_locked(make_cache: MakeCache) -> None:
    """Whatever a thread of the parent is in the middle of: the child has locks of its own."""
    from llmkeep.core.deadlocks import waits
    from llmkeep.core.housekeeper import housekeeper

    cache = make_cache(scope=Scope.exclusive(1), build_timeout=1000.0)
    locks: list[Any] = [cache._ledger.lock, waits._lock, housekeeper._starting]
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        held.set()
        go.wait(WAIT)
        for lock in locks:
            lock.release()

    def checks() -> None:
        lease(cache, "built by the main thread")  # a new one might be taken for the lock's owner
        assert start(lease, cache).result(WAIT) is asyncio.run(alease(cache))
        with cache.lease("k") as client:
            waiter = start(lease, cache)
            until_waiting(cache, 1)
        assert waiter.result(WAIT) is client
        cache.close()
        check(cache)

    holder = start(hold)
    assert held.wait(WAIT)
    try:
        in_child(checks)
    finally:
        go.set()
    holder.result(WAIT)


def test_i9_a_child_is_told_of_its_events_although_the_parent_was_being_told(
    make_cache: MakeCache,
) -> None:
    """A subscriber that is busy in the parent is not busy in the child."""
    go, busy = threading.Event(), threading.Event()
    parent = os.getpid()
    told = Recorder()

    def subscriber(event: Any) -> None:
        told(event)
        if os.getpid() == parent and not busy.is_set():
            busy.set()
            go.wait(WAIT)

    cache = make_cache(idle_ttl=0.01)
    lease(cache)
    cache.subscribe(subscriber)
    assert busy.wait(WAIT)  # with an event of the housekeeper's

    def checks() -> None:
        told.events.clear()
        lease(cache)
        until(lambda: told.names == ["Built", "Retired", "Closed"])

    in_child(checks)
    go.set()


def test_i9_what_is_being_closed_in_the_parent_is_not_closed_in_the_child(
    make_cache: MakeCache,
) -> None:
    """Neither by its closer threads, which are not there, nor by closing the cache."""
    go, closing = threading.Event(), threading.Event()
    closed: list[int] = []

    def close(client: Any) -> None:
        closing.set()
        go.wait(WAIT)
        closed.append(os.getpid())

    cache = make_cache(close=close)
    for number in range(6):
        lease(cache, number)
    cache.clear()
    assert closing.wait(WAIT)

    def checks() -> None:
        go.set()
        cache.close(timeout=1)
        gc.collect()
        assert closed == []

    in_child(checks)
    go.set()
    until(lambda: closed == [os.getpid()] * 6)
