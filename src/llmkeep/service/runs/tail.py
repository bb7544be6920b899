"""The last events of a live run, for those who follow it; older ones are in the store.

Nothing is kept per reader: each comes with the number it has, and gets what is there. What is
held is bounded, so a reader that does not read holds no more than that, and a long answer neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, final

from llmkeep.service.records import Frame

#: Characters that are held; up to twice as many, so that dropping them costs nothing.
TAIL_CHARACTERS: Final = 256 * 1024

#: Characters that one reader is given at a time, or little more.
BATCH_CHARACTERS: Final = 64 * 1024


@final
class Tail:
    """Lives as long as its run, or the last reader that follows it."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._characters = 0
        self._last = 0
        self._is_over = False
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def last(self) -> int:
        """The number of the last event that may be told."""
        return self._last

    @property
    def is_over(self) -> bool:
        """Whether that is the terminal one."""
        return self._is_over

    @property
    def end(self) -> Frame | None:
        """The terminal event, once there is one."""
        return self._frames[-1] if self._is_over else None

    def __repr__(self) -> str:
        first = self._last - len(self._frames) + 1
        return f"<Tail {first}..{self._last}, {len(self._waiting)} waiting>"

    def publish(self, frames: Sequence[Frame]) -> None:
        """These are stored, and may be told."""
        if self._is_over or not frames:
            return
        self._frames += frames
        self._characters += sum(len(frame.data) for frame in frames)
        self._last = frames[-1].number
        self._is_over = frames[-1].is_terminal
        if self._characters > 2 * TAIL_CHARACTERS:
            self._drop()
        for each in self._waiting:
            if not each.done():
                each.set_result(None)

    def behind(self, number: int) -> Sequence[Frame] | None:
        """Some of the events after `number`, the next ones; None where they are held no more."""
        if number >= self._last:
            return ()
        start = number + 1 - self._frames[0].number
        if start < 0:
            return None
        end, size = start, 0
        while end < len(self._frames) and size < BATCH_CHARACTERS:
            size += len(self._frames[end].data)
            end += 1
        return self._frames[start:end]

    async def more(self, number: int) -> None:
        """Wait for an event after `number`, or the end."""
        while self._last <= number and not self._is_over:
            woken = asyncio.get_running_loop().create_future()
            self._waiting.add(woken)
            try:
                await woken
            finally:
                self._waiting.discard(woken)

    def _drop(self) -> None:
        """Hold the last of them alone."""
        count, held = len(self._frames), 0
        while count > 1 and held < TAIL_CHARACTERS:
            count -= 1
            held += len(self._frames[count].data)
        del self._frames[:count]
        self._characters = held
