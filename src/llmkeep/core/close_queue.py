"""The part of a ledger's books that is about closing: what is to be closed, and what is being.

As the ledger itself it decides only, with the guard held; `closer` does the work.
"""

from __future__ import annotations

import inspect
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from .sweep import LOOP_CHECK

if TYPE_CHECKING:
    import asyncio

    from .instance import Instance
    from .ledger import Ledger
    from .waiters import Waiter

#: Closer threads at a time; one that hangs in a close past its limit is no longer counted. One more
#: for so many that wait, up to a most.
CLOSERS: Final = 4
QUEUE_PER_CLOSER: Final = 16
MOST_CLOSERS: Final = 32

#: So many waiting closes are a crowd.
CROWD: Final = 64

#: Which instances somebody waits for.
Counts: TypeAlias = "Callable[[Instance], bool]"


@final
class Close:
    """One close under way; lives until it is reported, by itself or as overdue."""

    __slots__ = ("client", "coroutine", "deadline", "instance", "loop", "replaced", "runner")

    def __init__(self, instance: Instance, limit: float | None) -> None:
        self.instance: Final = instance
        self.client = instance.client
        self.deadline: Final = None if limit is None else monotonic() + limit
        #: Set once the close runs on a loop, and no closer thread is busy with it.
        self.coroutine: Coroutine[Any, Any, object] | None = None
        self.loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
        #: What runs `coroutine` there; kept so that it can be ended if the loop never begins it.
        self.runner: Coroutine[Any, Any, None] | None = None
        #: Whether another thread has taken the place of the one that hangs in this close.
        self.replaced = False


@final
class CloseQueue:
    """Lives as long as its ledger."""

    def __init__(
        self,
        ledger: Ledger,
        start_closer: Callable[[Ledger], None],
        rescue: Callable[[Ledger, Close], None],
    ) -> None:
        self._ledger: Final = ledger
        self._rescue: Final = rescue
        self._start_closer: Final = start_closer
        self._queue: Final[deque[Instance]] = deque()
        self._closers = 0
        self.under_way: Final[dict[Close, None]] = {}
        #: Who waits until none of the instances that it counts is open any more.
        self._awaiting: Final[list[tuple[Counts, Waiter]]] = []
        self.closed = 0
        self.failures = 0

    def add(self, instance: Instance) -> None:
        """`instance` is to be closed: on a thread of ours, even if that is only to let it go.

        A client's finalizer may take as long as any close.
        """
        self._queue.append(instance)
        self.want_closer()

    @property
    def is_crowded(self) -> bool:
        """Whether many wait to be closed."""
        return len(self._queue) > CROWD

    def knows(self, instance: Instance) -> bool:
        """Whether the close of `instance` waits or is under way."""
        return instance in self._queue or any(each.instance is instance for each in self.under_way)

    def want_closer(self) -> None:
        """Have one more closer thread started if too few are there for what waits."""
        wanted = min(CLOSERS + len(self._queue) // QUEUE_PER_CLOSER, MOST_CLOSERS)
        start = partial(self._start_closer, self._ledger)
        if self._queue and self._closers < wanted:
            # No call before the last line, so no signal handler comes between.
            self._closers += 1
            self._ledger.outbox.append(start)

    def next(self, former: Close | None) -> Close | None:
        """For a closer thread that is done with `former`: what to close next, or None to end."""
        if former is not None and former.replaced:
            return None
        if not self._queue:
            self._closers -= 1
            return None
        closing = Close(self._queue.popleft(), self._ledger.policy.close_timeout)
        closing.instance.client = None
        self.under_way[closing] = None
        if closing.deadline is not None:
            self._ledger.due_at(closing.deadline)
        return closing

    def hand_over(
        self,
        closing: Close,
        coroutine: Coroutine[Any, Any, object],
        loop: asyncio.AbstractEventLoop,
    ) -> bool:
        """The close goes on by itself, on `loop`; False if it is overdue already."""
        if closing not in self.under_way:
            return False
        closing.coroutine, closing.loop = coroutine, weakref.ref(loop)
        self._ledger.due_at(monotonic() + LOOP_CHECK)
        return True

    def take_back(self, closing: Close) -> None:
        """Its loop was closed this very moment: its thread does it after all."""
        closing.coroutine = closing.loop = None

    def rescue(self, blocked: object = None) -> bool:
        """Look after what was handed to loops that are gone, or `blocked`; whether any is left.

        What has not begun there is done here; what has will never be heard of again.
        """
        for closing in list(self.under_way):
            loop = None if closing.loop is None else closing.loop()
            if closing.loop is None or not (loop is None or loop.is_closed() or loop is blocked):
                continue
            if _is_unbegun(closing.coroutine):
                closing.loop = None
                self._ledger.outbox.append(partial(self._rescue, self._ledger, closing))
            elif loop is not blocked:
                self.ended(closing, "LoopClosed")
        return any(closing.loop is not None for closing in self.under_way)

    def ended(self, closing: Close, error: str | None, *, dropped: bool = False) -> None:
        """A close has ended; nothing if it was reported as overdue before."""
        if self.under_way.pop(closing, self) is self:
            return
        ledger, instance = self._ledger, closing.instance
        del ledger.open[instance]
        self.closed += 1
        if error is not None:
            self.failures += 1
            ledger.emit("CloseFailed", instance, error)
        else:
            ledger.emit("Dropped" if dropped else "Closed", instance)
        self._tell_quiet()

    def end_overdue(self, closing: Close) -> None:
        """A close has run out of its time: report it, and replace the thread that hangs in it."""
        self.ended(closing, "TimeoutError")
        if closing.coroutine is None:
            closing.replaced = True
            self._closers -= 1
            self.want_closer()
        # Outside the lock, since the client's finalizer may go with it.
        self._ledger.outbox.append(partial(_discard, closing))

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


def _is_unbegun(coroutine: Coroutine[Any, Any, object] | None) -> bool:
    return coroutine is not None and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED


def _discard(closing: Close) -> None:
    if closing.coroutine is not None and _is_unbegun(closing.coroutine):
        closing.coroutine.close()  # its loop was closed before it began
