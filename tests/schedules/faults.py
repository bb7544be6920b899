"""Faults put into the core by hand, each with a scenario whose schedules show it.

They are what the explorer is measured by: a checker that finds nothing has to be shown something to
find. Each replaces one method of the core while a run lasts, and names a schedule that shows it;
`python -m tests.schedules --faults` searches for them anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from llmkeep import ClientCache
from llmkeep.core.close_queue import CloseQueue
from llmkeep.core.guard import Guard
from llmkeep.core.instance import State
from llmkeep.core.ledger import Ledger
from tests.schedules import scenarios
from tests.schedules.explorer import Scenario

#: Schedules in which each is looked for.
MOST: Final = 500


class Broken(NamedTuple):
    """One fault, and a scenario that shows it."""

    owner: type
    method: str
    replacement: Any
    scenario: Scenario
    #: How many preemptions a schedule needs that shows it.
    preemptions: int
    #: One that does. Where the core has come to have other points, another does.
    seed: str

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.replacement.__name__).strip("_")

    @contextmanager
    def built_in(self) -> Iterator[None]:
        """The core has the fault."""
        with patch.object(self.owner, self.method, self.replacement):
            yield


def _leave_word_unseen(self: Any, decision: Any, *arguments: Any) -> None:
    """Whoever leaves word has looked whether the lock is free before, and does not look again."""
    if self.lock.acquire(False):
        self.lock.release()
        self.inbox.append(partial(decision, *arguments))
        self.settle()
    else:
        self.inbox.append(partial(decision, *arguments))


def _decide_and_go(self: Any, decision: Any, *arguments: Any) -> Any:
    """The holder does not look for word that came while it held the lock."""
    try:
        with self.lock:
            self.inside = True
            try:
                if self.inbox:
                    self.read_inbox()
                return decision(*arguments)
            finally:
                self.inside = False
    finally:
        if self.outbox or self.news:
            self.settle()


def _grant_late(self: Any, request: Any, instance: Any) -> None:
    """The waiter is woken before what it waited for is written down."""
    request.done = True
    self.outbox.append(partial(self._wake, request))
    self.outbox.append(partial(self.decide, _GRANT, self, request, instance))


def _leave_without_passing_on(self: Any, request: Any) -> None:
    """Whoever leaves a queue keeps the turn that it had been given meanwhile."""
    slot = request.slot
    if request.done:
        request.lease.instance = None
    elif slot is not None:
        slot.requests.remove(request)
        self.advance(slot)
    request.done = True
    request.let_go()


def _give_back_when_free(self: Any, instance: Any, token: int, dropped: bool = False) -> None:
    """A lease that comes back while the lock is taken is forgotten."""
    if self.lock.acquire(False):
        self.inside = True
        try:
            self.returned(instance, token, dropped)
        finally:
            self.inside = False
            self.lock.release()
    self.settle()


def _close_at_once(self: Any, instance: Any) -> None:
    """What is retired is closed, whoever leases it."""
    if instance.state is State.RETIRED:
        instance.leases.clear()
        self._close(instance)


def _close_again(self: Any, former: Any) -> Any:
    """A closer leaves what it closes in the queue until it is done with it."""
    queue = self._queue
    if former is not None and former.instance in queue:
        queue.remove(former.instance)
    closing = _NEXT(self, former)
    if closing is not None:
        queue.append(closing.instance)
        closing.instance.client = closing.client
    return closing


def _retire_but_not_overtake(self: Any, slot: Any, reason: str) -> bool:
    """An invalidation forgets the build that is under way."""
    instance = slot.instance
    if instance is not None:
        self.retire(instance, reason)
    return instance is not None


def _sleep_unseen(self: Any, request: Any) -> Any:
    """A caller goes to sleep without saying that it can no longer run a build."""
    flight = request.flight
    return flight if flight is not None and flight.inline and not flight.over else None


def _land_anyway(self: Any, flight: Any) -> bool:
    """A build that had been given up is published all the same."""
    _LAND(self, flight)
    return True


def _keep_books(self: Any) -> None:
    """A forked child goes on with its parent's books."""


def _start_beside(self: Any, slot: Any) -> None:
    """The end of one build does not wait for another's: `advance` starts one for each request."""
    instance = slot.instance
    if instance is not None:
        _ADVANCE(self, slot)
    elif slot.requests and not slot.requests[-1].is_building:
        slot.requests.rotate(1)
        self._start(slot)


def _join_when_shut(self: Any, request: Any, home: Any, key: Any, known: Any) -> bool:
    """Whoever joins does not ask whether the cache has been closed meanwhile."""
    shut, self.shut = self.shut, False
    try:
        return bool(_JOIN(self, request, home, key, known))
    finally:
        self.shut = shut


def _keep_idle(self: Any) -> None:
    """What comes back stays, however many are idle."""


def _count_twice(self: Any, slot: Any, error: Any) -> None:
    """A failure is counted for each who is told."""
    self.build_failures += max(len(slot.requests) - 1, 0)
    _TELL_ALL(self, slot, error)


_GRANT: Final = Ledger._grant
_NEXT: Final = CloseQueue.next
_ADVANCE: Final = Ledger.advance
_JOIN: Final = Ledger.join
_LAND: Final = Ledger._land
_TELL_ALL: Final = Ledger._tell_all

FAULTS: Final = (
    Broken(Guard, "leave_word", _leave_word_unseen, scenarios.cancelled_turn, 2, "26c.29b"),
    Broken(Guard, "decide", _decide_and_go, scenarios.thread_and_loop, 1, "0b.39c"),
    Broken(Ledger, "give_back", _give_back_when_free, scenarios.two_threads, 2, "12b.25b"),
    Broken(Ledger, "_grant", _grant_late, scenarios.cancelled_turn, 0, "33c"),
    Broken(
        Ledger, "next_own_build", _sleep_unseen, scenarios.failing_then_invalidated, 1, "6b.23c"
    ),
    Broken(
        Ledger,
        "leave",
        _leave_without_passing_on,
        scenarios.cancelled_turn_with_a_thread,
        0,
        "37d.49c",
    ),
    Broken(Ledger, "advance", _start_beside, scenarios.two_threads, 0, "-"),
    Broken(Ledger, "join", _join_when_shut, scenarios.closed_while_leased, 0, "-"),
    Broken(
        Ledger,
        "retire_slot",
        _retire_but_not_overtake,
        scenarios.invalidated_while_leased,
        1,
        "17b",
    ),
    Broken(Ledger, "_land", _land_anyway, scenarios.build_out_of_time, 0, "-"),
    Broken(
        Ledger, "_close_if_unused", _close_at_once, scenarios.invalidated_while_leased, 1, "39b.91c"
    ),
    Broken(CloseQueue, "next", _close_again, scenarios.dropped, 1, "108d"),
    Broken(Ledger, "_trim", _keep_idle, scenarios.evicted, 0, "-"),
    Broken(Ledger, "_tell_all", _count_twice, scenarios.failing_build, 1, "17b"),
    Broken(ClientCache, "_start_anew_in_child", _keep_books, scenarios.forked, 0, "-"),
)
