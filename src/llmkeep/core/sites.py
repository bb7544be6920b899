"""Where a lease was taken, kept so cheaply that every lease can afford it."""

from __future__ import annotations

import time
from itertools import islice
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Final, TypeAlias, final

if TYPE_CHECKING:
    from .deadlocks import Tokens

#: The line that took a lease, as a code object and an offset that are resolved only when shown;
#: with `leak_after` a `Watch`; with an exclusive scope who holds it (see `deadlocks`). A plain
#: tuple, since every lease makes one.
Site: TypeAlias = "tuple[CodeType, int, Watch | None, Tokens]"


def describe(site: Site) -> str:
    """The place in words, or the whole stack where that is known."""
    code, offset, watch, _ = site
    if watch is not None:
        return watch.stack()
    positions = islice(code.co_positions(), offset // 2, None)
    line = next(positions, (code.co_firstlineno,))[0]
    return f"{code.co_filename}:{line} in {code.co_qualname}"


@final
class Watch:
    """With `leak_after`: since when a lease is out, and the whole stack that took it."""

    __slots__ = ("_frames", "reported", "since")

    def __init__(self, frame: FrameType) -> None:
        import traceback  # heavy, and needed only where leaks are watched for

        walk = traceback.walk_stack(frame)
        self._frames: Final = traceback.StackSummary.extract(walk, lookup_lines=False)
        self.since: Final = time.monotonic()
        self.reported = False

    def stack(self) -> str:
        """The stack, outermost call first."""
        import traceback

        return "".join(traceback.format_list(self._frames[::-1])).rstrip()
