"""I9: a forked child uses, closes and collects nothing of its parent's, and hangs on nothing.

The child of these tests does its checks and leaves by `os._exit`; those of test_fork_exit.py end
as interpreters do.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sys
import time
from functools import partial
from types import FrameType
from typing import Any

import pytest

from llmkeep import CacheClosed, ClientCache, LLMKeepError, Scope
from llmkeep.core.fork import on_fork_in_child
from llmkeep.core.ledger import Ledger
from tests.core.books import check
from tests.core.conftest import MakeCache
from tests.core.forking import in_child
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    in_turn,
    lease,
    start,
    sweep,
    until,
)

pytestmark = pytest.mark.usefixtures("open_gate")

if not hasattr(os, "fork"):
    pytest.skip("there is no fork here", allow_module_level=True)


def test_i9_a_child_starts_anew_and_the_parent_notices_nothing(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Counters at zero, nothing inherited, own instances; the parent's stay as they were."""
    cache = make_cache()
    mine = lease(cache)
    before = cache.stats()

    def checks() -> None:
        assert not any(vars(cache.stats()).values())
        assert cache.snapshot() == []
        assert not cache.invalidate("k")
        gate.calls.clear()
        own = lease(cache)
        assert own is not mine
        assert lease(cache) is asyncio.run(alease(cache)) is own
        assert (cache.stats().builds, cache.stats().hits) == (1, 2)
        cache.close()
        assert own.closes == 1
        assert mine.closes == 0
        check(cache)

    in_child(checks)

    assert cache.stats() == before
    assert lease(cache) is mine
    assert mine.closes == 0


@pytest.mark.parametrize("scope", [Scope.PROCESS, Scope.LOOP, Scope.exclusive(1)])
def test_i9_a_lease_carried_across_returns_as_nothing(make_cache: MakeCache, scope: Scope) -> None:
    """Left, or dropped, in the child: no close, no warning, no count; the parent still has it."""
    cache = make_cache(scope=scope)
    left, dropped = [cache.lease(1)], [cache.lease(2)]
    clients = [left[0].__enter__(), dropped[0].__enter__()]
    cache.invalidate(1)
    cache.invalidate(2)

    def checks() -> None:
        left[0].__exit__(None, None, None)
        dropped.clear()
        gc.collect()
        assert not any(vars(cache.stats()).values())
        assert lease(cache, 1) is not clients[0]
        assert [client.closes for client in clients] == [0, 0]

    in_child(checks)

    assert cache.stats().retired == 2
    assert [client.closes for client in clients] == [0, 0]
    left[0].__exit__(None, None, None)
    dropped[0].__exit__(None, None, None)
    until(lambda: [client.closes for client in clients] == [1, 1])


def test_i9_a_child_forked_in_the_body_of_a_lease(make_cache: MakeCache) -> None:
    """An exclusive turn of the parent's is none in the child, which has a turn of its own."""
    cache = make_cache(scope=Scope.exclusive(1))
    with cache.lease("k") as client:
        in_child(lambda: lease(cache, timeout=WAIT) is not client or 1 / 0)
        assert client.closes == 0
        assert cache.stats().leased == 1


def test_i9_a_childs_time_limits_and_bounds_hold(make_cache: MakeCache) -> None:
    """It has a housekeeper of its own."""
    stuck = Gate()
    cache = make_cache(stuck.build, build_timeout=0.02, idle_ttl=0.02, close=stuck.close)
    stuck.open()
    cache.warm("k")

    def checks() -> None:
        stuck.calls.clear()
        stuck._is_open = False
        with pytest.raises(TimeoutError):
            lease(cache, "stuck")
        stuck.open()
        lease(cache)
        until(lambda: cache.stats().idle == 0)
        until(lambda: cache.stats().closed == 2)

    in_child(checks)


def test_i9_a_closed_cache_stays_closed_in_the_child(make_cache: MakeCache) -> None:
    """Closing is final."""
    cache = make_cache()
    cache.close()

    def checks() -> None:
        with pytest.raises(CacheClosed):
            lease(cache)

    in_child(checks)


def test_i9_each_generation_has_its_own(make_cache: MakeCache) -> None:
    """A child of a child starts anew as well, and from any thread."""
    cache = make_cache()
    seen = {lease(cache)}

    def grandchild() -> None:
        assert lease(cache) not in seen
        assert cache.stats().builds == 1

    def child() -> None:
        seen.add(lease(cache))
        start(in_child, grandchild).result(WAIT)
        assert lease(cache) in seen
        assert not any(client.closes for client in seen)

    start(in_child, child).result(WAIT)
    assert lease(cache) in seen


def test_i9_a_loop_of_the_childs_is_not_taken_for_one_of_the_parents(
    make_cache: MakeCache,
) -> None:
    """Also where it lives at the same address."""
    cache = make_cache(scope=Scope.LOOP)
    loops = [asyncio.new_event_loop() for _ in range(3)]
    inherited = {loop.run_until_complete(alease(cache)) for loop in loops}

    def checks() -> None:
        loops.clear()
        for _ in range(3):
            assert asyncio.run(alease(cache)) not in inherited
        assert not any(client.closes for client in inherited)

    in_child(checks)
    for loop in loops:
        loop.close()
    sweep(cache, 0)


def test_i9_a_child_forked_in_a_factory_may_lease(make_cache: MakeCache, gate: Gate) -> None:
    """The parent's build goes on in the parent; the child is nobody's build."""

    def ask() -> None:
        lease(cache)

    def build(spec: Any) -> Any:
        if spec == "forks":
            in_child(partial(in_turn, partial(lease, cache, "other"), ask, cache.close))
        return gate.build(spec)

    cache: ClientCache[Any, Any] = make_cache(build)
    assert lease(cache, "forks").closes == 0
    assert cache.stats().builds == 1


def test_i9_a_child_that_returns_through_a_factory_of_its_parents_is_told(
    make_cache: MakeCache, gate: Gate
) -> None:
    """What the parent began is not finished in the child; the next lease there is its own."""
    children: list[int] = []

    def build(spec: Any) -> Any:
        if spec == "forks":
            children.append(os.fork())
        return gate.build(spec)

    cache: ClientCache[Any, Any] = make_cache(build)
    status = 1
    try:
        client = lease(cache, "forks")
        status = 2
    except LLMKeepError as error:
        if children == [0] and "fork" in str(error) and lease(cache).closes == 0:
            status = 0
    finally:
        if children == [0]:
            os._exit(status)
    assert client.closes == 0
    assert os.waitpid(children[0], 0)[1] == 0


def test_i9_a_child_forked_inside_a_section_closes_nothing_of_its_parents(
    make_cache: MakeCache,
) -> None:
    """A signal handler forks within a return, which goes on in both processes.

    What it decides in the child is decided on the parent's books, and nothing follows from that.
    """
    closed = multiprocessing.Value("i", 0)

    def close(_: object) -> None:
        with closed.get_lock():
            closed.value += 1

    cache = make_cache(lambda _spec: object(), close=close, max_idle=0)
    leased = cache.lease("k")
    leased.__enter__()
    children: list[int] = []

    def fork_where_it_is_trimmed(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is Ledger._trim.__code__:
            sys.setprofile(None)
            children.append(os.fork())

    sys.setprofile(fork_where_it_is_trimmed)
    try:
        leased.__exit__(None, None, None)
    finally:
        sys.setprofile(None)
        if children == [0]:
            time.sleep(0.2)  # in vain, unless the parent's instance is being closed here
            os._exit(0)
    os.waitpid(children[0], 0)
    until(lambda: closed.value, "the close in the parent")
    assert closed.value == 1


def test_i9_who_is_told_of_a_fork_is_held_weakly_and_in_order() -> None:
    """The hook keeps nobody alive, and runs before the child's own code."""
    told: list[str] = []

    class Owner:
        def __init__(self, name: str) -> None:
            self.name = name
            on_fork_in_child(self, "forked")

        def forked(self) -> None:
            told.append(self.name)

    first, gone, second = Owner("first"), Owner("gone"), Owner("second")
    del gone
    gc.collect()

    def checks() -> None:
        assert told == [first.name, second.name]

    in_child(checks)
    assert told == []


@pytest.mark.skipif(sys.platform != "linux", reason="fork is the default only there")
def test_i9_works_in_processes_of_multiprocessing(make_cache: MakeCache) -> None:
    """A pool of forked workers beside a parent that is using the cache."""
    import multiprocessing

    cache = make_cache()
    mine = lease(cache)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def work() -> None:
        client = lease(cache)
        results.put((client is mine, cache.stats().builds))

    workers = [context.Process(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(WAIT)
        assert worker.exitcode == 0
        worker.close()
    assert [results.get() for _ in workers] == [(False, 1)] * 2
    results.close()
