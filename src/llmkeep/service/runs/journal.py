"""The journal: what all runs have to say, written in few transactions, and told after them.

One task writes. It takes what every run has pending, writes it in one transaction, and then lets
each run publish what is stored: so no reader ever sees what a killed process would forget. The
first to come after a pause is written at once, and so is what a run says while no other does; else
at most one transaction begins in each `interval`, which is what makes fifty runs cost little more
than one.

A transaction that fails is tried again. One that goes on failing is taken apart, run by run, so
that only the runs fail whose own changes cannot be written; not where it is the store as a whole
that cannot be written (Unavailable, or it hangs): then all fail at once. A run waits in `room`
while much of it is not written yet: little is held here; what its agent says meanwhile is held by
that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, final
from weakref import WeakSet

from llmkeep.service.errors import Unavailable
from llmkeep.service.interfaces import Change, EventsAdded, Store
from llmkeep.service.records import Frame

from .watching import NOBODY, Watcher

logger = logging.getLogger(__name__)

#: Seconds after which a failed transaction is tried again, and again.
RETRIES: Final = (0.05, 0.25, 1.0)

#: Seconds that a transaction may take, and after which none is tried again.
WRITE_TIMEOUT: Final = 30.0

#: Characters of one run that may wait to be written.
PENDING_CHARACTERS: Final = 256 * 1024


#: Takes the frames of a run that are stored now.
Publish = Callable[[Sequence[Frame]], None]

#: Takes the reason why what a run says cannot be stored.
GiveUp = Callable[[BaseException], None]


@final
class Pages:
    """What one run writes: lives as long as the run.

    Args:
        journal: which writes it.
        key: the run's.
        publish: told the frames that are stored now; must not raise.
        give_up: told why nothing of the run can be stored any more; must not raise.
    """

    def __init__(self, journal: Journal, key: int, publish: Publish, give_up: GiveUp) -> None:
        self._journal: Final = journal
        self._key: Final = key
        self._publish: Final = publish
        self._give_up: Final = give_up
        self._frames: list[Frame] = []
        self._changes: list[Change] = []
        self._pending = 0
        self._writing: tuple[Sequence[Frame], Sequence[Change]] | None = None
        self._is_lost = False
        self._settled: asyncio.Event = asyncio.Event()
        self._settled.set()
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()

    def add(self, frame: Frame, changes: Iterable[Change] = ()) -> None:
        """Write these together: in one transaction, after what was added before."""
        if self._is_lost:
            return
        self._frames.append(frame)
        self._changes += changes
        self._pending += len(frame.data)
        self._settled.clear()
        if self._pending > PENDING_CHARACTERS:
            self._room.clear()
        self._journal._has_more(self)

    async def room(self) -> None:
        """Wait while too much of this run is not written yet."""
        await self._room.wait()

    async def settled(self) -> None:
        """Wait until all that was added is written, or given up."""
        await self._settled.wait()

    # --- the journal's side ------------------------------------------------------------------

    def _take(self) -> Sequence[Change]:
        """What is pending, as one piece; the same again until it is `_written` or `_lost`."""
        if self._writing is None:
            frames, self._frames = self._frames, []
            changes, self._changes = self._changes, []
            added = [EventsAdded(self._key, frames)] if frames else []
            self._writing = frames, [*added, *changes]
            self._pending = 0
        return self._writing[1]

    @property
    def _events(self) -> int:
        return len(self._writing[0]) if self._writing is not None else 0

    def _written(self) -> None:
        assert self._writing is not None
        frames, self._writing = self._writing[0], None
        self._ready()
        self._publish(frames)

    def _lost(self, error: BaseException) -> None:
        if self._is_lost or self._settled.is_set():
            return
        self._is_lost = True
        self._writing = None
        self._frames.clear()
        self._changes.clear()
        self._ready()
        self._give_up(error)

    def _ready(self) -> None:
        self._room.set()
        if not (self._frames or self._changes):
            self._settled.set()


@final
class Journal:
    """Lives as long as the service: `start` it on its loop, and `close` it.

    Args:
        store: where to write.
        interval: seconds between the beginnings of two transactions, where several runs write.
        write_timeout: seconds that one may take; then what it writes is given up.
        watcher: told of each.
    """

    def __init__(
        self,
        store: Store,
        *,
        interval: float = 0.015,
        write_timeout: float = WRITE_TIMEOUT,
        watcher: Watcher = NOBODY,
    ) -> None:
        self._store: Final = store
        self._write_timeout: Final = write_timeout
        self._interval: Final = interval
        self._watcher: Final = watcher
        self._pages: WeakSet[Pages] = WeakSet()
        self._waiting: dict[Pages, None] = {}
        self._wake: asyncio.Event = asyncio.Event()
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None
        self._hanging: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._live(), name="llmkeep journal")

    def pages(self, key: int, publish: Publish, give_up: GiveUp) -> Pages:
        """What one run writes in."""
        pages = Pages(self, key, publish, give_up)
        self._pages.add(pages)
        return pages

    async def flush(self) -> None:
        """Wait until all that was added is written, or given up."""
        await self._idle.wait()

    async def close(self) -> None:
        """Write what is there, and end."""
        task, self._is_closing = self._task, True
        self._wake.set()
        if task is not None:
            await task

    def _has_more(self, pages: Pages) -> None:
        self._waiting[pages] = None
        self._idle.clear()
        self._wake.set()

    async def _live(self) -> None:
        try:
            await self._write_on()
        except BaseException as error:
            # Whoever waits for what it writes would wait for ever.
            for pages in [*self._pages]:
                pages._lost(error)
            self._idle.set()
            raise

    async def _write_on(self) -> None:
        loop = asyncio.get_running_loop()
        last, written = -self._interval, list[int]()
        while True:
            await self._wake.wait()
            if not self._waiting:
                self._idle.set()
                if self._is_closing:
                    return
                self._wake.clear()
                continue
            is_alone = len(written) == 1 and self._keys() == written
            early = last + self._interval - loop.time()
            if early > 0 and not is_alone and not self._is_closing:
                await asyncio.sleep(early)
            last, written = loop.time(), self._keys()
            await self._write_all()

    def _keys(self) -> list[int]:
        return [pages._key for pages in self._waiting]

    async def _write_all(self) -> None:
        """Write what there is, in one transaction, or else run by run."""
        waiting, self._waiting = [*self._waiting], {}
        error = await self._tried(waiting)
        if error is None:
            return
        is_apart = len(waiting) > 1 and not isinstance(error, TimeoutError | Unavailable)
        for pages in waiting:
            # Alone and once: the whole has been tried often enough.
            alone = await self._write([pages]) if is_apart else error
            if alone is not None:
                pages._lost(alone)

    async def _tried(self, waiting: Sequence[Pages]) -> Exception | None:
        """Write them, several times if need be; gives why it failed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._write_timeout
        for pause in (*RETRIES, None):
            error = await self._write(waiting)
            if error is None or pause is None or loop.time() >= end:
                return error
            logger.warning("writing failed, trying again: %s", type(error).__name__)
            await asyncio.sleep(pause)
        raise AssertionError("the last try gives what it comes to")

    async def _write(self, waiting: Sequence[Pages]) -> Exception | None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        changes = [change for pages in waiting for change in pages._take()]
        try:
            await self._written(changes)
        except Exception as error:
            self._watcher.write_failed()
            return error
        events = sum(pages._events for pages in waiting)
        self._watcher.batch_written(events, loop.time() - began)
        for pages in waiting:
            pages._written()
        return None

    async def _written(self, changes: Sequence[Change]) -> None:
        """Write these; raises what the store raises, and TimeoutError for one that hangs."""
        if not changes:
            return
        # In a task: a store lets nobody out of the middle of a transaction.
        writing = asyncio.create_task(self._store.write(changes))
        done, _ = await asyncio.wait({writing}, timeout=self._write_timeout)
        if not done:
            writing.add_done_callback(_forget)
            self._hanging = writing
            raise TimeoutError("the store does not write")
        writing.result()


def _forget(writing: asyncio.Task[None]) -> None:
    """It took too long; what it came to makes no difference any more."""
    if not writing.cancelled():
        writing.exception()
