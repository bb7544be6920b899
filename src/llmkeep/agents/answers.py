"""Answers to tool calls that no tool gave: each call has one, or a provider refuses the whole.

`status` is what a person reads: LangChain knows `success` and `error` alone.
"""

from __future__ import annotations

from typing import Final, Literal

from langchain_core.messages import ToolCall, ToolMessage

#: The one argument of a call whose arguments were no JSON object: what came instead.
UNREADABLE: Final = "llmkeep_unreadable"

Status = Literal["success", "error", "cancelled", "declined"]

REFUSED: Final = "The arguments are not a complete JSON object, so nothing was called."
CANCELLED: Final = "Cancelled before it had finished. Do not repeat it unless you are asked to."
NOT_STOPPED: Final = (
    "Cancelled, but it could not be stopped: what it does may still take effect. Its result is "
    "discarded. Do not repeat it unless you are asked to."
)
LOST: Final = (
    "Interrupted: the process that ran it has ended, and what it did is not known. Do not repeat "
    "it unless you are asked to."
)
DECLINED: Final = "The user declined this call. Do not repeat it."
EXPIRED: Final = "Nobody approved this call in time, so it was not made."
PASSED_OVER: Final = "The user did not approve this call, and wrote something else instead."


def answer_to(call: ToolCall, text: str, status: Status) -> ToolMessage:
    """The answer to `call`; its id is the call's, before and after a reload."""
    return ToolMessage(
        text,
        id=call["id"],
        name=call["name"],
        tool_call_id=call["id"] or "",
        status="success" if status == "success" else "error",
        response_metadata={"status": status},
    )
