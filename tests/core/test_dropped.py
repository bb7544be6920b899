"""I3, second half: leases that are dropped, or out for too long, are named by the line that took
them.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from typing import Any

import pytest

from llmkeep import Scope
from llmkeep.core.events import LeasedTooLong, LeaseReturnedLate
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    Recorder,
    alease,
    in_turn,
    lease,
    resource_warning,
    start,
    sweep,
    until,
    until_waiting,
)

pytestmark = pytest.mark.usefixtures("open_gate")


def here() -> str:
    """The caller's line, as a lease names it."""
    frame = inspect.stack()[1]
    return f"{frame.filename}:{frame.lineno} in {frame.function}"


def test_i3_a_lease_dropped_without_return_comes_back_and_names_its_line(
    make_cache: MakeCache,
) -> None:
    """Its own finalizer returns it, and a ResourceWarning tells where it was taken."""
    cache = make_cache(name="telling")
    box, line = [cache.lease("k")], here()
    box[0].__enter__()
    cache.invalidate("k")

    with resource_warning() as warned:
        box.clear()

    (message,) = [str(warning.message) for warning in warned]
    assert line in message
    assert "'telling'" in message
    until(lambda: cache.stats().closed == 1)


@pytest.mark.parametrize("how", ["hit", "built", "built on our thread", "joined", "task"])
def test_i3_a_dropped_lease_comes_back_without_the_collector(
    make_cache: MakeCache, how: str
) -> None:
    """Nothing of ours holds a lease in a cycle: with its last reference it is returned."""
    cache = make_cache(scope=Scope.exclusive(2))
    if how == "hit":
        cache.warm("k")

    async def in_a_task() -> None:
        await cache.lease("k").__aenter__()

    def lease_and_drop() -> None:
        if how == "task":
            asyncio.run(in_a_task())
        elif how == "joined":
            _join_and_drop(cache)
        else:
            cache.lease("k", timeout=WAIT if how.endswith("thread") else None).__enter__()
        until(lambda: cache.stats().idle == 1)

    gc.collect()
    gc.disable()
    try:
        with resource_warning():
            lease_and_drop()
    finally:
        gc.enable()


def _join_and_drop(cache: Any) -> None:
    held = Gate()
    builder = start(lease, cache, build=held.build)
    held.begun()
    joined = start(lambda: cache.lease("k").__enter__())
    until_waiting(cache, 2)
    held.open()
    builder.result(WAIT)
    joined.result(WAIT)


def test_i3_a_lease_in_a_cycle_comes_back_with_the_collector(make_cache: MakeCache) -> None:
    """A lease that only a dead cycle of objects holds is returned when that is collected."""
    cache = make_cache()

    class Handler:
        def __init__(self) -> None:
            self.myself = self
            self.lease = cache.lease("k")
            self.lease.__enter__()

    Handler()
    with resource_warning("in .*Handler.__init__"):
        gc.collect()

    assert cache.stats().idle == 1


def test_i3_a_dropped_exclusive_lease_passes_its_turn_on(make_cache: MakeCache) -> None:
    """Who waits for the turn gets it although nobody returned the lease."""
    cache = make_cache(scope=Scope.exclusive(1))
    box = [cache.lease("k")]
    box[0].__enter__()
    waiter = start(lease, cache)
    until_waiting(cache, 1)

    with resource_warning():
        box.clear()

    waiter.result(WAIT)


def test_i3_a_lease_dropped_by_a_task_comes_back(make_cache: MakeCache) -> None:
    """The same for `async with`: a task that is destroyed in the body returns what it leased."""
    cache = make_cache()

    async def main() -> None:
        leased = cache.lease("k")
        await leased.__aenter__()

    with resource_warning("in .*main"):
        asyncio.run(main())

    assert cache.stats().idle == 1


def test_i3_a_lease_never_entered_or_returned_in_order_warns_of_nothing(
    make_cache: MakeCache,
) -> None:
    """Warnings are errors in this run: dropping such a lease raises none."""
    cache = make_cache()
    unused, used = cache.lease("k"), cache.lease("k")
    with used:
        pass

    del unused, used
    gc.collect()


def test_i3_a_lease_whose_build_failed_holds_nothing(make_cache: MakeCache) -> None:
    """Entering failed, so there is nothing to return."""
    cache = make_cache(lambda spec: 1 / 0)
    failed = cache.lease("k")
    with pytest.raises(ZeroDivisionError):
        failed.__enter__()

    del failed
    gc.collect()
    assert cache.stats().leased == 0


def test_i3_leases_out_for_too_long_are_reported_once_with_their_stack(
    make_cache: MakeCache,
) -> None:
    """`leak_after` names the whole stack that took the lease, and tells when it is back."""
    events = Recorder()
    cache = make_cache(leak_after=30.0)
    cache.subscribe(events)

    def taken_here() -> Any:
        leased = cache.lease("k")
        leased.__enter__()
        return leased

    leased = taken_here()
    sweep(cache, 29)
    assert not events.of(LeasedTooLong)
    sweep(cache, 31)
    sweep(cache, 3600)

    until(lambda: events.of(LeasedTooLong))
    (report,) = events.of(LeasedTooLong)
    assert report.seconds >= 30
    assert "in taken_here" in report.where
    assert "in test_i3_leases_out_for_too_long" in report.where

    leased.__exit__(None, None, None)
    (late,) = events.of(LeaseReturnedLate)
    assert "in taken_here" in late.where


def test_i3_leases_that_return_in_time_are_not_reported(make_cache: MakeCache) -> None:
    """Looking for leaks says nothing about the others, and new leases start at zero."""
    events = Recorder()
    cache = make_cache(leak_after=30.0, idle_ttl=None)
    cache.subscribe(events)
    lease(cache)
    asyncio.run(alease(cache))

    sweep(cache, 3600)

    assert events.names == ["Built"]


def test_i3_a_dropped_lease_that_was_watched_names_its_stack(make_cache: MakeCache) -> None:
    """With `leak_after` the warning of a dropped lease has the whole stack too."""
    cache = make_cache(leak_after=30.0)

    def taken_here() -> None:
        cache.lease("k").__enter__()

    with resource_warning("in taken_here"):
        taken_here()


def test_i3_threads_that_die_with_a_lease_give_it_back(make_cache: MakeCache) -> None:
    """What a thread's frames held is dropped with the thread."""
    cache = make_cache()

    def die() -> None:
        leased = cache.lease("k")
        leased.__enter__()
        raise KeyError("this thread is done for")

    thread = threading.Thread(target=_swallow, args=(die,))
    with resource_warning("in .*die"):
        in_turn(thread.start, thread.join)

    assert cache.stats().idle == 1


def _swallow(work: Any) -> None:
    try:
        work()
    except KeyError:
        pass
