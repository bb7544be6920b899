"""Ctrl-C: it belongs to what is under way, an answer or the line being written.

Not asyncio's own handling, which cancels the main task: a cancellation can be lost on its way
through other people's code, and between two awaits it hits whatever comes next. Here the signal
only wakes the loop, and the loop does what was said to be done.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self, final

#: Presses that a loop has not come to; at the next one the program ends, as it would without us.
MAX_UNSERVED: Final = 2

#: Seconds in which a second press means the first.
DOUBLE: Final = 1.0

#: Seconds after which a stop is asked for again that found nothing to stop yet.
AGAIN: Final = 0.05


@final
class Interrupts:
    """Takes SIGINT for as long as its `with` block lasts, on the main thread.

    What comes while nothing is under way waits for what is begun next, unless it is forgotten.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._previous: Any = None
        self._action: Callable[[], object] | None = None
        self._is_pending = False
        self._unserved = 0
        #: Whether one has come at all, whatever became of it.
        self.came = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """From here on an interrupt ends the program, as it would without us."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    @contextmanager
    def handled_by(self, action: Callable[[], object]) -> Iterator[None]:
        """An interrupt calls `action`, on the loop, within this block; so does one that waits."""
        self._loop = asyncio.get_running_loop()
        self._action = action
        try:
            if self._is_pending:
                self._is_pending = False
                action()
            yield
        finally:
            self.release()

    def release(self) -> None:
        """What was under way is over; an interrupt waits for what comes next."""
        self._action = None

    def keep(self) -> None:
        """One has come that waits for what comes next."""
        self._is_pending = True

    def forget(self) -> None:
        """Drop an interrupt that waits: what it was meant for is over."""
        self._is_pending = False

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        self._unserved += 1
        if self._unserved > MAX_UNSERVED:  # something blocks the loop
            signal.default_int_handler(number, frame)
        if self._loop is None or self._loop.is_closed():
            signal.default_int_handler(number, frame)
        self._loop.call_soon_threadsafe(self._arrived)

    def _arrived(self) -> None:
        self._unserved = 0
        if self._action is None:
            self._is_pending = True
            return
        try:
            self._action()
        except KeyboardInterrupt:
            self.end()  # the next one does not wait for an orderly end
            raise


@final
class Stopping:
    """What Ctrl-C does to one answer; lives as long as it is read.

    The first asks the answer to stop; it then ends by itself, with what it has said so far. One
    more, a second later, ends the program by KeyboardInterrupt.
    """

    def __init__(
        self,
        stop: Callable[[], bool],
        hint: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop: Final = stop
        self._hint: Final = hint
        self._clock: Final = clock
        self._loop: Final = asyncio.get_running_loop()
        self._asked: float | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._is_over = False

    @property
    def asked(self) -> bool:
        """Whether somebody wants the answer to stop."""
        return self._asked is not None

    def interrupt(self) -> None:
        """Stop."""
        if self._is_over:
            return
        if self._asked is None:
            self._asked = self._clock()
            self._hint("stopping")
            self._later(DOUBLE, lambda: self._hint("stopping; Ctrl-C again ends the program"))
            self._ask()
        elif self._clock() - self._asked >= DOUBLE:
            raise KeyboardInterrupt

    def over(self) -> None:
        """The answer has ended."""
        self._is_over = True
        for timer in self._timers:
            timer.cancel()

    def _ask(self) -> None:
        if not self._is_over and not self._stop():
            self._later(AGAIN, self._ask)  # it has not begun yet

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(seconds, action))
