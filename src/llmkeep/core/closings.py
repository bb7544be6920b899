"""The part of a ledger's books that is about closing: what is to be closed, and what is being.

As the ledger itself it decides only, with the guard held; `closing` does the work.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

if TYPE_CHECKING:
    from .instance import Instance
    from .ledger import Ledger
    from .waiters import Waiter

#: Closer threads at a time; one that hangs in a close past its limit is no longer counted.
MAX_CLOSERS: Final = 4

#: Which instances somebody waits for.
Counts: TypeAlias = "Callable[[Instance], bool]"


@final
class Closing:
    """One close under way; lives until it is reported, by itself or as overdue."""

    __slots__ = ("coroutine", "deadline")

    def __init__(self, limit: float | None) -> None:
        self.deadline: Final = None if limit is None else monotonic() + limit
        #: Set while the close runs on a loop, and no closer thread is busy with it.
        self.coroutine: Coroutine[Any, Any, object] | None = None


@final
class Closings:
    """Lives as long as its ledger."""

    def __init__(self, ledger: Ledger, start_closer: Callable[[Ledger], None]) -> None:
        self._ledger: Final = ledger
        self._start_closer: Final = start_closer
        self._queue: Final[deque[Instance]] = deque()
        self._closers = 0
        self.under_way: Final[dict[Instance, Closing]] = {}
        #: Who waits until none of the instances that it counts is open any more.
        self._awaiting: Final[list[tuple[Counts, Waiter]]] = []
        self.closed = 0
        self.failures = 0

    def add(self, instance: Instance) -> None:
        """`instance` is to be closed."""
        if self._ledger.policy.closes:
            self._queue.append(instance)
            self._want_closer()
        else:
            self.under_way[instance] = Closing(None)
            self.ended(instance, None)

    def _want_closer(self) -> None:
        if self._queue and self._closers < MAX_CLOSERS:
            self._closers += 1
            self._ledger.outbox.append(partial(self._start_closer, self._ledger))

    def next(self) -> Instance | None:
        """For a closer thread: what to close next, or None to end."""
        if not self._queue:
            self._closers -= 1
            return None
        instance = self._queue.popleft()
        closing = self.under_way[instance] = Closing(self._ledger.policy.close_timeout)
        if closing.deadline is not None:
            self._ledger.due_at(closing.deadline)
        return instance

    def hand_over(self, instance: Instance, coroutine: Coroutine[Any, Any, object]) -> None:
        """The close goes on by itself, on a loop: its thread is free for the next one."""
        closing = self.under_way.get(instance)
        if closing is not None:
            closing.coroutine = coroutine

    def ended(self, instance: Instance, error: str | None, *, dropped: bool = False) -> bool:
        """A close has ended, or is overdue. False if it had been reported before."""
        if self.under_way.pop(instance, None) is None:
            return False
        ledger = self._ledger
        del ledger.open[instance]
        # Its finalizer is foreign code: the last reference goes outside the lock.
        ledger.outbox.append(partial(_let_go, instance.client))
        instance.client = None
        self.closed += 1
        if error is not None:
            self.failures += 1
            ledger.emit("CloseFailed", instance, error)
        else:
            ledger.emit("Dropped" if dropped else "Closed", instance)
        self._tell_quiet()
        return True

    def overdue(self, instance: Instance) -> None:
        """A close has run out of its time: report it, and replace the thread that hangs in it."""
        coroutine = self.under_way[instance].coroutine
        self.ended(instance, "TimeoutError")
        if coroutine is None:
            self._closers -= 1
            self._want_closer()
        else:
            self._ledger.outbox.append(partial(_discard, coroutine))

    def await_quiet(self, waiter: Waiter, counts: Counts) -> None:
        """Wake `waiter` once none of the instances that `counts` says yes to is open."""
        self._awaiting.append((counts, waiter))
        self._tell_quiet()

    def stop_awaiting(self, waiter: Waiter) -> None:
        """`waiter` has given up."""
        self._awaiting[:] = [pair for pair in self._awaiting if pair[1] is not waiter]

    def _tell_quiet(self) -> None:
        for pair in list(self._awaiting):
            counts, waiter = pair
            if not any(map(counts, self._ledger.open)):
                self._awaiting.remove(pair)
                self._ledger.outbox.append(waiter.wake)


def _let_go(client: object) -> None:
    """Nothing: dropping the argument is the point."""


def _discard(coroutine: Coroutine[Any, Any, object]) -> None:
    if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        coroutine.close()  # its loop was closed before it began
