"""The shapes of what is answered and asked for, as OpenAPI shows them.

Plain names for programs that are not ours: snake_case, ISO 8601 in UTC, no key of a table.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

import pydantic_core
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from llmkeep.service import records
from llmkeep.service.records import UNFINISHED, MessageStatus, Role, RunStatus

from .identifiers import Id

MAX_TITLE: Final = 200
MAX_METADATA: Final = 16 * 1024

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]


def _utc(moment: Any) -> Any:
    if isinstance(moment, datetime) and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(pydantic_core.to_json(metadata)) > MAX_METADATA:
        raise PydanticCustomError("invalid_metadata", "it has at most 16384 bytes as JSON")
    return metadata


Moment = Annotated[datetime, BeforeValidator(_utc)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TITLE)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Usage = dict[str, int]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(frozen=True, json_schema_extra={"examples": [values]})


_RUN_EXAMPLE: Final[dict[str, Any]] = {
    "run_id": "run-1",
    "thread_id": "thread-1",
    "status": "success",
    "code": None,
    "error": None,
    "model": "openai:gpt-5-mini",
    "usage": {"input_tokens": 231, "output_tokens": 42},
    "created_at": "2026-11-24T18:00:00Z",
    "started_at": "2026-11-24T18:00:00.010Z",
    "ended_at": "2026-11-24T18:00:02.500Z",
    "last_event_id": 57,
    "on_disconnect": "cancel",
    "multitask_strategy": "enqueue",
    "interrupts": [],
}

_THREAD_EXAMPLE: Final[dict[str, Any]] = {
    "thread_id": "thread-1",
    "title": "Prime numbers",
    "status": "idle",
    "created_at": "2026-11-24T18:00:00Z",
    "updated_at": "2026-11-24T18:00:02.500Z",
    "metadata": {},
    "last_run_id": "run-1",
}

_MESSAGE_EXAMPLE: Final[dict[str, Any]] = {
    "id": "m-2",
    "parent_id": "m-1",
    "run_id": "run-1",
    "role": "assistant",
    "content": "97 is the largest prime below 100.",
    "status": "complete",
    "tool_calls": [],
    "tool_call_id": None,
    "duration": None,
    "model": "openai:gpt-5-mini",
    "usage": {"input_tokens": 231, "output_tokens": 42},
    "created_at": "2026-11-24T18:00:02Z",
}


class Problem(_Shape):
    """A refusal (RFC 9457). Some have further members, which the description names."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not found",
                    "status": 404,
                    "detail": "there is no such thread: GET /api/threads lists yours",
                    "code": "not_found",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    """What to do about it."""
    code: str
    """A name for programs."""


# --- threads ---


class Thread(_Shape):
    """A conversation."""

    model_config = _example(**_THREAD_EXAMPLE)

    thread_id: str
    title: str
    status: ThreadStatus
    created_at: Moment
    updated_at: Moment
    metadata: dict[str, Any]
    last_run_id: str | None

    @classmethod
    def of(cls, thread: records.Thread, **more: Any) -> Self:
        """As it is told."""
        return cls(
            thread_id=thread.thread_id,
            title=thread.title,
            status=_status(thread.last_status),
            created_at=thread.created_at,
            updated_at=thread.updated_at,
            metadata=dict(thread.metadata),
            last_run_id=thread.last_run_id,
            **more,
        )


def _status(last: RunStatus | None) -> ThreadStatus:
    if last in UNFINISHED:
        return "busy"
    if last == "interrupted":
        return "interrupted"
    return "error" if last in ("error", "timeout") else "idle"


class ThreadNow(Thread):
    """A conversation, with what runs in it."""

    model_config = _example(**_THREAD_EXAMPLE, active_run=None)

    active_run: Run | None


class ThreadList(_Shape):
    """A page of them, newest activity first."""

    threads: list[Thread]
    next_cursor: str | None
    """For the next page; null at the end."""


class NewThread(_Shape):
    """A conversation to be; one begins with its first run too."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"title": "Prime numbers"}]},
    )

    thread_id: Id | None = None
    title: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TITLE)] = ""
    metadata: Metadata = Field(default_factory=dict)
    if_exists: Literal["raise", "do_nothing"] = "raise"


class ThreadChange(_Shape):
    """What can be changed."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"examples": [{"title": "Prime numbers"}]}
    )

    title: Title


class ThreadDeleted(_Shape):
    """It is gone from all lists."""

    model_config = _example(thread_id="thread-1", restorable_until="2026-11-24T18:00:30Z")

    thread_id: str
    restorable_until: Moment


# --- messages ---


class Call(_Shape):
    """A tool call."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""


class Message(_Shape):
    """One message, under its parent: a thread is a tree."""

    model_config = _example(**_MESSAGE_EXAMPLE)

    id: str
    parent_id: str | None
    run_id: str
    role: Role
    content: str
    status: MessageStatus
    tool_calls: list[Call]
    tool_call_id: str | None
    duration: float | None
    """Seconds that the tool took."""
    model: str | None
    usage: Usage | None
    created_at: Moment

    @classmethod
    def of(cls, message: records.Message) -> Self:
        """As it is told."""
        return cls(
            id=message.message_id,
            parent_id=message.parent_id,
            run_id=message.run_id,
            role=message.role,
            content=message.content,
            status=message.status,
            tool_calls=[
                Call(id=call.id, name=call.name, arguments=call.arguments) for call in message.calls
            ],
            tool_call_id=message.tool_call_id,
            duration=message.duration,
            model=message.model,
            usage=None if message.usage is None else dict(message.usage),
            created_at=message.created_at,
        )


class MessageList(_Shape):
    """All of a thread's, of all branches, oldest first."""

    messages: list[Message]


class ThreadExport(_Shape):
    """A conversation to take along."""

    thread: Thread
    messages: list[Message]


# --- runs ---


class Run(_Shape):
    """One answer, under way or ended."""

    model_config = _example(**_RUN_EXAMPLE)

    run_id: str
    thread_id: str
    status: RunStatus
    code: str | None
    """Of an interrupted run `approval`, `restart` or `shutdown`; of a failed one what failed."""
    error: str | None
    """What can be done about it."""
    model: str | None
    usage: Usage | None
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    last_event_id: int
    on_disconnect: records.OnDisconnect
    multitask_strategy: records.MultitaskStrategy
    interrupts: list[dict[str, Any]]
    """AG-UI's, while it waits for approval."""

    @classmethod
    def of(cls, run: records.Run) -> Self:
        """As it is told."""
        return cls(
            run_id=run.run_id,
            thread_id=run.thread_id,
            status=run.status,
            code=run.code,
            error=run.error,
            model=run.model,
            usage=_total(run),
            created_at=run.created_at,
            started_at=run.started_at,
            ended_at=run.ended_at,
            last_event_id=run.last_event,
            on_disconnect=run.on_disconnect,
            multitask_strategy=run.multitask_strategy,
            interrupts=[dict(each) for each in run.interrupts],
        )


#: AG-UI's names of what is counted, and ours.
_COUNTED: Final = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "reasoningTokens": "reasoning_tokens",
    "cachedInputTokens": "cached_input_tokens",
    "cacheWriteInputTokens": "cache_write_input_tokens",
    "totalTokens": "total_tokens",
}


def _total(run: records.Run) -> Usage | None:
    """What all models of the run used together."""
    if run.usage is None:
        return None
    return {
        ours: sum(each.get(theirs) or 0 for each in run.usage)
        for theirs, ours in _COUNTED.items()
        if any(theirs in each for each in run.usage)
    }


class RunList(_Shape):
    """A thread's runs, newest first."""

    runs: list[Run]


# --- the session ---


class Config(_Shape):
    """What a client must know before it can sign in."""

    model_config = _example(version="0.1.0", protocol="1.0", sign_in="token")

    version: str
    protocol: Literal["1.0"] = "1.0"
    sign_in: Literal["none", "token", "jwt", "proxy"]


class Limits(_Shape):
    """How much a user may do."""

    requests_per_minute: int
    concurrent_runs: int
    message_characters: int
    tokens_per_day: int | None


class Me(_Shape):
    """Who asks."""

    model_config = _example(
        user="ada",
        administrator=False,
        limits={
            "requests_per_minute": 60,
            "concurrent_runs": 4,
            "message_characters": 32000,
            "tokens_per_day": None,
        },
        tokens_today=1234,
    )

    user: str
    administrator: bool
    limits: Limits
    tokens_today: int
    """Of the last 24 hours."""


class Model(_Shape):
    """A model to choose."""

    id: str
    """`provider:model`."""
    provider: str
    name: str
    default: bool
    demonstration: bool
    """Whether it is the small one in the box, which is not to be relied on."""


class ModelList(_Shape):
    """Those that are configured."""

    model_config = _example(
        models=[
            {
                "id": "openai:gpt-5-mini",
                "provider": "openai",
                "name": "gpt-5-mini",
                "default": True,
                "demonstration": False,
            }
        ]
    )

    models: list[Model]


# --- the cache ---


class Cache(_Shape):
    """One cache of the process."""

    name: str
    stats: dict[str, int]


class Instance(_Shape):
    """One instance in a cache. Times are in seconds."""

    id: str
    """Random; means nothing outside this process."""
    cache: str
    label: str
    scope: str
    state: Literal["building", "ready", "retired", "closed"]
    leases: int
    age: float
    idle: float
    weight: float
    builds: int
    """How many of this cache and label have been built since the service began."""


class Duration(_Shape):
    """How often something happened, and how long it took in all."""

    count: int
    seconds: float


class CacheNow(_Shape):
    """What is kept at this moment. Figures only grow, but for gauges."""

    model_config = _example(
        stats={"acquired": 12, "hits": 11, "built": 1, "joined": 0, "leased": 1, "idle": 0},
        caches=[{"name": "models (process)", "stats": {"acquired": 12, "hits": 11}}],
        instances=[
            {
                "id": "k7f2",
                "cache": "models (process)",
                "label": "openai:gpt-5-mini",
                "scope": "process",
                "state": "ready",
                "leases": 1,
                "age": 61.5,
                "idle": 0.0,
                "weight": 0.0,
                "builds": 1,
            }
        ],
        latency={"build": {"count": 1, "seconds": 0.021}},
    )

    stats: dict[str, int]
    """Of the models."""
    caches: list[Cache]
    instances: list[Instance]
    latency: dict[str, Duration]
    """`build`, `first_token`, `run`: since the service began."""


class CacheCleared(_Shape):
    """How many instances were retired; calls that use one go on."""

    model_config = _example(cleared=2)

    cleared: int


# --- health ---


class Alive(_Shape):
    """It answers."""

    status: Literal["ok"] = "ok"


class Check(_Shape):
    """What one thing is like."""

    status: Literal["ok", "failed", "unreachable", "unknown"]
    detail: str | None = None


class Ready(_Shape):
    """Whether requests should be sent here."""

    model_config = _example(
        status="ok",
        checks={
            "store": {"status": "ok", "detail": None},
            "migrations": {"status": "ok", "detail": None},
            "model": {"status": "ok", "detail": None},
            "provider": {"status": "unknown", "detail": None},
        },
    )

    status: Literal["ok", "failed", "draining"]
    checks: dict[str, Check]
