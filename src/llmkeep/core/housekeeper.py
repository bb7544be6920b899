"""The one thread that looks after what time alone brings about, for all caches of the process."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from .fork import on_fork_in_child
from .registry import Registry

#: Seconds until housekeeping that failed is tried again.
RETRY: Final = 1.0


class Swept(Protocol):
    """Something to keep house for."""

    def sweep(self, now: float) -> float | None:
        """Do what is due at `now` (monotonic seconds); when to come again, None for never."""


class Housekeeper:
    """Time limits, idle instances, dead loops.

    Its thread sleeps until something is due, and is not there before anything can be.
    """

    def __init__(self) -> None:
        self._start_over()
        on_fork_in_child(self, "_start_over")

    def _start_over(self) -> None:
        self._watched: Registry[Swept] = Registry()
        # A SimpleQueue's put is reentrant: a signal handler may poke.
        self._queue: SimpleQueue[Callable[[], object] | float] = SimpleQueue()
        self._starting = threading.Lock()
        self._due: float | None = None
        self._thread: threading.Thread | None = None

    def watch(self, swept: Swept) -> None:
        """Keep house for `swept` as long as it lives."""
        self._watched.add(swept)

    def is_this_thread(self) -> bool:
        """Whether the housekeeper's thread is the one that asks."""
        return threading.current_thread() is self._thread

    def poke(self, due: float) -> None:
        """Something will be due at `due` (monotonic seconds)."""
        known = self._due
        if known is None or due < known:
            self._queue.put(due)
            self._ensure_running()

    def run(self, work: Callable[[], object]) -> bool:
        """Run `work` on the housekeeper's own thread; False if that cannot be started any more."""
        self._ensure_running()
        if self._thread is not None:
            self._queue.put(work)
        return self._thread is not None

    def _ensure_running(self) -> None:
        if (
            self._thread is not None
            or sys.is_finalizing()
            or not self._starting.acquire(blocking=False)
        ):
            return
        try:
            if self._thread is None:
                name = "llmkeep-housekeeper"
                thread = threading.Thread(target=self._loop, name=name, daemon=True)
                self._thread = thread
                thread.start()
        except RuntimeError:
            self._thread = None  # the interpreter is shutting down: nothing will be due any more
        finally:
            self._starting.release()

    def _loop(self) -> None:
        queue = self._queue
        while True:
            try:
                item = queue.get(timeout=self._patience())
            except Empty:
                self._due = None  # what comes while it sweeps is queued
                self._due = _earlier(self._due, self._sweep_all())
                continue
            if not callable(item):
                self._due = _earlier(self._due, item)
                continue
            try:
                item()
            except Exception as error:  # the next work must not be lost with this one
                _log_failure(error)

    def _patience(self) -> float | None:
        if self._due is None:
            return None
        return min(max(self._due - time.monotonic(), 0.0), threading.TIMEOUT_MAX)

    def _sweep_all(self) -> float | None:
        due: list[float | None] = []
        for swept in self._watched.living():
            try:
                due.append(swept.sweep(time.monotonic()))
            except Exception as error:  # the others must not be lost with this one
                _log_failure(error)
                due.append(time.monotonic() + RETRY)
        return min((when for when in due if when is not None), default=None)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _log_failure(error: Exception) -> None:
    import logging

    logging.getLogger("llmkeep").warning("housekeeping raised %s", type(error).__name__)


housekeeper: Final = Housekeeper()
