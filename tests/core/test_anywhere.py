"""I14: a lease may be returned from anywhere, and a lease taken inside the lock is an error.

"Inside" is made by running code as a decision of the ledger's, which is what a finalizer or a
signal handler does that comes while one is being made on its thread.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

from llmkeep import ClientCache, Scope, WouldDeadlock
from llmkeep.core.deadlocks import WaitGraph, waits
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    in_turn,
    is_free,
    lease,
    resource_warning,
    start,
    until,
    until_waiting,
)

pytestmark = pytest.mark.usefixtures("open_gate")


def inside(cache: ClientCache[Any, Any], work: Callable[[], object]) -> None:
    """Run `work` on this thread while it holds the lock."""
    cache._ledger.decide(work)


class Finalized:
    """Does something when it is collected, from within a cycle so that only the collector does."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.myself = self
        self.outcome: list[Any] = []

    def __del__(self) -> None:
        try:
            self.outcome.append(self.work())
        except BaseException as error:
            self.outcome.append(error)


def collected(work: Callable[[], object]) -> Any:
    """What comes of `work` in a finalizer that the collector runs now."""
    outcome = Finalized(work).outcome
    gc.collect()
    (result,) = outcome
    return result


@pytest.fixture
def handle() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Let a signal handler do something, in the middle of what the main thread is doing."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled by the main thread")
    before = signal.getsignal(signal.SIGUSR1)

    def handle(work: Callable[[], object]) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: work())
        signal.raise_signal(signal.SIGUSR1)

    yield handle
    signal.signal(signal.SIGUSR1, before)


def test_i14_a_lease_returned_by_a_finalizer_inside_the_lock_is_queued(
    make_cache: MakeCache,
) -> None:
    """It never waits; who holds the lock handles it."""
    cache = make_cache()
    leased = cache.lease("k")
    client = leased.__enter__()
    cache.invalidate("k")

    def section() -> None:
        assert collected(lambda: leased.__exit__(None, None, None)) is None
        assert client.closes == 0

    inside(cache, section)

    until(lambda: client.closes == 1)
    assert cache.stats().retired == 0


def test_i14_a_lease_dropped_inside_the_lock_is_queued(make_cache: MakeCache) -> None:
    """The same for the lease's own finalizer."""
    cache = make_cache()
    box = [cache.lease("k")]
    box[0].__enter__()

    with resource_warning("dropped without being returned"):
        inside(cache, partial(in_turn, box.clear, gc.collect))

    assert cache.stats().idle == 1


def test_i14_a_lease_returned_while_another_thread_holds_the_lock_does_not_wait(
    make_cache: MakeCache,
) -> None:
    """The return is over at once, and takes effect when the lock is released."""
    cache = make_cache(scope=Scope.exclusive(1))
    leased = cache.lease("k")
    leased.__enter__()
    waiter = start(lease, cache)
    until_waiting(cache, 1)
    holding, go = threading.Event(), threading.Event()

    def section() -> None:
        holding.set()
        go.wait(WAIT)

    holder = start(inside, cache, section)
    assert holding.wait(WAIT)
    leased.__exit__(None, None, None)  # on this thread: it does not hang
    assert not waiter.done()
    go.set()

    holder.result(WAIT)
    waiter.result(WAIT)


def test_i14_a_lease_returned_by_a_signal_handler_inside_the_lock_is_queued(
    make_cache: MakeCache, handle: Any
) -> None:
    """A handler runs on the main thread whatever that is doing."""
    cache = make_cache()
    leased = cache.lease("k")
    leased.__enter__()

    inside(cache, lambda: handle(lambda: leased.__exit__(None, None, None)))

    assert cache.stats().idle == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda cache: lease(cache),
        lambda cache: lease(cache, "new"),
        lambda cache: lease(cache, timeout=0),
        lambda cache: lease(cache, timeout=1.0),
        lambda cache: cache.warm("new"),
        lambda cache: cache.invalidate("k"),
        lambda cache: cache.clear(),
        lambda cache: cache.stats(),
        lambda cache: repr(cache),
    ],
    ids=["hit", "build", "timeout=0", "timeout", "warm", "invalidate", "clear", "stats", "repr"],
)
@pytest.mark.parametrize("by", ["finalizer", "handler"])
def test_i14_using_the_cache_inside_the_lock_is_an_error_and_not_a_hang(
    make_cache: MakeCache, handle: Any, use: Callable[[Any], object], by: str
) -> None:
    """It says what happened and what is possible there; the cache is as it was."""
    cache = make_cache()
    lease(cache)
    outcome: list[Any] = []

    def attempt() -> None:
        try:
            outcome.append(use(cache))
        except WouldDeadlock as error:
            outcome.append(error)

    def section() -> None:
        if by == "finalizer":
            collected(attempt)
        else:
            handle(attempt)

    start(inside, cache, section).result(WAIT) if by == "finalizer" else inside(cache, section)

    (error,) = outcome
    assert isinstance(error, WouldDeadlock)
    assert "finalizer or a signal handler" in str(error)
    assert "only returning a lease is possible" in str(error)
    assert is_free(cache)
    assert lease(cache) is not None


def test_i14_an_asynchronous_lease_inside_the_lock_is_an_error(make_cache: MakeCache) -> None:
    """A coroutine that is driven by hand in a finalizer."""
    cache = make_cache()
    lease(cache)

    async def main() -> None:
        def attempt() -> None:
            alease(cache).send(None)

        outcome: list[Any] = []
        inside(cache, lambda: outcome.append(collected(attempt)))
        assert isinstance(outcome[0], WouldDeadlock)

    asyncio.run(main())
    assert cache.stats().idle == 1


def test_i14_a_signal_handler_may_use_the_cache_outside_the_lock(
    make_cache: MakeCache, handle: Any
) -> None:
    """Within a body, and while its thread sleeps and waits for a build."""
    cache = make_cache()
    used: list[Any] = []
    with cache.lease("k") as client:
        handle(lambda: used.append(lease(cache)))
    assert used == [client]

    held = Gate()
    builder = start(lease, cache, "slow", build=held.build)
    held.begun()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        until_waiting(cache, 2)
        signal.pthread_kill(main, signal.SIGUSR2)
        until(lambda: len(used) == 2)
        held.open()

    before = signal.signal(signal.SIGUSR2, lambda *_: used.append(lease(cache)))
    try:
        helper = start(interrupt)
        lease(cache, "slow")
        helper.result(WAIT)
        builder.result(WAIT)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert used == [client, client]


def test_i14_a_handler_may_lease_at_any_bytecode_of_a_wait(make_cache: MakeCache) -> None:
    """Where a wait begins and ends, a handler that waits itself leaves the books as they were."""
    begin_and_end = {WaitGraph.begin.__code__, WaitGraph.end.__code__}
    cache = make_cache(max_idle=2)

    def lease_with_a_handler_at(moment: int) -> bool:
        passed = 0

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal passed
            if frame.f_code not in begin_and_end:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                passed += 1
                if passed == moment:
                    lease(cache, f"inner {moment}")  # not traced: the handler
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            lease(cache, f"outer {moment}")
        finally:
            sys.settrace(before)
        return passed >= moment

    moments = 0
    while lease_with_a_handler_at(moments + 1):
        moments += 1
        assert not waits._blocked
    assert moments > 20
    assert waits._many == 0
    assert cache.stats().built == 2 * moments + 1


def test_i14_the_collector_may_come_at_any_moment(make_cache: MakeCache) -> None:
    """With a collection at every allocation leases dropped in cycles come back, none is lost."""
    cache = make_cache(max_idle=2)
    thresholds = gc.get_threshold()

    class Holder:
        def __init__(self, key: int) -> None:
            self.myself = self
            self.lease = cache.lease(key)
            self.lease.__enter__()

    def use() -> None:
        gc.set_threshold(1, 1, 1)
        try:
            for number in range(200):
                Holder(number % 5)
                lease(cache, number % 3)
        finally:
            gc.set_threshold(*thresholds)

    with resource_warning():
        in_turn(use, gc.collect)

    until(lambda: cache.stats().leased == 0)
    assert cache.stats().acquired == 400


def test_i14_returns_by_many_threads_into_a_held_lock_are_all_handled(
    make_cache: MakeCache,
) -> None:
    """The queue loses none, whoever drains it."""
    cache = make_cache()
    leases = [cache.lease(number % 7) for number in range(100)]
    for each in leases:
        each.__enter__()
    returned: list[Any] = []

    def section() -> None:
        returned.extend(start(each.__exit__, None, None, None) for each in leases)
        for each in returned:
            each.result(WAIT)
        assert sum(len(instance.leases) for instance in cache._ledger.open) == 100

    inside(cache, section)

    assert (cache.stats().leased, cache.stats().idle) == (0, 7)


def test_i14_a_task_that_is_collected_inside_the_lock_leaves_its_queue(
    make_cache: MakeCache,
) -> None:
    """A waiter whose loop and task are gone is closed by the collector, wherever that runs."""
    cache = make_cache()
    held = Gate()
    builder = start(lease, cache, build=held.build)
    held.begun()
    box = [alease(cache)]

    async def main() -> None:
        box[0].send(None)

    asyncio.run(main())
    until_waiting(cache, 2)

    inside(cache, partial(in_turn, box.clear, gc.collect))

    until_waiting(cache, 1)
    held.open()
    builder.result(WAIT)
    until(lambda: cache.stats().leased == 0)


def test_i14_a_warning_that_is_an_error_is_not_raised_in_an_innocent_thread(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who handles the return of another's dropped lease is not told of it by an exception."""
    cache = make_cache()
    box = [cache.lease("k")]
    box[0].__enter__()
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: unraisable.append(hook.exc_type))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inside(cache, box.clear)
        until(lambda: unraisable)

    assert unraisable == [ResourceWarning]
    assert cache.stats().idle == 1
