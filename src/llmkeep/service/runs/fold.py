"""The fold: events of a run into the messages that people see.

Pure but for the clock. The messages of a run form one chain: those of the user that it was asked
with, then each message of the assistant (text and calls are one), then each answer of a tool, in
the order in which they began. An answer to a call of another branch hangs there. It is the same
fold for a run that lives and for one that is recovered from its log, and what it gives for a log is
what the table holds.

A message is given when it is whole: all in it has ended. What is still arriving is in the log
alone; when its run ends, `closing` ends it in the log too, so that every stream is complete and the
table follows from it. An END event of a message that was cut says so by its metadata
(`{"status": "partial"}`), the agents' and ours alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, cast, final

from ag_ui.core import (
    CustomEvent,
    Event,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from llmkeep.service.records import Call, Message, MessageStatus

#: What an answer is that no tool has given.
_UNANSWERED: Final = "This call was not answered: the run ended first."

_PARTIAL: Final[dict[str, Any]] = {"status": "partial"}

_TOOL_STATUSES: Final = frozenset(("success", "error", "cancelled", "declined"))


@dataclass(slots=True)
class _Call:
    """A call while it arrives; lives as long as its message."""

    id: str
    name: str
    arguments: list[str] = field(default_factory=list)
    is_open: bool = True


@dataclass(slots=True)
class _Said:
    """A message of the assistant while it arrives; lives as long as its run, for late calls."""

    id: str
    parent_id: str | None
    created_at: datetime
    text: list[str] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)
    is_text_open: bool = False
    is_partial: bool = False

    @property
    def is_whole(self) -> bool:
        return not (self.is_text_open or any(call.is_open for call in self.calls))


@final
class Fold:
    """Lives as long as one run, or its recovery.

    Args:
        run_id: whose messages they are.
        now: the time, with its zone.
    """

    def __init__(self, run_id: str, now: Callable[[], datetime]) -> None:
        self._run_id: Final = run_id
        self._now: Final = now
        self._said: Final[dict[str, _Said]] = {}
        self._callers: Final[dict[str, _Said]] = {}
        self._calls: Final[dict[str, _Call]] = {}
        self._unanswered: Final[dict[str, None]] = {}
        self._head: str | None = None
        #: The row of the head, if that is whole.
        self._head_row: Message | None = None

    def take(self, event: Event) -> list[Message]:
        """The messages that are whole with this event: new ones, or again.

        The last of them is the head, if that is whole.
        """
        rows = self._taken(event)
        for row in rows:
            if row.message_id == self._head:
                self._head_row = row
        head = self._head_row
        if rows and head is not None and head.message_id == self._head and rows[-1] is not head:
            rows.append(head)
        return rows

    def _taken(self, event: Event) -> list[Message]:
        match event:
            case TextMessageContentEvent():
                said = self._said.get(event.message_id)
                if said is not None:
                    said.text.append(event.delta)
            case ToolCallArgsEvent():
                if (call := self._calls.get(event.tool_call_id)) is not None:
                    call.arguments.append(event.delta)
            case TextMessageStartEvent():
                self._message(event.message_id).is_text_open = True
            case TextMessageEndEvent():
                return self._text_ended(event)
            case ToolCallStartEvent():
                self._called(event)
            case ToolCallEndEvent():
                return self._call_ended(event)
            case ToolCallResultEvent():
                return [self._answered(event)]
            case CustomEvent(name="call_answered"):
                return [self._answered_elsewhere(event.value)]
            case CustomEvent(name="run_input"):
                return self._asked(event.value)
            case _:
                pass
        return []

    def closing(self, *, waits: bool = False) -> Iterator[Event]:
        """The events that end what is open, before a terminal event.

        Args:
            waits: calls without an answer wait for somebody; else they are answered as cancelled.
        """
        for said in self._said.values():
            if said.is_text_open:
                yield TextMessageEndEvent(message_id=said.id, metadata=_PARTIAL)
            for call in said.calls:
                if call.is_open:
                    yield ToolCallEndEvent(tool_call_id=call.id, metadata=_PARTIAL)
        if not waits:
            for call_id in [*self._unanswered]:
                yield ToolCallResultEvent(
                    message_id=call_id,
                    tool_call_id=call_id,
                    content=_UNANSWERED,
                    role="tool",
                    metadata={"status": "cancelled"},
                )

    # --- the kinds of events -----------------------------------------------------------------

    def _asked(self, value: Mapping[str, Any]) -> list[Message]:
        self._head = value["parent_id"]
        rows: list[Message] = []
        for message in value["messages"]:
            rows.append(
                Message(
                    message_id=message["id"],
                    parent_id=self._head,
                    run_id=self._run_id,
                    role="user",
                    content=message["content"],
                    created_at=self._now(),
                )
            )
            self._head = message["id"]
        return rows

    def _message(self, message_id: str) -> _Said:
        said = self._said.get(message_id)
        if said is None:
            said = self._said[message_id] = _Said(message_id, self._head, self._now())
            self._head = message_id
        return said

    def _text_ended(self, event: TextMessageEndEvent) -> list[Message]:
        said = self._message(event.message_id)
        said.is_text_open = False
        return self._part_ended(said, event.metadata)

    def _called(self, event: ToolCallStartEvent) -> None:
        said = self._message(event.parent_message_id or event.tool_call_id)
        call = _Call(event.tool_call_id, event.tool_call_name)
        said.calls.append(call)
        self._calls[call.id] = call
        self._callers[call.id] = said
        self._unanswered[call.id] = None

    def _call_ended(self, event: ToolCallEndEvent) -> list[Message]:
        call = self._calls.get(event.tool_call_id)
        if call is None:
            return []
        call.is_open = False
        return self._part_ended(self._callers[call.id], event.metadata)

    def _part_ended(self, said: _Said, metadata: Mapping[str, Any] | None) -> list[Message]:
        if metadata is not None and metadata.get("status") == "partial":
            said.is_partial = True
        return [self._row_of(said)] if said.is_whole else []

    def _row_of(self, said: _Said) -> Message:
        return Message(
            message_id=said.id,
            parent_id=said.parent_id,
            run_id=self._run_id,
            role="assistant",
            content="".join(said.text),
            status="partial" if said.is_partial else "complete",
            calls=tuple(Call(each.id, each.name, "".join(each.arguments)) for each in said.calls),
            created_at=said.created_at,
        )

    def _answered(self, event: ToolCallResultEvent) -> Message:
        self._unanswered.pop(event.tool_call_id, None)
        content = event.content if isinstance(event.content, str) else str(event.content)
        row = self._answer(event.message_id, event.tool_call_id, content, event.metadata)
        self._head = event.message_id
        return row

    def _answered_elsewhere(self, value: Mapping[str, Any]) -> Message:
        """A call of another branch: the answer hangs there, and is no part of the chain."""
        row = self._answer(
            value["message_id"], value["tool_call_id"], str(value["content"]), value["metadata"]
        )
        return replace(row, parent_id=value["parent_id"])

    def _answer(
        self, message_id: str, call_id: str, content: str, metadata: Mapping[str, Any] | None
    ) -> Message:
        told = metadata or {}
        status, duration = told.get("status"), told.get("duration")
        return Message(
            message_id=message_id,
            parent_id=self._head,
            run_id=self._run_id,
            role="tool",
            content=content,
            status=cast("MessageStatus", status if status in _TOOL_STATUSES else "success"),
            tool_call_id=call_id,
            duration=float(duration) if isinstance(duration, int | float) else None,
            created_at=self._now(),
        )
