"""An application that keeps a conversation's messages itself: a tree, folded from events by id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from ag_ui.core import Event, ToolCallResultEvent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from llmkeep.agents import StatefulAgent, Turn
from llmkeep.agents.answers import UNREADABLE
from llmkeep.agents.translate import arguments_of
from tests.agents.events import assert_well_formed
from tests.support.scripted_signal import PATIENCE
from tests.support.scripted_talk import Heard


@dataclass
class Row:
    """A message where people see it."""

    id: str
    parent: str | None
    role: str
    content: str = ""
    calls: dict[str, list[str]] = field(default_factory=dict)
    """Name and arguments, by id."""
    answers: str = ""
    """The call that it answers."""


class Application:
    """One thread of it, talking with an agent."""

    def __init__(self, agent: StatefulAgent, session: str = "s") -> None:
        self.agent = agent
        self.session = session
        self.rows: dict[str, Row] = {}
        self.head: str | None = None
        #: Which heads the agent asked the history of.
        self.loaded: list[str | None] = []
        #: Whether the last run did not come to its end.
        self.is_cut = False
        self._said = 0

    # --- what a person does ---

    async def say(self, *texts: str, under: str | None = "", **more: Any) -> Heard:
        """New messages, behind the head or under another message: an edit."""
        parent = self.head if under == "" else under
        return await self.read(self.turn(texts, parent), **more)

    async def redo(self, message: str | None = None) -> Heard:
        """Have a message answered, once more: a regeneration, or a retry."""
        self.head = self.head if message is None else message
        return await self.read(self.turn((), self.head))

    # --- its parts ---

    def turn(self, texts: Iterable[str], parent: str | None) -> Turn:
        """Store the messages, and give the turn that answers them."""
        self.head = parent
        new = []
        for text in texts:
            self._said += 1
            row = Row(f"user-{self._said}", self.head, "user", text)
            self.rows[row.id] = row
            self.head = row.id
            new.append(HumanMessage(text, id=row.id))

        async def load() -> Sequence[BaseMessage]:
            self.loaded.append(parent)
            return self.path(parent)

        return Turn(new, parent, load, self.beside(parent), self.is_cut)

    async def read(self, question: Any, *, earlier: Iterable[str] = (), **more: Any) -> Heard:
        """Run to the end; its events must be in order, whatever they are."""
        heard = Heard()
        async with (
            asyncio.timeout(2 * PATIENCE),
            aclosing(self.agent.run(question, self.session, **more)) as stream,
        ):
            async for event in stream:
                heard.hear(event)
                self.fold(event)
        known = {*earlier, *self._calls_before(heard.events)}
        assert_well_formed(
            [
                event
                for event in heard.events
                if not (isinstance(event, ToolCallResultEvent) and event.tool_call_id in known)
            ]
        )
        return heard

    def fold(self, event: Any) -> None:
        """Take an event into the tree. Whatever it tells names its message."""
        match event.type.value:
            case "TEXT_MESSAGE_START":
                self._assistant(event.message_id)
            case "TEXT_MESSAGE_CONTENT":
                self.rows[event.message_id].content += event.delta
            case "TOOL_CALL_START":
                calls = self._assistant(event.parent_message_id).calls
                assert event.tool_call_id not in self._calls()
                calls[event.tool_call_id] = [event.tool_call_name, ""]
            case "TOOL_CALL_ARGS":
                self._calls()[event.tool_call_id][1] += event.delta
            case "TOOL_CALL_RESULT":
                self._result(event)

    def path(self, message: str | None) -> list[BaseMessage]:
        """From the first message to this one, as the model is to know it."""
        found: list[BaseMessage] = []
        while message is not None:
            row = self.rows[message]
            found.append(_message(row))
            message = row.parent
        return found[::-1]

    def beside(self, message: str | None) -> set[str]:
        """The ids that are not on the path to this message."""
        on_path = {each.id for each in self.path(message)}
        return {
            name
            for row in self.rows.values()
            if row.id not in on_path
            for name in (row.id, *row.calls)
        }

    def answers_to(self, call: str) -> list[str]:
        """What is shown as its results."""
        return [row.content for row in self.rows.values() if row.answers == call]

    def _assistant(self, message_id: str) -> Row:
        if message_id not in self.rows:
            self.rows[message_id] = Row(message_id, self.head, "assistant")
            self.head = message_id
        row = self.rows[message_id]
        assert row.role == "assistant"
        return row

    def _result(self, event: ToolCallResultEvent) -> None:
        assert event.tool_call_id in self._calls(), "a result of a call that nobody knows"
        assert not self.answers_to(event.tool_call_id), "it is answered already"
        self.rows[event.message_id] = Row(
            event.message_id, self.head, "tool", str(event.content), answers=event.tool_call_id
        )
        self.head = event.message_id

    def _calls(self) -> dict[str, list[str]]:
        return {name: call for row in self.rows.values() for name, call in row.calls.items()}

    def _calls_before(self, events: Sequence[Event]) -> set[str]:
        begun = {e.tool_call_id for e in events if e.type.value == "TOOL_CALL_START"}  # type: ignore[union-attr]
        return {*self._calls()} - begun


def _message(row: Row) -> BaseMessage:
    """Plain: the tree knows nothing of what a provider puts beside a text."""
    match row.role:
        case "user":
            return HumanMessage(row.content, id=row.id)
        case "tool":
            return ToolMessage(row.content, id=row.id, tool_call_id=row.answers)
    calls = []
    for call, (name, came) in row.calls.items():
        if UNREADABLE not in (read := arguments_of(came or "{}", is_cut=True)):
            calls.append({"id": call, "name": name, "args": read})
    return AIMessage(row.content, id=row.id, tool_calls=calls)


async def drained(stream: AsyncGenerator[Event, None]) -> list[Event]:
    """Every event of a stream."""
    async with aclosing(stream):
        return [event async for event in stream]
