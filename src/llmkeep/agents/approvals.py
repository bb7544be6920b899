"""Approval: a tool call that waits until a person has said yes or no.

The call interrupts the graph, which is stored as it is, so waiting survives a restart. It goes on
in another run, with the person's answer. Each time a call begins to wait it gets a token: an answer
is stored under it before the tool runs, so a second yes, after a crash too, finds nothing waiting.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from ag_ui.core import Interrupt, ResumeEntry
from langchain_core.messages import ToolCall
from langgraph.types import Interrupt as GraphInterrupt
from langgraph.types import interrupt

from llmkeep.core.errors import LLMKeepError

#: The kind of an interrupt's value that is a call waiting for approval.
_KIND: Final = "llmkeep.approval"

#: What an answer looks like.
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "args": {"type": "object", "description": "other arguments to call the tool with"},
    },
    "required": ["approved"],
}


class NotWaiting(LLMKeepError):
    """An answer came for a call that does not wait for one, or no longer."""

    code = "not_waiting"


class BadAnswer(LLMKeepError, ValueError):
    """An answer is neither yes nor no."""

    code = "bad_answer"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said of a call."""

    approved: bool
    args: dict[str, Any] | None = None
    """Other arguments, where the person changed them."""
    expired: bool = False

    @classmethod
    def of(cls, answer: object) -> Self:
        """Read an answer: a boolean, or `{"approved": ..., "args": ...}`.

        Raises BadAnswer for anything else.
        """
        if isinstance(answer, bool):
            return cls(answer)
        if isinstance(answer, Mapping) and isinstance(answer.get("approved"), bool):
            args = answer.get("args")
            if args is None or isinstance(args, Mapping):
                edited = None if args is None else dict(args)
                return cls(answer["approved"], edited, answer.get("expired") is True)
        raise BadAnswer('an answer is {"approved": true or false, "args": {...} to change them}')


def decision_on(call: ToolCall, seconds: float, expires_at: str | None = None) -> Decision:
    """Wait for the answer: interrupt the graph, or give what it was resumed with.

    `expires_at` is until when a call waits that has been waiting already.
    """
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    waiting = {
        "kind": _KIND,
        "token": uuid.uuid4().hex,
        "tool_call_id": call["id"],
        "name": call["name"],
        "args": call["args"],
        "expires_at": expires_at or expires.isoformat(timespec="seconds"),
    }
    return Decision.of(interrupt(waiting))


def token_of(waiting: GraphInterrupt) -> str | None:
    """The token of a call that waits for approval; None for an interrupt of another kind."""
    return str(waiting.value["token"]) if _is_approval(waiting) else None


def call_of(waiting: GraphInterrupt) -> str | None:
    """The id of the call that waits for approval; None for an interrupt of another kind."""
    return str(waiting.value["tool_call_id"]) if _is_approval(waiting) else None


def expiry_of(waiting: GraphInterrupt) -> str | None:
    """Until when a call waits for approval, as ISO 8601; None for another kind."""
    return str(waiting.value["expires_at"]) if _is_approval(waiting) else None


def told(waiting: GraphInterrupt) -> Interrupt:
    """The interrupt as AG-UI tells it."""
    value = waiting.value
    if not _is_approval(waiting):
        return Interrupt(
            id=waiting.id,
            reason="input",
            message=value if isinstance(value, str) else None,
            metadata=None if isinstance(value, str) else {"value": value},
        )
    return Interrupt(
        id=waiting.id,
        reason="tool_call",
        message=f"{value['name']} needs your approval",
        tool_call_id=value["tool_call_id"],
        response_schema=_SCHEMA,
        expires_at=value["expires_at"],
        metadata={"name": value["name"], "args": value["args"]},
    )


def resumption(waiting: GraphInterrupt, answer: ResumeEntry) -> Any:
    """What the graph is resumed with. Raises BadAnswer."""
    said_no = answer.status == "cancelled"
    if not _is_approval(waiting):
        return None if said_no else answer.payload
    decision = Decision(approved=False) if said_no else Decision.of(answer.payload)
    expired = datetime.fromisoformat(waiting.value["expires_at"]) <= datetime.now(UTC)
    return {
        "approved": decision.approved and not expired,
        "args": decision.args,
        "expired": expired,
    }


def _is_approval(waiting: GraphInterrupt) -> bool:
    return isinstance(waiting.value, dict) and waiting.value.get("kind") == _KIND
