"""A terminal that is only emulated: a file for a console, and what would be seen on it."""

from __future__ import annotations

import io
from collections.abc import Callable

import pyte
from pyte.modes import LNM


class History(pyte.HistoryScreen):
    """A terminal that keeps what scrolls away, and answers when it is asked for its cursor."""

    def __init__(self, columns: int, lines: int, answer: Callable[[bytes], object]) -> None:
        super().__init__(columns, lines, history=100_000, ratio=0.5)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data.encode())

    @property
    def seen(self) -> list[str]:
        """What is on the screen now."""
        return [line.rstrip() for line in self.display]

    @property
    def text(self) -> str:
        """The same with what has scrolled away before it."""
        columns = range(self.columns)
        gone = ["".join(row[at].data for at in columns).rstrip() for row in self.history.top]
        return "\n".join([*gone, *self.seen]).rstrip()


class Emulated(io.StringIO):
    """Lives as long as a test."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__()
        self.written: list[str] = []
        self._screen = History(columns, lines, lambda _data: None)
        self._screen.set_mode(LNM)
        self._stream = pyte.Stream(self._screen)

    def write(self, text: str) -> int:
        self.written.append(text)
        self._stream.feed(text)
        return len(text)

    @property
    def text(self) -> str:
        """What is seen, and what has scrolled away before it."""
        return self._screen.text

    @property
    def title(self) -> str:
        """What the window is called."""
        return self._screen.title
