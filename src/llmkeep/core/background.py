"""Daemon threads of our own: one that keeps house for all caches, and one per build or close
that must not run on the caller's thread.

Never an event loop's default executor: it has few threads, and stuck builds would fill it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from .fork import on_fork_in_child

#: Seconds until housekeeping that failed is tried again.
RETRY: Final = 1.0


class Swept(Protocol):
    """Something to keep house for."""

    def sweep(self, now: float) -> float | None:
        """Do what is due at `now` (monotonic seconds); when to come again, None for never."""


def run_on_thread(name: str, work: Callable[[], object]) -> None:
    """Run `work` on a daemon thread.

    While the interpreter shuts down no thread can be started: the housekeeper runs it then.
    """
    try:
        threading.Thread(target=work, name=f"llmkeep-{name}", daemon=True).start()
    except RuntimeError:
        housekeeper.run(work)


class Housekeeper:
    """The one thread that looks after time limits, idle instances and dead loops.

    It sleeps until something is due, and is not there before anything can be.
    """

    def __init__(self) -> None:
        self._start_over()
        on_fork_in_child(self, "_start_over")

    def _start_over(self) -> None:
        self._watched: weakref.WeakSet[Swept] = weakref.WeakSet()
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
        self._queue.put(due)
        self._ensure_running()

    def run(self, work: Callable[[], object]) -> None:
        """Run `work` on the housekeeper's own thread."""
        self._queue.put(work)
        self._ensure_running()

    def _ensure_running(self) -> None:
        if self._thread is not None or not self._starting.acquire(blocking=False):
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
            now = time.monotonic()
            wait = None if self._due is None else max(self._due - now, 0.0)
            try:
                item = queue.get(timeout=wait)
            except Empty:
                item = now
                self._due = self._sweep_all()
                continue
            if callable(item):
                try:
                    item()
                except Exception as error:  # the next work must not be lost with this one
                    _log_failure(error)
            elif self._due is None or item < self._due:
                self._due = item

    def _sweep_all(self) -> float | None:
        due: list[float | None] = []
        for swept in list(self._watched):
            try:
                due.append(swept.sweep(time.monotonic()))
            except Exception as error:  # the others must not be lost with this one
                _log_failure(error)
                due.append(time.monotonic() + RETRY)
        return min((when for when in due if when is not None), default=None)


def _log_failure(error: Exception) -> None:
    import logging

    logging.getLogger("llmkeep").warning("housekeeping raised %s", type(error).__name__)


housekeeper: Final = Housekeeper()
