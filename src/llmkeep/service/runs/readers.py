"""Readers: they follow a run from any point, while it lives or when it has ended.

A reader pulls: it comes with the number of the event that it has, and gets what is there, from the
run's tail if it is near the end of a live run, else from the store. Nothing is queued for it, so a
slow one holds up nothing.

From n it gets the events n+1, n+2 .. up to the terminal one, each once. A log that has been
compacted gives instead the first event, a snapshot of the messages, and the terminal event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Self, final

from llmkeep.service.interfaces import Store
from llmkeep.service.records import Frame, Run

from .live_run import LiveRun
from .snapshot import snapshot
from .tail import BATCH_CHARACTERS
from .watching import Watcher

#: Events that are read from the store at a time: as many as make a batch of the usual size.
FIRST_PAGE: Final = 32
LARGEST_PAGE: Final = 512


@final
class Reader:
    """Follows one run: an asynchronous context manager, and an iterator of batches of frames.

    Leaving it is what `on_disconnect` is about; it never waits. Reading raises what the store
    raises: that is no end of the run, and who reads from the same number on misses nothing.

    Args:
        store: where older events are.
        run: a look at it.
        live: the run, if it lives.
        after: the number of the last event that the reader has; 0: none.
        is_starter: whether it is the connection of the request that started the run.
        mend: brings a run to its end that could not be stored; gives its last events.
        watcher: told of the reader.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        live: LiveRun | None,
        *,
        after: int,
        is_starter: bool,
        mend: Callable[[], Awaitable[Sequence[Frame]]],
        watcher: Watcher,
    ) -> None:
        self._store: Final = store
        self._run: Final = run
        self._live: Final = live
        self._is_starter: Final = is_starter
        self._mend: Final = mend
        self._watcher: Final = watcher
        self._number = after
        self._page = FIRST_PAGE
        self._is_done = False
        self._is_inside = False

    async def __aenter__(self) -> Self:
        self._is_inside = True
        self._watcher.reader_opened()
        if self._live is not None:
            self._live.attendance.came(is_starter=self._is_starter)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_inside:
            self._is_inside = False
            self._watcher.reader_closed()
            if self._live is not None:
                self._live.attendance.left(is_starter=self._is_starter)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Frame]:
        """The frames that are there now, at least one; ends after the terminal one."""
        if self._is_done:
            raise StopAsyncIteration
        frames = self._told(await self._next())
        if not frames:
            raise StopAsyncIteration
        return frames

    async def _next(self) -> Sequence[Frame]:
        if self._live is not None:
            await self._live.tail.more(self._number)
            frames = self._live.tail.behind(self._number)
            if frames is not None:
                return frames or self._end_for_one_ahead(self._live.tail.end)
        return await self._stored()

    def _end_for_one_ahead(self, end: Frame | None) -> Sequence[Frame]:
        """The terminal frame, for a reader that says it has more events than there are."""
        return [end] if end is not None and end.number < self._number else ()

    def _told(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        if not frames or frames[-1].is_terminal:
            self._is_done = True
        if frames:
            self._number = frames[-1].number
        return frames

    async def _stored(self) -> Sequence[Frame]:
        """The next page from the store."""
        frames = await self._store.events(self._run, after=self._number, limit=self._page)
        size = sum(len(frame.data) for frame in frames) or 1
        self._page = min(LARGEST_PAGE, 1 + BATCH_CHARACTERS * len(frames) // size)
        if not frames and self._live is None:
            last = await self._store.events(self._run, after=self._run.last_event - 1, limit=1)
            end = last[-1] if last and last[-1].is_terminal else None
            return self._end_for_one_ahead(end) if end is not None else await self._mended()
        if frames and frames[0].number > self._number + 1:
            return await self._compacted(frames)
        is_first_of_two = len(frames) == 2 and frames[1].number > frames[0].number + 1
        return await self._compacted(frames) if is_first_of_two else frames

    async def _mended(self) -> Sequence[Frame]:
        """No more events, and no end: a run that could not be stored is brought to its end."""
        return [each for each in await self._mend() if each.number > self._number]

    async def _compacted(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """What there is of a compacted log: a snapshot stands for all that was dropped."""
        last = frames[-1]
        if self._number < last.number - 1:
            messages = await snapshot(self._store, self._run)
            return [*frames[:-1], Frame(last.number - 1, messages), last]
        return frames
