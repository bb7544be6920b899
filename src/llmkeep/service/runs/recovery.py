"""Recovery: the end of a run that has none, because its process was killed or could not store it.

What is in its log is folded as it was when it lived; what was still arriving becomes a partial
message, calls without an answer are answered as cancelled, and a RUN_ERROR follows. A run that had
not begun says its messages first: whoever sent them has been told that they were taken. All this
is one transaction for each run, so it can be begun again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, final

from ag_ui.core import Event, RunErrorEvent, RunFinishedEvent

from llmkeep.service.errors import ServiceError
from llmkeep.service.interfaces import (
    Change,
    EventsAdded,
    MessagesPut,
    RunChanged,
    Store,
    TitleGiven,
)
from llmkeep.service.records import Frame, Message, Run

from . import events as told
from .events import Terminal
from .fold import Fold
from .placing import Placed, Placer
from .plan import Plan
from .requests import asked_of

logger = logging.getLogger(__name__)

#: Events that are read at a time.
_PAGE: Final = 500


async def recover(store: Store, placer: Placer, now: Callable[[], datetime]) -> Sequence[Run]:
    """End all runs that a process before this one has left; gives those that have none yet.

    One that cannot be brought to its end is no reason not to serve the others.
    """
    left = await store.unfinished_runs()
    if left:
        logger.warning("%d runs were cut by the end of the server before", len(left))
    remaining: list[Run] = []
    for run in left:
        try:
            await mend(store, placer, run, now)
        except Exception:
            logger.exception("run %s cannot be brought to its end", run.run_id)
            remaining.append(run)
    return remaining


async def mend(
    store: Store, placer: Placer, run: Run, now: Callable[[], datetime]
) -> Sequence[Frame]:
    """End one run that does not live; gives its last events.

    Raises what the store raises: then nothing has been written.
    """
    ending = _Ending(run, now)
    await ending.read(store)
    if ending.end is None:
        if not ending.has_begun:
            ending.begin(await _placed(placer, run))
        ending.close(told.ended("interrupted"))
    await store.write(ending.changes())
    return ending.frames


async def _placed(placer: Placer, run: Run) -> Placed:
    try:
        return await placer.at_turn(run, asked_of(run))
    except ServiceError:  # what it was to answer is not there any more
        return Placed(plan=Plan())


@final
class _Ending:
    """The last events of one run, and what follows from them; lives for its recovery."""

    def __init__(self, run: Run, now: Callable[[], datetime]) -> None:
        self.frames: list[Frame] = []
        #: Its terminal event, once there is one.
        self.end: Terminal | None = None
        self._run: Final = run
        self._now: Final = now
        self._fold: Final = Fold(run.run_id, now)
        self._rows: list[Message] = []
        self._titles: list[str] = []
        self._number = 0

    @property
    def has_begun(self) -> bool:
        """Whether it has told anything."""
        return self._number > 0

    async def read(self, store: Store) -> None:
        """Fold what it has told; the rows of that are stored."""
        while frames := await store.events(self._run, after=self._number, limit=_PAGE):
            for frame in frames:
                try:
                    event = told.parsed(frame.data)
                except ValueError:  # of another version of the protocol, or damaged
                    logger.exception("event %d cannot be read", frame.number)
                    continue
                self._fold.take(event)
                if isinstance(event, RunFinishedEvent | RunErrorEvent):
                    self.end = event
            self._number = frames[-1].number

    def begin(self, placed: Placed) -> None:
        """Tell what a run tells first."""
        run, plan = self._run, placed.plan
        self._tell(told.run_started(run.thread_id, run.run_id))
        self._tell(told.run_input(plan.parent_id, plan.messages, run.model, resume=False))
        if placed.title:
            self._tell(told.thread_title(placed.title))
            self._titles.append(placed.title)

    def close(self, end: Terminal) -> None:
        """Tell what ends all that is open, and the terminal event."""
        for event in self._fold.closing():
            self._tell(event)
        self._tell(end, is_terminal=True)
        self.end = end

    def changes(self) -> Sequence[Change]:
        """What is to be written."""
        assert self.end is not None, "it was closed"
        run = self._run
        changes: list[Change] = [TitleGiven(run.thread_key, each) for each in self._titles]
        if self.frames:
            changes.append(EventsAdded(run.key, self.frames))
        if self._rows:
            changes.append(MessagesPut(run.thread_key, self._rows))
        now = self._now()
        fields = {**told.fields_of(self.end), "ended_at": now}
        if run.started_at is None:
            fields["started_at"] = now
        return [*changes, RunChanged(run.key, fields)]

    def _tell(self, event: Event, *, is_terminal: bool = False) -> None:
        self._number += 1
        self.frames.append(Frame(self._number, told.serialised(event), is_terminal))
        self._rows += self._fold.take(event)
