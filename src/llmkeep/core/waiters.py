"""How a caller waits: a thread on a lock, a task on one future.

What it waits for, and with what outcome, is the ledger's matter (`Request`).
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

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

    #: The loop whose task waits, if one does.
    loop: asyncio.AbstractEventLoop | None = None
    #: The loop that stands still meanwhile, if this waits on its thread.
    blocks: asyncio.AbstractEventLoop | None = None

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
        """Any thread may call this, once."""
        self._asleep.release()
        return True

    def wait(self, deadline: float | None) -> bool:
        """Sleep until woken (True) or until `deadline` on the monotonic clock (False)."""
        if deadline is None:
            return self._asleep.acquire()
        left = min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
        return self._asleep.acquire(timeout=left)


class TaskWaiter(Waiter):
    """A task waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self._future: asyncio.Future[bool] = loop.create_future()

    def wake(self) -> bool:
        """Any thread may call this."""
        try:
            self.loop.call_soon_threadsafe(self._resolve, True)
        except RuntimeError:
            return False  # the loop was closed: its task will never run again
        return True

    async def wait(self, deadline: float | None) -> bool:
        """Wait until woken (True) or until `deadline` on the monotonic clock (False)."""
        if deadline is None:
            return await self._future
        left = max(deadline - time.monotonic(), 0.0)
        timer = self.loop.call_later(left, self._resolve, False)
        try:
            return await self._future
        finally:
            timer.cancel()

    def _resolve(self, woken: bool) -> None:
        if not self._future.done():
            self._future.set_result(woken)
