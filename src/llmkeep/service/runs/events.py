"""The events that the service tells itself, and what a terminal event means for a run.

Pure. An event is serialised once, here: every reader and the store get that text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ag_ui.core import (
    PROTOCOL_VERSION,
    CustomEvent,
    Event,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunStartedEvent,
    ToolCallResultEvent,
)
from pydantic import TypeAdapter

from llmkeep.service.records import RunStatus, UserMessage

Terminal = RunFinishedEvent | RunErrorEvent

#: How a run ended that this service ended: the code of its RUN_ERROR, what a person is told, and
#: what its status is then.
ENDINGS: Final[Mapping[str, tuple[RunStatus, str]]] = {
    "timeout": ("timeout", "the answer took too long and was stopped: ask for less at once"),
    "shutdown": ("interrupted", "the server was shut down in the middle: send it again"),
    "interrupted": ("interrupted", "the server ended in the middle of the answer: send it again"),
    "unstored": ("error", "the answer could not be stored: the server's log says why"),
    "internal": ("error", "something went wrong in the server: its log says what"),
}

#: What `Run.code` says of a run that its server's end cut, by the code of its RUN_ERROR.
_RUN_CODES: Final[Mapping[str, str]] = {"interrupted": "restart"}

_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Event)


def serialised(event: Event) -> str:
    """The event as it is stored and told."""
    return event.model_dump_json(by_alias=True, exclude_none=True)


def parsed(data: str) -> Event:
    """The event that was serialised."""
    return _EVENT.validate_json(data)


# --- at the beginning ----------------------------------------------------------------------------


def run_started(thread_id: str, run_id: str) -> Event:
    """The first of each run."""
    return RunStartedEvent(thread_id=thread_id, run_id=run_id, protocol_version=PROTOCOL_VERSION)


def run_input(
    parent_id: str | None, messages: Sequence[UserMessage], model: str | None, *, resume: bool
) -> Event:
    """The second: what was said, and where it hangs."""
    said = [{"id": each.id, "content": each.content} for each in messages]
    value = {"parent_id": parent_id, "messages": said, "model": model, "resume": resume}
    return CustomEvent(name="run_input", value=value)


def thread_title(title: str) -> Event:
    """The thread has been given a title."""
    return CustomEvent(name="thread_title", value={"title": title})


def model_loading(model: str | None) -> Event:
    """The model has to be built first."""
    return CustomEvent(name="model_loading", value={"model": model})


def call_answered(result: ToolCallResultEvent, parent_id: str) -> Event:
    """The answer to a call that is on another branch, where it hangs under `parent_id`.

    Not TOOL_CALL_RESULT: a client that follows this branch alone has no such call.
    """
    value = {
        "parent_id": parent_id,
        "message_id": result.message_id,
        "tool_call_id": result.tool_call_id,
        "content": result.content,
        "metadata": result.metadata or {},
    }
    return CustomEvent(name="call_answered", value=value)


# --- at the end ----------------------------------------------------------------------------------


def cancelled(thread_id: str, run_id: str, like: Terminal | None = None) -> RunFinishedEvent:
    """The end of a run that was stopped, with the tokens that `like` counted."""
    return RunFinishedEvent(
        thread_id=thread_id,
        run_id=run_id,
        outcome=RunFinishedCancelledOutcome(),
        usage=like.usage if like is not None else None,
        metadata=like.metadata if like is not None else None,
    )


def ended(code: str, like: Terminal | None = None) -> RunErrorEvent:
    """The end of a run that the service ended, with the tokens that `like` counted."""
    return RunErrorEvent(
        message=ENDINGS[code][1],
        code="internal" if code == "unstored" else code,
        usage=like.usage if like is not None else None,
        metadata=like.metadata if like is not None else None,
    )


def refused(message: str, code: str) -> RunErrorEvent:
    """The end of a run that could not be begun when its turn came."""
    return RunErrorEvent(message=message, code=code)


def fields_of(end: Terminal, stop_code: str | None = None) -> dict[str, Any]:
    """What a terminal event means for `records.Run`; `stop_code` says who stopped it."""
    usage = [each.model_dump(by_alias=True, exclude_none=True) for each in end.usage or ()]
    counted = {"usage": usage or None, "tokens": sum(map(_tokens, usage))}
    if isinstance(end, RunErrorEvent):
        code = end.code or "failed"
        status = ENDINGS[code][0] if code in ENDINGS else "error"
        return {
            "status": status,
            "code": _RUN_CODES.get(code, code),
            "error": end.message,
            **counted,
        }
    match end.outcome:
        case RunFinishedInterruptOutcome(interrupts=interrupts):
            told = [each.model_dump(by_alias=True, exclude_none=True) for each in interrupts]
            return {"status": "interrupted", "code": "approval", "interrupts": told, **counted}
        case RunFinishedCancelledOutcome():
            return {"status": "cancelled", "code": stop_code or "stopped", **counted}
        case _:
            return {"status": "success", **counted}


def _tokens(usage: Mapping[str, Any]) -> int:
    total = usage.get("totalTokens")
    if total is None:
        total = usage.get("inputTokens", 0) + usage.get("outputTokens", 0)
    return int(total)
