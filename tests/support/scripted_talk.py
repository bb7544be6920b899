"""What a conversation came to, read from its events and from what was kept of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Container, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from ag_ui.core import (
    Event,
    TextMessageContentEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

from llmkeep.agents import StatefulAgent, thread_of
from tests.agents.events import assert_well_formed
from tests.support.scripted_signal import PATIENCE


@dataclass
class HeardCall:
    """One tool call as a consumer of the events knows it."""

    name: str
    parent: str | None
    args: str = ""
    ended: bool = False
    result: str | None = None
    status: str | None = None
    result_id: str | None = None


@dataclass
class Heard:
    """A run as a consumer of the events knows it."""

    events: list[Event] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Text by the id of its message."""
    calls: dict[str, HeardCall] = field(default_factory=dict)
    """Calls by their id, in the order in which they began."""

    def hear(self, event: Event) -> None:
        """Take in the next event."""
        self.events.append(event)
        match event:
            case TextMessageStartEvent():
                self.texts[event.message_id] = ""
            case TextMessageContentEvent():
                self.texts[event.message_id] += event.delta
            case ToolCallStartEvent():
                self.calls[event.tool_call_id] = HeardCall(
                    event.tool_call_name, event.parent_message_id
                )
            case ToolCallArgsEvent():
                self.calls[event.tool_call_id].args += event.delta
            case ToolCallEndEvent():
                self.calls[event.tool_call_id].ended = True
            case ToolCallResultEvent():
                # A call that waited for approval was told by an earlier run.
                call = self.calls.setdefault(event.tool_call_id, HeardCall("", None))
                call.result, call.result_id = str(event.content), event.message_id
                call.status = (event.metadata or {})["status"]

    @property
    def text(self) -> str:
        return "".join(self.texts.values())


async def ask(
    agent: StatefulAgent, message: str, session_id: str = "s", *, earlier: Container[str] = ()
) -> Heard:
    """One whole answer; its events must be in order, whatever they are.

    `earlier`: the calls that an earlier run began, of which this one may tell the results alone.
    """
    heard = Heard()
    async with (
        asyncio.timeout(2 * PATIENCE),  # not reached: a run that is stuck would hold up everything
        aclosing(agent.stream_response(message, session_id)) as stream,
    ):
        async for event in stream:
            heard.hear(event)
    assert_well_formed(
        [
            event
            for event in heard.events
            if not (isinstance(event, ToolCallResultEvent) and event.tool_call_id in earlier)
        ]
    )
    return heard


async def kept(agent: StatefulAgent, session_id: str = "s") -> list[AnyMessage]:
    """The messages of a conversation as they are after a reload."""
    config: Any = {"configurable": {"thread_id": thread_of(agent.user_id, session_id)}}
    state = await agent.graph_agent.aget_state(config)
    return list(state.values.get("messages", ()))


def assert_ids_are_kept(heard: Heard, messages: Sequence[AnyMessage]) -> None:
    """Text, calls and results are kept under the ids, and with the contents, that were told."""
    said = {m.id: m for m in messages if isinstance(m, AIMessage)}
    for message_id, text in heard.texts.items():
        assert said[message_id].text == text
    answers = {m.tool_call_id: m for m in messages if isinstance(m, ToolMessage)}
    for call_id, call in heard.calls.items():
        assert call.parent in said
        assert call_id in {each["id"] for each in said[call.parent].tool_calls}
        assert answers[call_id].id == call.result_id
        assert answers[call_id].content == call.result


def arguments(calls: Iterable[HeardCall]) -> list[Any]:
    """What the consumers of these calls read as their arguments."""
    return [json.loads(call.args or "{}") for call in calls]
