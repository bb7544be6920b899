"""A conversation as it is stored: what is in it, what a stop or a crash left open, what waits.

Every call of a tool must have its answer in what is stored, or a provider refuses the conversation
for ever. LangGraph stores a step when all of it has ended; the results of those that ended earlier
are pending writes, which the next input drops. So both are mended in one update: the results that
are there, and an answer for each call that has none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ag_ui.core import ResumeEntry
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, StateSnapshot
from langgraph.types import Interrupt as GraphInterrupt

from .answers import LOST, PASSED_OVER, answer_to
from .approvals import NotWaiting, call_of, expiry_of, resumption, token_of
from .context import RunContext
from .graphs import Graph
from .history import Answering, NothingToAnswer, Turn, asked, ids_of, sound
from .pruning import prune

#: The pending write that says which waiting calls have had their answer, and its task.
_ANSWERED: Final = "llmkeep.answered"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a conversation holds; a look at one moment."""

    messages: Sequence[BaseMessage]
    said: Sequence[AIMessage]
    """Of the last step, where it has not ended: these messages of the model are pending writes."""
    results: Sequence[ToolMessage]
    """Of the last step, where it has not ended: so are these answers of tools."""
    waiting: Mapping[str, GraphInterrupt]
    """What waits for a person, by the interrupt's id."""
    was_answered: frozenset[str]
    """Calls that somebody has approved or declined: the run that went on with them has died."""

    @property
    def ids(self) -> Iterator[str | None]:
        """Of all messages and calls."""
        return ids_of(self.messages)

    @property
    def waiting_calls(self) -> dict[str, str]:
        """The calls that wait for approval, and until when."""
        asked = ((call_of(each), expiry_of(each)) for each in self.waiting.values())
        return {call: expiry or "" for call, expiry in asked if call is not None}

    @property
    def lost_calls(self) -> frozenset[str]:
        """The calls that had begun in a run that has died: they must not begin again."""
        waiting = self.waiting_calls
        if len(waiting) < len(self.waiting):  # some call asks a question of its own
            return self.was_answered
        return frozenset(call["id"] or "" for call in self.unanswered if call["id"] not in waiting)

    @property
    def head(self) -> str | None:
        """The id of the last message; None: there is none."""
        return self.messages[-1].id if self.messages else None

    def answer_for(self, call: ToolCall) -> ToolMessage:
        """The answer to a call that has none, now that somebody says something else."""
        if call["id"] in self.waiting_calls:
            return answer_to(call, PASSED_OVER, "declined")
        return answer_to(call, LOST, "cancelled")

    @property
    def is_cut(self) -> bool:
        """Whether a run has ended where the next cannot go on."""
        return bool(self.unanswered or self.said or self.results)

    @property
    def unanswered(self) -> list[ToolCall]:
        """The calls that have no answer."""
        answered = {message.tool_call_id for message in self.results}
        answered |= {each.tool_call_id for each in self.messages if isinstance(each, ToolMessage)}
        return [call for call in _last_calls(self.messages) if call["id"] not in answered]


@dataclass(frozen=True, slots=True)
class Begun:
    """What a turn begins with."""

    messages: Sequence[BaseMessage]
    """All that is stored now."""
    added: Sequence[ToolMessage]
    """Answers that the application does not have."""


class Conversation:
    """One thread of a saver, for the length of one run that has its turn."""

    def __init__(
        self, graph: Graph, saver: BaseCheckpointSaver[Any], thread_id: str, max_steps: int
    ) -> None:
        self._saver: Final = saver
        self._thread: Final = thread_id
        self._graph: Final = graph.copy({"checkpointer": saver})
        self._config: Final[RunnableConfig] = {
            "configurable": {"thread_id": thread_id},
            "recursion_limit": max_steps,
        }

    async def stored(self) -> Stored:
        """Look at what is stored."""
        state = await self._graph.aget_state(self._config)
        waiting = {each.id: each for task in state.tasks for each in task.interrupts}
        was_answered: set[str] = set()
        if waiting:
            tokens = await self._answered_tokens()
            was_answered = {call_of(e) or "" for e in waiting.values() if token_of(e) in tokens}
            waiting = {key: each for key, each in waiting.items() if token_of(each) not in tokens}
        messages = state.values.get("messages", ())
        called = {call["id"] for call in _last_calls(messages)}
        pending = _pending_in(state)
        return Stored(
            messages=messages,
            said=[each for each in pending if isinstance(each, AIMessage)],
            results=[
                each
                for each in pending
                if isinstance(each, ToolMessage) and each.tool_call_id in called
            ],
            waiting=waiting,
            was_answered=frozenset(was_answered),
        )

    async def mend(self, answering: Answering, last: AIMessage | None = None) -> list[ToolMessage]:
        """Answer every call that has no answer, and keep the last message, if it was not stored.

        Gives the answers that it added.
        """
        stored = await self.stored()
        added = [answering(call) for call in stored.unanswered]
        if stored.said:  # cut between the model's step and the next
            await self._update([*stored.said, *stored.results, *added], as_node="model")
        elif added or stored.results:
            # With LangGraph 1.2 the one way that keeps the results of a step that was cut short.
            await self._update([*stored.results, *added], as_node="tools")
        if last is not None and last.id not in stored.ids:
            more = [answering(call) for call in last.tool_calls]
            await self._update([last, *more], as_node="model")
            added += more
        return added

    async def begin(self, message: str, stored: Stored) -> list[ToolMessage]:
        """Store a message of the user, after mending what was left; gives the answers it added."""
        added = await self.mend(stored.answer_for) if stored.is_cut else []
        await self._update(asked([HumanMessage(message)]), as_node="__start__")
        return added

    async def begin_turn(self, turn: Turn, stored: Stored) -> Begun:
        """Store a turn's messages, behind those that are to stand before them.

        Raises NothingToAnswer, and what `turn.load` raises.
        """
        new = asked(turn.messages)
        if turn.is_cut or stored.head != turn.head:
            return await self._rebuild(turn, new, stored)
        added = await self.mend(stored.answer_for) if stored.is_cut else []
        path = [*stored.messages, *added]
        # The last message, stored once more, is answered once more.
        await self._update(new or [_to_answer(path)], as_node="__start__")
        return Begun([*path, *new], added)

    async def _rebuild(self, turn: Turn, new: Sequence[BaseMessage], stored: Stored) -> Begun:
        """Store the application's messages in place of those that are here, and the new ones."""
        loaded = await turn.load() if turn.head is not None and turn.load is not None else ()
        path, added = sound(loaded, stored.answer_for)
        if not new:
            _to_answer(path)
        # In one update: there is no moment at which half of it is stored.
        everything = [RemoveMessage(REMOVE_ALL_MESSAGES), *path, *new]
        await self._update(everything, as_node="__start__")
        here = {each.tool_call_id for each in path if isinstance(each, ToolMessage)}
        passed_over = [
            stored.answer_for(call)
            for call in stored.unanswered
            if call["id"] in stored.waiting_calls and call["id"] not in here
        ]
        return Begun([*path, *new], [*added, *passed_over])

    async def resume(self, answers: Iterable[ResumeEntry], stored: Stored) -> Command[Any]:
        """Store that the answers were given; gives what the graph goes on with.

        Raises NotWaiting for an answer to what does not wait, and BadAnswer.
        """
        resumptions: dict[str, Any] = {}
        for answer in answers:
            waiting = stored.waiting.get(answer.interrupt_id)
            if waiting is None:
                raise NotWaiting("this call does not wait for an answer, or no longer")
            resumptions[answer.interrupt_id] = resumption(waiting, answer)
        if not resumptions:
            raise NotWaiting("no answer was given: name the interrupts that are answered")
        await self._store_answered(token_of(stored.waiting[each]) for each in resumptions)
        return Command(resume=resumptions)

    async def run(self, given: Command[Any] | None, context: RunContext) -> Mapping[str, Any]:
        """Let the graph work until it ends or waits for somebody; gives its last state."""
        # `sync`: a call is stored before its tool runs, or a crash would leave a result alone.
        return await self._graph.ainvoke(given, self._config, context=context, durability="sync")

    async def prune(self) -> None:
        """Drop what is stored of earlier steps."""
        await prune(self._saver, self._thread)

    async def _update(self, messages: Sequence[BaseMessage], as_node: str) -> None:
        await self._graph.aupdate_state(self._config, {"messages": messages}, as_node=as_node)

    # --- which answers were given: pending writes of the checkpoint that waits -----------------

    async def _answered_tokens(self) -> set[str | None]:
        saved = await self._saver.aget_tuple(self._config)
        writes = (saved.pending_writes if saved is not None else None) or ()
        return {token for _, channel, tokens in writes if channel == _ANSWERED for token in tokens}

    async def _store_answered(self, tokens: Iterable[str | None]) -> None:
        saved = await self._saver.aget_tuple(self._config)
        assert saved is not None
        known = [token for token in tokens if token is not None]
        # A task of its own for each: LangGraph takes the writes of tasks that it knows.
        await self._saver.aput_writes(saved.config, [(_ANSWERED, known)], str(uuid.uuid4()))


def _to_answer(path: Sequence[BaseMessage]) -> BaseMessage:
    """The last message, which the model has not answered. Raises NothingToAnswer."""
    if not path or isinstance(path[-1], AIMessage):
        raise NothingToAnswer("the last message has its answer: say something, or say what to redo")
    return path[-1]


def _last_calls(messages: Sequence[BaseMessage]) -> Sequence[ToolCall]:
    """The calls of the last message that can have any: after it there are answers alone."""
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            return message.tool_calls
        if not isinstance(message, ToolMessage):
            break
    return ()


def _pending_in(state: StateSnapshot) -> list[BaseMessage]:
    """The messages of a step that was cut short: pending writes, which the next input drops."""
    found: list[BaseMessage] = []
    for task in state.tasks:
        result = task.result if isinstance(task.result, Mapping) else {}
        messages = result.get("messages", ())
        several = messages if isinstance(messages, list | tuple) else (messages,)
        found += [message for message in several if isinstance(message, BaseMessage)]
    return found
