"""One run: the graph works in a task of its own, and its events are read from here.

The task is what makes a stop a stop: when the reader goes away (it closes the stream, is cancelled,
or lets it be collected), the task is cancelled and waited for.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, final

from ag_ui.core import Event
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from llmkeep.core.errors import LLMKeepError

from .faults import told_to_user
from .graphs import Graph, RunContext
from .memory import ConversationMemory, UserId, thread_of
from .stopping import stop
from .translate import Translator

logger = logging.getLogger(__name__)


class RunCancelled(LLMKeepError):
    """Somebody else cancelled the run's own task."""


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run works with; it is got ready inside the run, whose error is then told as any."""

    graph: Graph
    context: RunContext
    checkpointer: BaseCheckpointSaver[Any]


@final
class Run:
    """One message and its answer; lives until its events have been read, or nobody reads on."""

    def __init__(
        self,
        user_id: UserId,
        session_id: str,
        prepare: Callable[[], Awaitable[Prepared]],
        max_steps: int,
    ) -> None:
        self.id: Final = str(uuid.uuid4())
        #: Why it failed, once it has.
        self.error: Exception | None = None
        self._prepare: Final = prepare
        self._thread: Final = thread_of(user_id, session_id)
        self._max_steps: Final = max_steps
        self._translator: Final = Translator(session_id, self.id)
        self._events: asyncio.Queue[Event | None]

    async def events(self, message: str) -> AsyncGenerator[Event, None]:
        """Answer `message`; the last event is the one terminal event."""
        self._events = asyncio.Queue()
        task = asyncio.create_task(self._answer(message), name=f"llmkeep run {self.id}")
        task.add_done_callback(lambda _task: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                yield event
            if task.cancelled():  # not by us: somebody cancels every task there is
                self.error = RunCancelled("the run was cancelled")
                for event in self._translator.failed(str(self.error), "cancelled"):
                    yield event
        finally:
            await stop(task)

    async def _answer(self, message: str) -> None:
        self._tell(self._translator.started())
        try:
            await self._ask(message, await self._prepare())
        except Exception as error:
            self.error = error
            text, code = told_to_user(error)
            logger.info("run %s failed: %s", self.id, text)
            self._tell(self._translator.failed(text, code))
        else:
            self._tell(self._translator.finished())

    async def _ask(self, message: str, prepared: Prepared) -> None:
        question = HumanMessage(message, id=str(uuid.uuid4()))
        graph = prepared.graph.copy({"checkpointer": prepared.checkpointer})
        config: RunnableConfig = {
            "configurable": {"thread_id": self._thread},
            "recursion_limit": self._max_steps,
        }
        with _held(prepared.checkpointer, self._thread):
            items: AsyncIterator[Any] = graph.astream(
                {"messages": [question]}, config, context=prepared.context, stream_mode="messages"
            )
            async for item, metadata in items:
                self._tell(self._translator.message(item, metadata))

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._events.put_nowait(event)


def _held(saver: BaseCheckpointSaver[Any], thread: str) -> AbstractContextManager[object]:
    """Our own saver forgets conversations; not one that is being answered."""
    return saver.hold(thread) if isinstance(saver, ConversationMemory) else nullcontext()
