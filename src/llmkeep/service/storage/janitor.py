"""What ends by itself: threads whose undo time is over, and the events of runs long ended.

A round does a bounded piece of work, one short transaction after the other, so that nobody waits
for it; what is left over is done by the next, soon. What fails is logged and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self, TypeVar, final

from llmkeep.service.interfaces import Store
from llmkeep.service.records import Run, Thread

logger: Final = logging.getLogger(__name__)

T = TypeVar("T", Thread, Run)

#: Threads and runs of one round.
MAX_THREADS: Final = 50
MAX_RUNS: Final = 200

#: Seconds from one round to the next, and where there was more to do than a round takes.
PAUSE: Final = 5.0
SHORT_PAUSE: Final = 0.5


def _utc_now() -> datetime:
    return datetime.now(UTC)


@final
class Janitor:
    """A task that tidies up; lives while it is entered.

    Args:
        store: what is tidied.
        forget: drops what else there is of a thread, its checkpoints; may be called again for the
            same one.
        undo: for so long a deleted thread can be restored.
        keep_log: for so long after its end the events of a run are kept.
        now: the clock.
        pause: seconds between two rounds.
    """

    def __init__(
        self,
        store: Store,
        forget: Callable[[Thread], Awaitable[object]],
        *,
        undo: timedelta,
        keep_log: timedelta,
        now: Callable[[], datetime] = _utc_now,
        pause: float = PAUSE,
    ) -> None:
        self._store: Final = store
        self._forget: Final = forget
        self._undo: Final = undo
        self._keep_log: Final = keep_log
        self._now: Final = now
        self._pause: Final = pause
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work(), name="llmkeep-janitor")
        return self

    async def __aexit__(self, *failure: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _work(self) -> None:
        while True:
            is_done = await self.run_once()
            await asyncio.sleep(self._pause if is_done else min(SHORT_PAUSE, self._pause))

    async def run_once(self) -> bool:
        """One round. Whether nothing is left to do, as far as that is known."""
        now = self._now()
        threads = await self._each(
            "purge threads",
            lambda: self._store.threads_deleted_before(now - self._undo),
            self._purge,
            MAX_THREADS,
        )
        runs = await self._each(
            "compact runs",
            lambda: self._store.runs_to_compact(now - self._keep_log, limit=MAX_RUNS),
            self._store.compact_run,
            MAX_RUNS,
        )
        return threads < MAX_THREADS and runs < MAX_RUNS

    async def _purge(self, thread: Thread) -> None:
        # First what is elsewhere: once its row is gone, nobody would know of that any more. Should
        # the thread be restored in between, its memory is rebuilt from the messages.
        await self._forget(thread)
        await self._store.purge_thread(thread)

    async def _each(
        self,
        name: str,
        find: Callable[[], Awaitable[Sequence[T]]],
        tidy: Callable[[T], Awaitable[None]],
        limit: int,
    ) -> int:
        """How many were tidied of those that are found; one that fails keeps no other waiting."""
        tidied = 0
        try:
            found = await find()
        except Exception as error:
            logger.warning("cannot %s: %s", name, error)
            return 0
        for one in found[:limit]:
            try:
                await tidy(one)
                tidied += 1
            except Exception as error:
                logger.warning("cannot %s: number %d: %s", name, one.key, error)
        return tidied
