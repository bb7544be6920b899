"""What the service keeps, as it is passed between its parts: threads, messages, runs.

Plain values without behaviour of their own; the tables are in `storage`, the wire's shapes in
`api`. A thread belongs to a user, a run and a message to a thread; another user's id is simply
free. `key` is a row's number in the store, and never leaves the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, final

from ag_ui.core import ResumeEntry

OnDisconnect = Literal["cancel", "continue"]
MultitaskStrategy = Literal["enqueue", "reject", "interrupt"]
Role = Literal["user", "assistant", "tool"]

#: Of a message: a user's and an assistant's are the first two, a tool's the others.
MessageStatus = Literal["complete", "partial", "success", "error", "cancelled", "declined"]

#: LangGraph's names. `interrupted`: it waits for approval, or its server ended: `code` tells.
RunStatus = Literal["pending", "running", "success", "error", "timeout", "interrupted", "cancelled"]

#: What a run can be in before its one terminal event.
UNFINISHED: Final[frozenset[RunStatus]] = frozenset(("pending", "running"))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks."""

    user: str
    is_administrator: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A conversation: a tree of messages, of which `head_id` is the one said last."""

    key: int
    user: str
    thread_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    head_id: str | None = None
    is_branched: bool = False
    """Whether some message has two that follow it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    last_run_id: str | None = None
    last_status: RunStatus | None = None
    """Of its last run."""


@final
@dataclass(frozen=True, slots=True)
class Call:
    """A tool call in a message of the assistant; `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, where people see it: under `parent_id`, whatever else stands there."""

    message_id: str
    parent_id: str | None
    run_id: str
    role: Role
    content: str
    status: MessageStatus = "complete"
    calls: tuple[Call, ...] = ()
    tool_call_id: str | None = None
    duration: float | None = None
    """Seconds that the tool took."""
    model: str | None = None
    """Which model said it."""
    usage: Mapping[str, int] | None = None
    """The tokens of its run, at the last message of that."""
    created_at: datetime


@final
@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a user says."""

    id: str
    content: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a client asks for, checked for form; what it comes to is decided by `runs`."""

    thread_id: str
    run_id: str
    fingerprint: str
    """Of the whole body: the same run asked for twice is one, with another body a conflict."""
    messages: tuple[UserMessage, ...] = ()
    """The user's messages in the client's history, oldest first, seen before or not."""
    resume: tuple[ResumeEntry, ...] = ()
    """Answers to what waits for approval."""
    is_placed: bool = False
    """Whether the client says where the run hangs, by `parent_id`; else it follows the head."""
    parent_id: str | None = None
    model: str | None = None
    """One of those configured; None: the default."""
    on_disconnect: OnDisconnect = "cancel"
    multitask_strategy: MultitaskStrategy = "enqueue"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it is stored; a look at one moment."""

    key: int
    thread_key: int
    user: str
    thread_id: str
    run_id: str
    fingerprint: str
    request: Mapping[str, Any]
    """What a restart needs of the request, as JSON: new messages, where they hang, answers."""
    status: RunStatus
    code: str | None = None
    error: str | None = None
    """What a person can do about it."""
    model: str | None = None
    usage: Sequence[Mapping[str, Any]] | None = None
    """AG-UI's TokenUsage, one for each model."""
    tokens: int = 0
    """All of them, as limits count them."""
    interrupts: Sequence[Mapping[str, Any]] = ()
    """AG-UI's Interrupt, where it waits."""
    last_event: int = 0
    """The number of the last event that is stored."""
    is_compacted: bool = False
    """Whether its events have been dropped; its messages stay."""
    on_disconnect: OnDisconnect = "cancel"
    multitask_strategy: MultitaskStrategy = "enqueue"
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a run, serialised once: every reader and the store get this text."""

    number: int
    """From 1, without gaps."""
    data: str
    is_terminal: bool = False


@final
@dataclass(frozen=True, slots=True)
class ThreadPage:
    """A part of a user's threads, newest activity first."""

    threads: Sequence[Thread]
    next_cursor: str | None
