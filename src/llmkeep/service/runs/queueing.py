"""Lines: the runs of a thread go one at a time, in the order in which they came.

A run is in the line of its thread from its request until all of it is stored, so what a run leaves
is durable before the next one begins. A run that ends before its turn leaves the line where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final, final

from .live_run import LiveRun


@final
class Line:
    """The runs of one thread; lives as long as there are any, or somebody wants to join."""

    def __init__(self) -> None:
        #: Held by one request at a time while it finds out what it comes to: what it reads of the
        #: store then holds until it has joined. Nothing that takes long is awaited under it.
        self.entrance: Final = asyncio.Lock()
        self.runs: Final[list[LiveRun]] = []
        self.guests = 0

    def join(self, run: LiveRun) -> None:
        """Last in the line; at once at its turn, if there is no other."""
        self.runs.append(run)
        self._go_on()

    def leave(self, run: LiveRun) -> None:
        """It has ended: the next begins, if it was its turn."""
        self.runs.remove(run)
        self._go_on()

    def _go_on(self) -> None:
        if self.runs:
            self.runs[0].begin()


@final
class Lines:
    """All lines; those that nobody is in, or at, are forgotten."""

    def __init__(self) -> None:
        self._lines: Final[dict[Hashable, Line]] = {}

    def runs(self, thread: Hashable) -> list[LiveRun]:
        """Those of a thread, in their order."""
        line = self._lines.get(thread)
        return [*line.runs] if line is not None else []

    @contextmanager
    def at(self, thread: Hashable) -> Iterator[Line]:
        """The line of a thread, kept for the length of a `with` statement."""
        line = self._lines.setdefault(thread, Line())
        line.guests += 1
        try:
            yield line
        finally:
            line.guests -= 1
            self._forget(thread, line)

    def leave(self, thread: Hashable, run: LiveRun) -> None:
        """A run of this thread has ended."""
        line = self._lines[thread]
        line.leave(run)
        self._forget(thread, line)

    def _forget(self, thread: Hashable, line: Line) -> None:
        if not (line.guests or line.runs):
            del self._lines[thread]
