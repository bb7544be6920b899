"""Runs of this process that could not be stored: they have no end in the store, and get one.

When somebody looks at one, before anything is said behind it in its thread, or after a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, final

from llmkeep.service.records import Frame, Run

logger = logging.getLogger(__name__)

#: Seconds between two tries, while nobody looks.
MEND_INTERVAL: Final = 30.0

#: User, thread and run.
RunKey = tuple[str, str, str]


def key_of(run: Run) -> RunKey:
    """What tells a run from all others."""
    return run.user, run.thread_id, run.run_id


@final
class Mender:
    """Lives as long as the service; `close` it.

    Args:
        mend: brings one run to its end, in one transaction; gives its last events.
    """

    def __init__(self, mend: Callable[[Run], Awaitable[Sequence[Frame]]]) -> None:
        self._mend: Final = mend
        self._left: Final[dict[RunKey, Run]] = {}
        self._turn: Final = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._left)

    def add(self, runs: Iterable[Run]) -> None:
        """These have no end in the store."""
        self._left.update((key_of(run), run) for run in runs)
        if self._left and self._task is None:
            self._task = asyncio.create_task(self._mend_on(), name="llmkeep mending")

    async def mend(self, key: RunKey) -> Sequence[Frame]:
        """Bring one to its end; gives its last events, none if it is none of these.

        Raises what the store raises.
        """
        if key not in self._left:
            return ()
        async with self._turn:
            run = self._left.get(key)
            if run is None:
                return ()
            frames = await self._mend(run)
            del self._left[key]
            return frames

    async def mend_thread(self, user: str, thread_id: str) -> None:
        """Bring those of a thread to their end. Raises what the store raises."""
        for key in [key for key in self._left if key[:2] == (user, thread_id)]:
            await self.mend(key)

    async def close(self) -> None:
        """Leave what is left to the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _mend_on(self) -> None:
        while self._left:
            await asyncio.sleep(MEND_INTERVAL)
            for key in [*self._left]:
                try:
                    await self.mend(key)
                except Exception as error:
                    logger.warning("run %s cannot be brought to its end: %r", key[2], error)
        self._task = None
