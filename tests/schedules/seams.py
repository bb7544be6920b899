"""Where the core meets the scheduler: its lock, its sleeps, its clock, its threads, its queues.

The core itself runs unchanged. While a run lasts, the names by which its modules know `threading`
and the clock mean the scheduler's; a preemption is possible wherever the core takes its one lock,
looks into its inbox (within the lock and without), takes a job, takes the lock of the wait graph,
sleeps, wakes, or starts a thread. Between those it touches nothing that others touch at the same
time, but for single reads of one field (`Request.done`, a home in `loop_homes`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from llmkeep import ClientCache
from llmkeep.core import cache as face
from llmkeep.core import close_queue, deadlocks, guard, ledger, slots, telling, waiters
from llmkeep.core.deadlocks import waits
from llmkeep.core.housekeeper import housekeeper
from llmkeep.core.workers import workers
from tests.schedules.scheduler import Actor, ScheduledLock, ScheduledSleep, Scheduler


class Seams:
    """The scheduler of the run that is under way, behind the core's names."""

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None

    @property
    def _now(self) -> Scheduler:
        assert self.scheduler is not None
        return self.scheduler

    def monotonic(self) -> float:
        """The clock."""
        return time.monotonic() if self.scheduler is None else self.scheduler.now

    def sleep(self, _: float) -> None:
        """Somebody else may go on."""
        self._now.point()

    def lock(self) -> ScheduledLock:
        """The lock of a cache."""
        return ScheduledLock(self._now)

    def sleeper(self) -> ScheduledSleep:
        """What a thread waits on."""
        return ScheduledSleep(self._now)

    def current_thread(self) -> Any:
        """The actor, as the wait graph knows it."""
        return self._now.current or threading.current_thread()

    def start_thread(self, name: str, work: Callable[[], object]) -> None:
        """A daemon thread of the core's own."""
        self._now.spawn(work)
        self._now.point()


@contextmanager
def replaced() -> Iterator[Seams]:
    """The core's names mean the scheduler's."""
    seams = Seams()
    clock = SimpleNamespace(monotonic=seams.monotonic, sleep=seams.sleep)
    graph = SimpleNamespace(
        current_thread=seams.current_thread, Thread=Actor, RLock=threading.RLock
    )
    locks = SimpleNamespace(Lock=seams.sleeper, TIMEOUT_MAX=threading.TIMEOUT_MAX)
    with ExitStack() as stack:
        put = partial(_put, stack)
        put(guard, "threading", SimpleNamespace(RLock=seams.lock))
        put(waiters, "threading", locks)
        put(deadlocks, "threading", graph)
        for module in (waiters, slots, face, telling):
            put(module, "time", clock)
        for module in (ledger, close_queue):
            put(module, "monotonic", seams.monotonic)
        put(workers, "run", seams.start_thread)
        put(housekeeper, "poke", lambda _: None)
        put(housekeeper, "watch", lambda _: None)
        put(housekeeper, "run", _refuse)
        for name in ("llmkeep", "asyncio"):
            put(logging.getLogger(name), "disabled", True)
        yield seams


def _put(stack: ExitStack, owner: Any, name: str, value: Any) -> None:
    stack.enter_context(patch.object(owner, name, value))


def _refuse(_: object) -> bool:
    raise AssertionError("the housekeeper is an actor of the scenario, or is not there")


def open_to(cache: ClientCache[Any, Any], scheduler: Scheduler, *, fine: bool) -> None:
    """Make the queues of `cache` points too; with `fine` every look at them."""
    books: Any = cache._ledger
    books.inbox = Inbox(books, scheduler, fine=fine)
    books.outbox = Jobs(books, scheduler, fine=fine)
    if fine:
        books.news = Jobs(books, scheduler, fine=True)
    waits._lock = ScheduledLock(scheduler)  # type: ignore[assignment]


class Inbox(deque[Any]):
    """Word for the lock's holder: left, and looked for, without the lock."""

    def __init__(self, books: Any, scheduler: Scheduler, *, fine: bool) -> None:
        super().__init__()
        self._books: Final = books
        self._scheduler: Final = scheduler
        self._fine: Final = fine

    def __bool__(self) -> bool:
        if self._fine or not self._books.inside:
            self._scheduler.point()
        return len(self) > 0

    def append(self, word: Any) -> None:
        """Leave word."""
        self._scheduler.point()
        super().append(word)


class Jobs(deque[Any]):
    """What is to be done: written down under the lock, taken without it."""

    def __init__(self, books: Any, scheduler: Scheduler, *, fine: bool) -> None:
        super().__init__()
        self._books: Final = books
        self._scheduler: Final = scheduler
        self._fine: Final = fine

    def __bool__(self) -> bool:
        if self._fine and not self._books.inside:
            self._scheduler.point()
        return len(self) > 0

    def popleft(self) -> Any:
        """Take one, unless another has taken it this very moment."""
        self._scheduler.point()
        return super().popleft()
