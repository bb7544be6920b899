"""What an AG-UI client asks for, checked for form: the body of POST /api/agent.

Taken from it are new messages of the user, answers to interrupts, and where they hang. The
client's copy of the rest of the conversation is not looked at: the server has its own. What would
be ignored in part is refused as a whole, each with a code of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

import pydantic_core
from ag_ui.core import ResumeEntry
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from llmkeep.service.errors import Invalid
from llmkeep.service.records import (
    MultitaskStrategy,
    OnDisconnect,
    RunRequest,
    UserMessage,
)

from .identifiers import ID_SCHEMA, Id, check_id
from .problems import checked

#: Roles of messages that the server has itself, or does not need.
_OURS: Final = frozenset(("assistant", "tool", "reasoning", "activity"))

_EXAMPLE: Final[dict[str, Any]] = {
    "threadId": "thread-1",
    "runId": "run-1",
    "messages": [{"id": "m-1", "role": "user", "content": "What is the largest prime below 100?"}],
    "tools": [],
    "context": [],
    "state": {},
    "forwardedProps": {"on_disconnect": "continue"},
    "protocolVersion": "1.0",
}


#: Of the messages, what is looked at.
_MESSAGES: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "id": ID_SCHEMA,
                    "role": {"const": "user"},
                    "content": {
                        "anyOf": [
                            {"type": "string"},
                            {"type": "array", "items": {"type": "object"}},
                        ]
                    },
                },
                "required": ["id", "role", "content"],
            },
            {
                "type": "object",
                "properties": {"role": {"enum": sorted(_OURS)}},
                "required": ["role"],
            },
        ]
    },
}


class ForwardedProps(BaseModel):
    """What of `forwardedProps` is ours; other members are left alone."""

    model_config = ConfigDict(extra="allow")

    parent_message_id: Id | None = None
    """Under which message the run hangs. Absent: the last one; null: none, the conversation begins
    anew beside its first message."""
    on_disconnect: OnDisconnect | None = None
    multitask_strategy: MultitaskStrategy | None = None
    model: Annotated[str, Field(max_length=256)] | None = None
    """One of `GET /api/models`."""


def _none(code: str, text: str) -> AfterValidator:
    """Refuses whatever is not empty."""

    def check(value: Any) -> Any:
        if value:
            raise PydanticCustomError(code, text)
        return value

    return AfterValidator(check)


NoState = Annotated[
    Any,
    _none("invalid_state", "the server keeps the state itself: leave `state` empty"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "null"},
                {"type": "object", "maxProperties": 0},
                {"type": "array", "maxItems": 0},
            ]
        }
    ),
]
NoTools = Annotated[
    list[dict[str, Any]] | None,
    _none("invalid_tools", "tools of clients are not called here: leave `tools` empty"),
    Field(json_schema_extra={"maxItems": 0}),
]
NoContext = Annotated[
    list[dict[str, Any]] | None,
    _none("invalid_context", "say it in a message of the user: leave `context` empty"),
    Field(json_schema_extra={"maxItems": 0}),
]


class AgentInput(BaseModel):
    """AG-UI's RunAgentInput, as far as it is taken.

    Of `messages` only those with the role `user` are looked at; `system` and `developer` ones, and
    client tools, context and state are refused. `parentRunId` is not used.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, extra="allow", json_schema_extra={"examples": [_EXAMPLE]}
    )

    thread_id: Id
    run_id: Id
    messages: Annotated[list[dict[str, Any]], WithJsonSchema(_MESSAGES)]
    protocol_version: str | None = None
    resume: list[ResumeEntry] | None = None
    """Answers to the interrupts of the run before."""
    forwarded_props: ForwardedProps | None = None
    state: NoState = None
    tools: NoTools = None
    context: NoContext = None


class Asked(BaseModel):
    """A body, understood."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    request: RunRequest
    protocol_version: str | None
    unclear: tuple[str, ...]
    """Ids of messages that can only be let through where the server has them already."""


def understand(
    body: bytes,
    *,
    longest: int,
    on_disconnect: OnDisconnect | None,
    multitask_strategy: MultitaskStrategy | None,
) -> Asked:
    """What a body asks for; the two choices come from the address, and win over the body's.

    `longest`: more characters than these are for `unclear`. Raises Invalid.
    """
    try:
        value = pydantic_core.from_json(body, allow_inf_nan=False, cache_strings="keys")
        asked = AgentInput.model_validate(value)
    except ValidationError as error:
        raise checked(error) from None
    except ValueError as error:
        raise Invalid(f"the body is not JSON: {error}", code="invalid_json") from None
    said: dict[str, UserMessage] = {}
    unclear: list[str] = []
    for at, message in enumerate(asked.messages):
        if (text := _said(message, f"messages.{at}")) is None:
            continue
        content, is_clear = text
        one = UserMessage(check_id(message.get("id"), f"messages.{at}.id"), content)
        if said.setdefault(one.id, one) != one:
            raise Invalid(f"messages.{at}: another message has this id", code="invalid_messages")
        if not is_clear or len(content) > longest:
            unclear.append(one.id)
    props = asked.forwarded_props or ForwardedProps()
    request = RunRequest(
        thread_id=asked.thread_id,
        run_id=asked.run_id,
        fingerprint=_fingerprint(value),
        messages=tuple(said.values()),
        resume=tuple(asked.resume or ()),
        is_placed="parent_message_id" in props.model_fields_set,
        parent_id=props.parent_message_id,
        model=props.model,
        on_disconnect=on_disconnect or props.on_disconnect or "cancel",
        multitask_strategy=multitask_strategy or props.multitask_strategy or "enqueue",
    )
    return Asked(request=request, protocol_version=asked.protocol_version, unclear=tuple(unclear))


def _said(message: Mapping[str, Any], place: str) -> tuple[str, bool] | None:
    """The text of a user's message, and whether that is all that was said; None: another's."""
    match message.get("role"):
        case "user":
            return _text(message.get("content"), place)
        case "system" | "developer":
            raise Invalid(
                f"{place}: the server's prompt is its own: send messages of the user alone",
                code="invalid_system_message",
            )
        case str(role) if role in _OURS:
            return None
    raise Invalid(f"{place}.role: AG-UI has no such role", code="invalid_messages")


def _text(content: Any, place: str) -> tuple[str, bool]:
    if isinstance(content, str):
        return content, bool(content.strip())
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise Invalid(f"{place}.content: it is text, or a list of parts", code="invalid_content")
    texts = [part["text"] for part in content if _is_text(part)]
    joined = "".join(texts)
    return joined, len(texts) == len(content) and bool(joined.strip())


def _is_text(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "text" and isinstance(part.get("text"), str)


def _fingerprint(value: Mapping[str, Any]) -> str:
    """The same for bodies that mean the same; another for any other.

    Without the protocol's version: a client that was updated meanwhile joins its run.
    """
    told = {name: each for name, each in value.items() if name != "protocolVersion"}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
