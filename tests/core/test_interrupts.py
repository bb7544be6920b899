"""I14 and I6: a signal handler that raises (Ctrl-C, a soft time limit) may come at any call.

CPython runs handlers when a Python function is entered and when a C function has returned. A
profile function raises there, at the first such point within the core, then at the second, and so
on to the last; after each the cache has to be usable by others and its books have to add up.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import llmkeep.core
from llmkeep import ClientCache, LeaseTimeout, Scope
from llmkeep.core.instance import State
from tests.core.books import check
from tests.core.tools import WAIT, Client, in_turn, lease, start, sweep, until, until_waiting

CORE = str(Path(llmkeep.core.__file__).parent)


class Interrupt(KeyboardInterrupt):
    """What the handler raises."""


class InterruptAt:
    """Raises at the `number`-th point within the core; tells where that was."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.where = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "c_return") or not frame.f_code.co_filename.startswith(CORE):
            return
        self.left -= 1
        if self.left == 0:
            name = getattr(argument, "__qualname__", "")
            self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno} {event} {name}"
            sys.setprofile(None)
            raise Interrupt


def interrupted(number: int, work: Callable[[], object]) -> str:
    """Run `work` with an interrupt at the `number`-th point; where, or "" if it has fewer."""
    interrupt = InterruptAt(number)
    try:
        sys.setprofile(interrupt)
        try:
            work()
        finally:
            sys.setprofile(None)
    except Interrupt:
        pass
    return interrupt.where


def leave(leased: Any) -> Callable[[], object]:
    leased.__enter__()
    return lambda: leased.__exit__(None, None, None)


def leave_retired(cache: ClientCache[Any, Any]) -> Callable[[], object]:
    work = leave(cache.lease("k"))
    cache.invalidate("k")
    return work


def leave_to_the_next(cache: ClientCache[Any, Any]) -> Callable[[], object]:
    work = leave(cache.lease("k"))
    start(lease, cache)
    if cache._policy.scope.is_exclusive:
        until_waiting(cache, 1)
    return work


def invalidate(cache: ClientCache[Any, Any]) -> Callable[[], object]:
    cache.warm("k")
    return lambda: cache.invalidate("k")


def hit(cache: ClientCache[Any, Any]) -> Callable[[], object]:
    cache.warm("k")
    return lambda: lease(cache)


#: What is made ready before; what comes back is interrupted.
CASES: dict[str, Callable[[ClientCache[Any, Any]], Callable[[], object]]] = {
    "hit": hit,
    "build": lambda cache: lambda: lease(cache),
    "build on our thread": lambda cache: lambda: lease(cache, timeout=20.0),
    "warm": lambda cache: lambda: cache.warm("k"),
    "invalidate": invalidate,
    "leave": lambda cache: leave(cache.lease("k")),
    "leave retired": leave_retired,
    "leave to the next": leave_to_the_next,
}


@pytest.fixture
def quick_collector() -> Iterator[None]:
    """What is there already is not looked through again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("quick_collector")
@pytest.mark.parametrize("scope", [Scope.PROCESS, Scope.exclusive(1)], ids=["process", "exclusive"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_i14_an_interrupt_at_any_call_leaves_the_cache_usable(case: str, scope: Scope) -> None:
    """The lock is free, nobody's lease is out, nothing is closed twice, the next is served."""
    faults: list[str] = []
    where, number = "begun", 0
    while where:
        number += 1
        clients: list[Client] = []
        cache = ClientCache(_factory(clients), close=_close, scope=scope)
        work = CASES[case](cache)
        where = interrupted(number, work)
        del work
        gc.collect()
        fault = _fault(cache)
        cache.close(timeout=0.01 if fault else 5.0)
        if not fault and any(client.closes > 1 for client in clients):
            fault = f"closed twice: {clients}"
        if fault:
            faults.append(f"{number}: {where}: {fault}")
    assert number > 5
    assert not faults, "\n".join(faults)


@pytest.mark.usefixtures("quick_collector")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_i14_wherever_a_return_is_interrupted_the_next_in_the_queue_is_served() -> None:
    """The finalizer returns the lease once more, and does what was left to be done."""
    where, number = "begun", 0
    while where:
        number += 1
        cache: ClientCache[Any, Any] = ClientCache(lambda _spec: object(), scope=Scope.exclusive(1))
        work = leave(cache.lease("k"))
        queued = start(lease, cache)
        until_waiting(cache, 1)
        where = interrupted(number, work)
        del work
        queued.result(5.0)
        cache.close(timeout=5.0)
    assert number > 5


#: No time limit of the cache's own brings the housekeeper: only who was interrupted calls for it.
UNTIMED: dict[str, Any] = {"idle_ttl": None, "close_timeout": None}


@pytest.mark.usefixtures("quick_collector")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_i14_who_reads_the_word_of_others_and_is_interrupted_loses_none_of_it() -> None:
    """The turn that had been returned meanwhile goes to the next in the queue."""
    where, number = "begun", 0
    while where:
        number += 1
        cache: ClientCache[Any, Any] = ClientCache(
            lambda _spec: object(), scope=Scope.exclusive(1), **UNTIMED
        )
        cache.warm("other")
        work = leave(cache.lease("k"))
        queued = start(lease, cache)
        until_waiting(cache, 1)
        cache._ledger.lock.acquire()
        start(work).result(WAIT)  # leaves word: the lock is taken
        cache._ledger.lock.release()
        where = interrupted(number, lambda cache=cache: lease(cache, "other"))  # type: ignore[misc]
        lease(cache, "other")
        queued.result(WAIT)
        cache.close(timeout=5.0)
    assert number > 5


def retire_what_is_too_many(cache: ClientCache[Any, Any]) -> Callable[[], object]:
    """Read of the return of three, where one may be idle, and lease a fourth that is new."""
    leaves = [leave(cache.lease(key)) for key in "abc"]
    cache._ledger.lock.acquire()
    start(in_turn, *leaves).result(WAIT)
    cache._ledger.lock.release()

    def work() -> None:
        with suppress(LeaseTimeout):
            lease(cache, "k", timeout=0)

    return work


@pytest.mark.usefixtures("quick_collector")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", [invalidate, leave_retired, retire_what_is_too_many])
def test_i4_what_was_retired_is_closed_although_who_did_it_was_interrupted(
    case: Callable[[ClientCache[Any, Any]], Callable[[], object]],
) -> None:
    """Soon, also if nobody decides anything from then on and only hot leases come and go."""
    where, number = "begun", 0
    while where:
        number += 1
        cache: ClientCache[Any, Any] = ClientCache(lambda _spec: object(), max_idle=1, **UNTIMED)
        work = case(cache)
        where = interrupted(number, work)
        del work
        gc.collect()
        ledger = cache._ledger
        if not ledger.inbox:  # else it was interrupted before it had looked
            until(partial(_is_settled, ledger), f"what follows, after {number}: {where}")
        cache.close(timeout=5.0)
    assert number > 5


def _is_settled(ledger: Any) -> bool:
    """Looked at without entering: whoever enters settles."""
    retired = [each for each in list(ledger.open) if each.state is not State.READY]
    return not (retired or ledger.outbox or ledger.news)


@pytest.mark.usefixtures("quick_collector")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_i10_idle_counts_from_a_return_that_was_interrupted() -> None:
    """And not from the one before it: it would be closed for its age at once."""
    where, number = "begun", 0
    while where:
        number += 1
        cache: ClientCache[Any, Any] = ClientCache(lambda _spec: object())
        leased = cache.lease("k")
        leased.__enter__()
        instance = leased.instance
        assert instance is not None
        instance.idle_since -= 1000.0
        where = interrupted(number, partial(leased.__exit__, None, None, None))
        del leased
        gc.collect()
        assert cache.snapshot()[0].idle < 500.0, f"{number}: {where}"
        cache.close(timeout=5.0)
    assert number > 5


def _factory(clients: list[Client]) -> Callable[[Any], Client]:
    def build(spec: Any) -> Client:
        clients.append(Client(spec, len(clients) + 1))
        return clients[-1]

    return build


def _close(client: Client) -> None:
    client.closes += 1


def _fault(cache: ClientCache[Any, Any]) -> str:
    """What is wrong with `cache` for another caller."""
    try:
        sweep(cache, 0)  # the housekeeper mends what an interrupt left half done
        start(lease, cache, timeout=2.0).result(3.0)
        until(lambda: cache.stats().leased == 0, "the return of all leases")
        check(cache)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return ""
