"""What one types while an answer is drawn: not echoed into it, and there at the next prompt."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_keys() -> Iterator[None]:
    """Keep the terminal of standard input from echoing; Ctrl-C still is a signal."""
    if sys.platform == "win32":  # nothing is echoed there that nobody reads
        yield
        return
    import termios

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = termios.tcgetattr(terminal)
    quiet[0] &= ~termios.ICRNL  # Enter stays Enter: what is typed ahead is read as it was typed
    quiet[3] = (quiet[3] & ~(termios.ECHO | termios.ICANON)) | termios.ISIG
    try:
        termios.tcsetattr(terminal, termios.TCSANOW, quiet)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
