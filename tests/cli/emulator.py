"""The program in a pseudo-terminal with an emulator behind it: a test sees what a person would."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pexpect
import pyte
import pytest

from tests.cli.emulated import History
from tests.cli.processes import COMMAND

if not hasattr(pexpect, "spawn"):
    pytest.skip("no pseudo-terminals", allow_module_level=True)

PATIENCE = 60.0
PROMPT = "you> "


class Terminal:
    """Lives as long as the program in it."""

    def __init__(self, *arguments: str, columns: int = 80, lines: int = 24, **variables: str):
        self.child: pexpect.spawn[bytes] = pexpect.spawn(
            COMMAND[0],
            [*COMMAND[1:], *arguments],
            env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **variables},
            dimensions=(lines, columns),
            timeout=PATIENCE,
        )
        self.raw = b""
        self._screen = History(columns, lines, self.child.send)
        self._stream = pyte.ByteStream(self._screen)

    # --- what is seen ---

    @property
    def text(self) -> str:
        """What is on the screen, and what has scrolled away before it."""
        return self._screen.text

    @property
    def cursor_line(self) -> str:
        """The line that the cursor is in."""
        return self._screen.seen[self._screen.cursor.y]

    # --- what is done ---

    def send(self, text: str) -> None:
        self.child.send(text)

    def enter(self, text: str) -> None:
        """Write a line and send it."""
        self.child.send(text + "\r")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.child.send("\x03")

    def signal(self, number: int = signal.SIGINT) -> None:
        self.child.kill(number)

    def until(self, seen: str | Callable[[Terminal], object]) -> None:
        """Read on until a pattern is in what is there, or a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_seen(seen):
            if time.monotonic() > deadline:
                raise AssertionError(f"never came: {seen}\n{self.text}")
            if not self.read():
                assert self._is_seen(seen), f"ended before: {seen}\n{self.text}"
                return

    def until_prompt(self) -> None:
        """Read on until a message is asked for."""
        self.until(lambda terminal: terminal.cursor_line.startswith(PROMPT.strip()))

    def until_stopped(self) -> None:
        """Read on until the last answer has ended as stopped, and the next message is asked for."""
        self.until(_ends_stopped)

    def settle(self) -> None:
        """Read on until an empty line is asked for, and stays so."""
        quiet, deadline = 0, time.monotonic() + PATIENCE / 3
        while quiet < 2:
            assert time.monotonic() < deadline, self.text
            before = self.raw
            assert self.read(), self.text
            at_prompt = self.cursor_line == PROMPT.strip()
            quiet = quiet + 1 if at_prompt and self.raw == before else 0

    def forget(self) -> None:
        """Leave out what was seen until now."""
        self._screen.reset()

    def found(self, pattern: str) -> str:
        """What the pattern's group is."""
        match = re.search(pattern, self.text)
        assert match is not None
        return match[1]

    def read(self) -> bool:
        """Read a piece, if there is one; false once the program has ended."""
        try:
            data = self.child.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def end(self) -> int:
        """Press Ctrl-D; the exit status."""
        self.child.send("\x04")
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; the exit status."""
        while self.read():
            pass
        self.child.wait()
        status = self.child.exitstatus
        return -(self.child.signalstatus or 0) if status is None else status

    def _is_seen(self, seen: str | Callable[[Terminal], object]) -> bool:
        return bool(re.search(seen, self.text) if isinstance(seen, str) else seen(self))


def _ends_stopped(it: Terminal) -> bool:
    before, _, last = it.text.rpartition("\n")
    return last.strip() == PROMPT.strip() and before.rpartition("\n")[2].startswith("stopped")


@contextmanager
def terminal(*arguments: str, **options: str | int) -> Iterator[Terminal]:
    """The program in a terminal; its end is the caller's to ask for."""
    it = Terminal("chat", *arguments, **options)  # type: ignore[arg-type]
    try:
        yield it
    finally:
        it.child.close(force=True)
