"""One run while it lives: its task, its events, and how it ends. It knows nothing of connections.

    pending -> running -> ended

A pending run waits for its turn in its thread. Then it finds out where it hangs, tells its first
events, asks the agent, tells what that tells, and ends in one terminal event, which is written
with the run's status in one transaction. Whatever goes wrong in between becomes that event.

Two tasks: one lives as long as the run and is never cancelled; the other does the work, and is
cancelled where the agent cannot be asked to stop.

An edition for several processes carries the frames of `tail` between them: this is the place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, final

from ag_ui.core import (
    Event,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunStartedEvent,
    TextMessageContentEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from llmkeep.agents import ConversationHandler
from llmkeep.agents.faults import told_to_user
from llmkeep.service.errors import ServiceError
from llmkeep.service.interfaces import Change, MessagesPut, RunChanged, TitleGiven
from llmkeep.service.records import Frame, Run, RunRequest, Thread

from . import events as told
from .attendance import Attendance
from .events import Terminal
from .fold import Fold
from .journal import Journal
from .placing import Placed, Placer
from .plan import Plan
from .tail import Tail
from .watching import Watcher

logger = logging.getLogger(__name__)

#: Seconds between two tries to stop an agent that is just beginning, and how many there are.
_STOP_AGAIN: Final = 0.02
_STOP_TRIES: Final = 15

#: Seconds that the work gets to end after it was stopped, and once more after it was cancelled;
#: then the run ends without it.
PATIENCE: Final = 12.0


class Handlers(Protocol):
    """Gives the agent that answers."""

    async def handler(self, user: str, model: str | None) -> ConversationHandler:
        """One for a run of this user with this model; None: the default one."""

    def will_load(self, model: str | None) -> bool:
        """Whether the model has to be built first."""

    async def name(self, model: str | None) -> str:
        """The model as `provider:model`.

        Raises Invalid for one that is not configured, and Unavailable where there is none.
        """


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all live runs share."""

    handlers: Handlers
    journal: Journal
    placer: Placer
    place: Callable[[Run, RunRequest], Awaitable[Placed]]
    """Finds out where a run hangs, at its turn. Raises ServiceError where it hangs nowhere."""
    watcher: Watcher
    around: Callable[[Run], AbstractContextManager[object]]
    """Entered in the run's task for its turn: its log lines and spans."""
    ended: Callable[[LiveRun], None]
    """Told when all of the run is stored, or given up."""
    is_draining: Callable[[], bool]
    now: Callable[[], datetime]
    run_timeout: float
    patience: float = PATIENCE


@final
class LiveRun:
    """Lives from the request until all of it is stored.

    Args:
        run: as it was added to the store.
        asked: the request.
        thread: that it belongs to.
        placed: where it hangs, if that is known before its turn.
        shared: what it shares with the others.
    """

    def __init__(
        self,
        run: Run,
        asked: RunRequest,
        thread: Thread,
        placed: Placed | None,
        shared: Surroundings,
    ) -> None:
        self.asked: Final = asked
        self.tail: Final = Tail()
        self.attendance: Final = Attendance(run.on_disconnect, lambda: self.stop("disconnected"))
        #: Set when all of it is stored, or given up.
        self.over: Final = asyncio.Event()
        self.is_unstored = False
        self.stop_code: str | None = None
        #: As it was added, as it is once it runs, and as it has ended: see `record`.
        self._pending: Final = run
        self._running = run
        self._ended: Run | None = None
        self._thread: Final = thread
        self._placed: Final = placed
        self._shared: Final = shared
        self._pages: Final = shared.journal.pages(run.key, self.tail.publish, self._given_up)
        self._fold: Final = Fold(run.run_id, shared.now)
        self._number = 0
        self._turn: Final = asyncio.Event()
        self._began_at: float | None = None
        self._elsewhere: Mapping[str, str] = {}
        self._has_said = False
        self._has_spoken = False
        self._handler: ConversationHandler | None = None
        self._work: asyncio.Task[None] | None = None
        self._abandoned: Final = asyncio.get_running_loop().create_future()
        self._timers: Final[list[asyncio.TimerHandle]] = []
        #: How the work came to its end; None: it was cut.
        self._outcome: Terminal | None = None
        self._task: Final = asyncio.create_task(self._live(), name=f"llmkeep run {run.run_id}")

    def __repr__(self) -> str:
        return f"<LiveRun {self._pending.run_id!r}: {self.record.status}, {self._number} events>"

    # --- from outside ------------------------------------------------------------------------

    @property
    def record(self) -> Run:
        """As the store has it: what has been told is not true before it is stored."""
        run = self._running if self.tail.last else self._pending
        if self.tail.is_over and self._ended is not None:
            run = self._ended
        return replace(run, last_event=self.tail.last)

    @property
    def is_ending(self) -> bool:
        """Whether it has been stopped, or has told its end."""
        return self.stop_code is not None or self._ended is not None

    @property
    def will_say(self) -> bool:
        """Whether its messages are, or will be, messages of the thread.

        Those of a run that was stopped before its turn are not; but they are where the server's
        end is what stopped it.
        """
        return self._has_said or self.stop_code in (None, "shutdown")

    def begin(self) -> None:
        """Its turn in the thread has come."""
        self._turn.set()

    def stop(self, code: str) -> bool:
        """Stop it; gives whether it was neither stopped nor at its end before."""
        if self.is_ending:
            return False
        self.stop_code = code
        if self._work is not None:
            self._stop_work(self._work)
        elif not self.will_say:
            self._turn.set()
        return True

    def later(self, seconds: float, callback: Callable[..., object], *arguments: object) -> None:
        """Call that in so many seconds, if the run is not over then."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, callback, *arguments))

    # --- its life ----------------------------------------------------------------------------

    async def _live(self) -> None:
        await self._turn.wait()
        try:
            if self.will_say:
                await self._take_turn()
        except Exception as error:
            self._failed(error)
        try:
            self._finish()
        except Exception as error:
            self._given_up(error)
        try:
            await self._pages.settled()
            self._count()
        finally:
            for timer in self._timers:
                timer.cancel()
            self.over.set()
            self._shared.ended(self)

    async def _take_turn(self) -> None:
        shared = self._shared
        self._began_at = asyncio.get_running_loop().time()
        shared.watcher.run_began()
        with shared.around(self._pending):
            self._work = work = asyncio.create_task(self._answer())
            self.later(shared.run_timeout, self.stop, "timeout")
            await asyncio.wait({work, self._abandoned}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                logger.error("the work of a run does not end: it is left to itself")
                work.add_done_callback(_forget)
            elif not work.cancelled() and (error := work.exception()) is not None:
                self._failed(error)

    def _count(self) -> None:
        if self._began_at is not None:
            seconds = asyncio.get_running_loop().time() - self._began_at
            self._shared.watcher.run_ended(self.record, seconds)

    def _failed(self, error: BaseException) -> None:
        """It ends with this, if it has not ended yet."""
        if isinstance(error, ServiceError):
            end = told.refused(error.detail, error.code)
        else:
            logger.error("a run failed by a fault of the service", exc_info=error)
            end = told.ended("internal")
        self._outcome = self._outcome or end

    # --- the work ----------------------------------------------------------------------------

    async def _answer(self) -> None:
        shared, run = self._shared, self._pending
        placed = self._placed or await shared.place(run, self.asked)
        self._elsewhere = placed.elsewhere
        self._say(placed)
        if self.stop_code is None and shared.is_draining():
            self.stop_code = "shutdown"
        if self.stop_code is not None:
            return
        try:
            if shared.handlers.will_load(run.model):
                self._tell(told.model_loading(run.model))
            self._handler = await shared.handlers.handler(run.user, run.model)
        except Exception as error:
            self._outcome = told.refused(*told_to_user(error))
            return
        question = shared.placer.question(self._thread, self.asked, placed)
        more: dict[str, Any] = {"taken": placed.taken} if self.asked.resume else {}
        stream = self._handler.run(question, run.thread_id, run_id=run.run_id, **more)
        async with aclosing(stream) as events:
            async for event in events:
                self._hear(event)
                await self._pages.room()

    def _hear(self, event: Event) -> None:
        """Tell what the agent tells; its first event is told already, its last one later."""
        if self._outcome is not None or isinstance(event, RunStartedEvent):
            return
        if isinstance(event, RunFinishedEvent | RunErrorEvent):
            self._outcome = event
            return
        if not self._has_spoken and isinstance(event, TextMessageContentEvent | ToolCallStartEvent):
            self._has_spoken = True
            began = self._began_at or 0.0
            self._shared.watcher.first_token(asyncio.get_running_loop().time() - began)
        if isinstance(event, ToolCallResultEvent) and event.tool_call_id in self._elsewhere:
            event = told.call_answered(event, self._elsewhere[event.tool_call_id])
        self._tell(event)

    def _stop_work(self, work: asyncio.Task[None]) -> None:
        self._ask_to_stop(work, _STOP_TRIES)
        self.later(self._shared.patience, work.cancel)
        self.later(2 * self._shared.patience, self._abandon)

    def _ask_to_stop(self, work: asyncio.Task[None], tries: int) -> None:
        """Let the agent end in order; one that has not begun, or has ended, is not there to ask."""
        if work.done() or self._outcome is not None:
            return
        if self._handler is None or not tries:
            work.cancel()
        elif not self._handler.stop(self._pending.thread_id):
            self.later(_STOP_AGAIN, self._ask_to_stop, work, tries - 1)

    def _abandon(self) -> None:
        if not self._abandoned.done():
            self._abandoned.set_result(None)

    # --- what it tells -----------------------------------------------------------------------

    def _say(self, placed: Placed) -> None:
        """The first events: that it runs, and what was said."""
        fields: dict[str, Any] = {"status": "running", "started_at": self._shared.now()}
        self._running = replace(self._pending, **fields)
        self._begin(placed.plan, RunChanged(self._pending.key, fields))
        if placed.title:
            title = TitleGiven(self._thread.key, placed.title)
            self._tell(told.thread_title(placed.title), title)

    def _begin(self, plan: Plan, *changes: Change) -> None:
        run = self._pending
        self._has_said = True
        self._tell(told.run_started(run.thread_id, run.run_id), *changes)
        resume = bool(self.asked.resume)
        self._tell(told.run_input(plan.parent_id, plan.messages, run.model, resume=resume))

    def _finish(self) -> None:
        """The last events: what ends all that is open, and the terminal one."""
        if self.is_unstored:
            return
        if not self._has_said:
            self._begin(Plan())
        end = self._terminal()
        waits = isinstance(getattr(end, "outcome", None), RunFinishedInterruptOutcome)
        for event in self._fold.closing(waits=waits):
            self._tell(event)
        fields = {**told.fields_of(end, self.stop_code), "ended_at": self._shared.now()}
        self._tell(end, RunChanged(self._pending.key, fields), is_terminal=True)
        self._ended = replace(self._running, **fields)

    def _terminal(self) -> Terminal:
        """The one terminal event: the agent's, or ours where we ended it."""
        end, run = self._outcome, self._pending
        if end is not None and not _is_cancelled(end):
            return end
        if self.stop_code is not None and self.stop_code in told.ENDINGS:
            return told.ended(self.stop_code, end)
        if end is not None or self.stop_code is not None:
            return told.cancelled(run.thread_id, run.run_id, end)
        logger.error("the agent of a run told no end")
        return told.ended("internal")

    def _tell(self, event: Event, *changes: Change, is_terminal: bool = False) -> None:
        if self._ended is not None:
            return  # work that was left to itself may still say something
        self._number += 1
        frame = Frame(self._number, told.serialised(event), is_terminal)
        if rows := self._fold.take(event):
            changes = (MessagesPut(self._thread.key, rows), *changes)
        self._pages.add(frame, changes)

    def _given_up(self, error: BaseException) -> None:
        """Nothing of it can be stored any more: its readers get an end that is not stored."""
        if self.is_unstored:
            return
        logger.error("a run cannot be stored", exc_info=error)
        self.is_unstored = True
        end = told.ended("unstored")
        fields = {**told.fields_of(end), "ended_at": self._shared.now()}
        self._ended = replace(self._running, **fields)
        self.tail.publish([Frame(self.tail.last + 1, told.serialised(end), is_terminal=True)])
        if self.stop_code is None:
            self.stop_code = "unstored"
            if self._work is not None:
                self._stop_work(self._work)


def _forget(work: asyncio.Task[None]) -> None:
    """It has ended after all; what it came to makes no difference any more."""
    if not work.cancelled():
        work.exception()


def _is_cancelled(end: Terminal) -> bool:
    if isinstance(end, RunErrorEvent):  # stopped before the agent could begin
        return end.code == "cancelled"
    return isinstance(end.outcome, RunFinishedCancelledOutcome)
