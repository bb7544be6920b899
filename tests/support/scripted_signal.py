"""Something that happens once, waited for from any thread and any event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, InvalidStateError

#: Seconds after which what was waited for has not happened: far more than anything here takes.
PATIENCE = 30.0


class Signal:
    """Not set at first, and set for good."""

    def __init__(self) -> None:
        self._future: Future[None] = Future()

    def set(self) -> None:
        """From any thread; a second time is nothing."""
        try:
            self._future.set_result(None)
        except InvalidStateError:
            pass

    def is_set(self) -> bool:
        return self._future.done()

    def wait(self, seconds: float = PATIENCE) -> None:
        """Block until it is set. Raises TimeoutError."""
        self._future.result(seconds)

    async def come(self, seconds: float = PATIENCE) -> None:
        """Wait until it is set. Raises TimeoutError."""
        # Shielded: whoever gives up waiting does not cancel it for the others.
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._future)), seconds)
