"""One run: the graph works in a task of its own, and its events are read from here.

The task is what makes a stop a stop. It is cancelled once: when somebody stops the run, or when the
reader goes away (it closes the stream, is cancelled, or lets it be collected). Then it puts the
conversation in order, tells how it ended, and ends; nothing disturbs it in that.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, final
from weakref import WeakSet

from ag_ui.core import Event, ResumeEntry
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command
from langgraph.types import Interrupt as GraphInterrupt

from llmkeep.core.errors import LLMKeepError
from llmkeep.core.fork import on_fork_in_child

from .approvals import told
from .context import RunContext
from .conversation import Conversation
from .faults import told_to_user
from .graphs import Graph
from .history import Turn, ids_of
from .listening import Listener
from .memory import ConversationMemory
from .observing import Observe
from .stopping import ended, stop, undisturbed
from .translate import Translator
from .turns import turn

logger = logging.getLogger(__name__)

Question = str | Turn | Sequence[ResumeEntry]
"""A message of the user, a turn of an application's own history, or answers to what waits."""


class RunCancelled(LLMKeepError):
    """The run was stopped."""

    code = "cancelled"


class RunInterrupted(LLMKeepError):
    """The run waits for a person; `handler.resume` goes on with it."""


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run works with; it is got ready inside the run, whose error is then told as any."""

    graph: Graph
    context: Callable[[Listener], RunContext]


class _Running:
    """The runs of this process that have the turn in their conversation.

    Weakly: a run whose loop was closed under it is collected, and gives its turn back.
    """

    def __init__(self) -> None:
        self.runs: WeakSet[Run]
        self._start_over()
        on_fork_in_child(self, "_start_over")

    def _start_over(self) -> None:
        self.runs = WeakSet()


_running: Final = _Running()


def stop_run(saver: BaseCheckpointSaver[Any], thread_id: str) -> bool:
    """Stop the run that has the turn in a conversation; from any thread, or a signal handler.

    Gives whether there is one that had not been stopped. It is not waited for: its reader gets the
    end. Those that wait for their turn go on.
    """
    return any(run.is_in(saver, thread_id) and run.stop() for run in _running.runs.copy())


@final
class Run:
    """One message and its answer; lives until its events have been read, or nobody reads on."""

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        thread_id: str,
        session_id: str,
        prepare: Callable[[], Awaitable[Prepared]],
        *,
        provider: str,
        model: str,
        max_steps: int,
        observe: Observe,
        run_id: str | None = None,
        taken: Collection[str] = (),
    ) -> None:
        self.id: Final = run_id or str(uuid.uuid4())
        #: Why it failed, or did not come to its end, once it has.
        self.error: Exception | None = None
        self._saver: Final = saver
        self._thread: Final = thread_id
        self._prepare: Final = prepare
        self._max_steps: Final = max_steps
        self._translator: Final = Translator(session_id, self.id)
        self._translator.take(taken)
        self._listener: Final = Listener(self._translator, self._tell, provider, model, observe)
        self._events: asyncio.Queue[Event | None]
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def is_in(self, saver: BaseCheckpointSaver[Any], thread_id: str) -> bool:
        """Whether it is a run of this conversation."""
        return self._saver is saver and self._thread == thread_id

    def stop(self) -> bool:
        """Stop it, from wherever; gives whether it had not been stopped before and was running."""
        task = self._task
        if task is None or task.done() or self._is_stopped:
            return False
        self._is_stopped = True
        try:
            task.get_loop().call_soon_threadsafe(task.cancel)
        except RuntimeError:  # its loop has been closed under it
            return False
        return True

    async def events(self, question: Question) -> AsyncGenerator[Event, None]:
        """Answer; the last event is the one terminal event."""
        self._events = asyncio.Queue()
        self._task = task = asyncio.create_task(self._live(question), name=f"llmkeep run {self.id}")
        task.add_done_callback(self._end)
        try:
            while (event := await self._events.get()) is not None:
                yield event
        finally:
            # Once: a second cancellation would reach what LangGraph does about the first.
            already, self._is_stopped = self._is_stopped, True
            await (ended(task) if already else stop(task))

    def _end(self, task: asyncio.Task[None]) -> None:
        _running.runs.discard(self)
        if task.cancelled():  # before it could begin
            self._fail(RunCancelled("the run was stopped before it began"))
        elif (error := task.exception()) is not None:
            self._fail(error)
        self._events.put_nowait(None)

    async def _live(self, question: Question) -> None:
        try:
            async with turn(self._saver, self._thread):
                with _held(self._saver, self._thread):
                    await self._take_turn(question)
        except Exception as error:
            self._fail(error)

    async def _take_turn(self, question: Question) -> None:
        _running.runs.add(self)
        prepared = await self._prepare()
        conversation = Conversation(prepared.graph, self._saver, self._thread, self._max_steps)
        await self._answer(conversation, question, prepared.context(self._listener))

    async def _answer(
        self, conversation: Conversation, question: Question, context: RunContext
    ) -> None:
        """The run, once it has its turn: whatever happens then, the conversation is in order."""
        given = await self._begin(conversation, question)
        interrupts: Sequence[GraphInterrupt] = ()
        try:
            interrupts = (await conversation.run(given, context)).get("__interrupt__", ())
        except asyncio.CancelledError:
            self.error = RunCancelled("the run was stopped")
        except Exception as error:
            self.error = error
        else:
            if interrupts:
                self.error = RunInterrupted("a tool call waits for approval: see `resume`")
        await undisturbed(self._settle(conversation, interrupts))

    async def _begin(self, conversation: Conversation, question: Question) -> Command[Any] | None:
        """Store what was said, then announce the run; gives what the graph starts from."""
        stored = await conversation.stored()
        self._translator.take(stored.ids)
        given: Command[Any] | None = None
        mended: Sequence[ToolMessage] = ()
        if isinstance(question, str):
            mended = await conversation.begin(question, stored)
        elif isinstance(question, Turn):
            begun = await conversation.begin_turn(question, stored)
            self._translator.take((*question.taken, *ids_of(begun.messages)))
            mended = begun.added
        else:
            self._listener.goes_on(stored.waiting_calls, stored.lost_calls)
            given = await conversation.resume(question, stored)
        self._tell(self._translator.started())
        self._tell(self._translator.results(mended))
        return given

    async def _settle(
        self, conversation: Conversation, interrupts: Sequence[GraphInterrupt]
    ) -> None:
        """Mend what a stop or a failure left, drop what is not needed, and tell the end."""
        listener, translator = self._listener, self._translator
        if self.error is not None and not interrupts:
            added = await conversation.mend(listener.answer_for, listener.unstored())
            self._tell(translator.results(listener.not_told(added)))
        await conversation.prune()
        match self.error:
            case None:
                self._tell(translator.finished(listener.spent))
            case RunInterrupted():
                waiting = [told(each) for each in interrupts]
                self._tell(translator.interrupted(waiting, listener.spent))
            case RunCancelled():
                self._tell(translator.cancelled(listener.spent))
            case error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.error = error if isinstance(error, Exception) else RunCancelled(repr(error))
        text, code = told_to_user(error)
        if code == "storage":  # whoever runs this has to see to it
            logger.error("run %s failed: %s", self.id, text, exc_info=error)
        else:
            logger.info("run %s failed: %s", self.id, text)
        self._tell(self._translator.failed(text, code, self._listener.spent))

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._events.put_nowait(event)


def _held(saver: BaseCheckpointSaver[Any], thread_id: str) -> AbstractContextManager[object]:
    """Our own saver in memory forgets conversations; not one that is being answered."""
    return saver.hold(thread_id) if isinstance(saver, ConversationMemory) else nullcontext()
