"""How a caller waits: a thread on a lock, a task on one future.

What it waits for, and with what outcome, is the ledger's matter (`Request`).
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

from .loops import TEN_YEARS

if TYPE_CHECKING:
    import asyncio


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that this thread is running; does not import asyncio to find out."""
    if "asyncio" not in sys.modules:
        return None
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Waiter:
    """One wait; lives from the moment a caller cannot be served at once until it is."""

    #: Whether a task waits, and not a thread.
    is_task = False
    #: The loop that stands still meanwhile, if this waits on its thread.
    blocks: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop whose task waits; None if a thread does, or if the loop is gone."""
        return None

    @property
    def is_leaving(self) -> bool:
        """Whether the wait has been cancelled, and will end as soon as its task runs."""
        return False

    def wake(self) -> bool:
        """End the waiting, from any thread. False if there is nobody left to wake."""
        raise NotImplementedError


class ThreadWaiter(Waiter):
    """A thread waits."""

    def __init__(self) -> None:
        self.blocks = running_loop()
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wake(self) -> bool:
        """Any thread may call this."""
        try:
            self._asleep.release()
        except RuntimeError:
            pass  # it is awake already
        return True

    def wait(self, deadline: float | None) -> bool:
        """Sleep until woken (True) or until `deadline` on the monotonic clock (False)."""
        if deadline is None:
            return self._asleep.acquire()
        left = min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
        return self._asleep.acquire(timeout=left)


class TaskWaiter(Waiter):
    """A task waits. Refers to its loop weakly: a loop that everybody else has dropped must go."""

    is_task = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        task = sys.modules["asyncio"].current_task()
        self._task = None if task is None else weakref.ref(task)
        self._cancelled_before = self._cancellations()
        self._woken = False
        self._future: weakref.ref[asyncio.Future[bool]] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop whose task waits, if it still lives."""
        loop = self._loop()
        return None if loop is None or loop.is_closed() else loop

    @property
    def is_leaving(self) -> bool:
        """Whether the task has been cancelled since it began to wait."""
        return self._cancellations() > self._cancelled_before

    def _cancellations(self) -> int:
        task = None if self._task is None else self._task()
        return 0 if task is None else task.cancelling()

    def wake(self) -> bool:
        """Any thread may call this."""
        loop = self.loop
        if loop is None:
            return False  # its task will never run again
        try:
            loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:
            return False  # closed this very moment
        return True

    async def wait(self, deadline: float | None) -> bool:
        """Wait until woken (True) or until `deadline` on the monotonic clock (False)."""
        loop = self._loop()
        assert loop is not None
        if self._woken:
            return True
        future: asyncio.Future[bool] = loop.create_future()
        self._future = weakref.ref(future)
        # The timer also holds the future, and with it a task that nobody else refers to.
        left = TEN_YEARS if deadline is None else max(deadline - time.monotonic(), 0.0)
        timer = loop.call_later(left, self._expire, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _resolve(self) -> None:
        self._woken = True
        future = None if self._future is None else self._future()
        if future is not None and not future.done():
            future.set_result(True)

    @staticmethod
    def _expire(future: asyncio.Future[bool]) -> None:
        if not future.done():
            future.set_result(False)
