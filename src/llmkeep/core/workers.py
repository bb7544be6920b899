"""Daemon threads of our own, for builds and closes that must not run on the caller's thread.

Never an event loop's default executor: it has few threads, and stuck builds would fill it. There
are as many as are needed at once; one that has nothing to do lingers for a while.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from .fork import on_fork_in_child

Work: TypeAlias = "Callable[[], object]"

#: Seconds that a thread waits for more work.
LINGER: Final = 5.0


class Workers:
    """The threads of the process that are waiting for work."""

    def __init__(self) -> None:
        self._start_over()
        on_fork_in_child(self, "_start_over")

    def _start_over(self) -> None:
        self._idle: list[SimpleQueue[tuple[str, Work]]] = []

    def run(self, name: str, work: Work) -> None:
        """Run `work` on a daemon thread.

        Raises RuntimeError where none waits and none can be started, as while the interpreter
        shuts down.
        """
        if sys.is_finalizing():
            raise RuntimeError("the interpreter is being taken apart")  # starting would hang
        try:
            self._idle.pop().put((name, work))
        except IndexError:
            threading.Thread(
                target=self._serve, args=(name, work), name=f"llmkeep-{name}", daemon=True
            ).start()

    def _serve(self, name: str, work: Work) -> None:
        thread = threading.current_thread()
        inbox: SimpleQueue[tuple[str, Work]] = SimpleQueue()
        idle = self._idle
        while True:
            thread.name = f"llmkeep-{name}"
            work()
            del work  # not while waiting: it may hold the last reference to a client
            thread.name = "llmkeep-idle"
            idle.append(inbox)
            try:
                name, work = inbox.get(timeout=LINGER)
            except Empty:
                try:
                    idle.remove(inbox)
                except ValueError:  # somebody has just chosen this one
                    name, work = inbox.get()
                else:
                    return


workers: Final = Workers()
