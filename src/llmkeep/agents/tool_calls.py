"""One call of a tool: whether it is made, under which limits, and what comes of it.

A call may wait for approval; it has a time limit; what goes wrong in it becomes an answer, which
the model reads, and the run goes on. The answer is one that can be stored, and the call's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolCall, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from .answers import DECLINED, EXPIRED, LOST, REFUSED, UNREADABLE, answer_to
from .approvals import decision_on
from .context import ToolRules, listener_of, rules_of
from .faults import redacted, told_to_model
from .stopping import stoppable
from .texts import encodable
from .tool_pool import pooled
from .tools import is_marked

ToolAnswer = ToolMessage | Command[Any]

#: Tries whether a result can be stored, with the serializer that savers have.
_SERDE: Final = JsonPlusSerializer()

_NO_PARENT: Final = "The tool wanted to go on in another graph, and there is none here."


def admitted(request: ToolCallRequest) -> ToolCallRequest | ToolMessage:
    """The call as it is to be made, or the answer where it is not to be.

    Interrupts the graph where a person has to be asked.
    """
    call = request.tool_call
    if UNREADABLE in call["args"]:
        return answer_to(call, REFUSED, "error")
    rules, listener = rules_of(request), listener_of(request)
    if listener is not None and call["id"] in listener.lost:
        return answer_to(call, LOST, "cancelled")
    expires_at = listener.waited.get(call["id"] or "") if listener is not None else None
    if not expires_at and not _needs_approval(request, rules):
        return request
    decision = decision_on(call, rules.approval_timeout, expires_at)
    if not decision.approved:
        return answer_to(call, EXPIRED if decision.expired else DECLINED, "declined")
    if decision.args is None or decision.args == call["args"]:
        return request
    return request.override(tool_call={**call, "args": decision.args})


def _needs_approval(request: ToolCallRequest, rules: ToolRules) -> bool:
    if request.tool is None:  # nothing would be called
        return False
    named = "*" in rules.approve or request.tool_call["name"] in rules.approve
    return named or is_marked(request.tool)


async def answer_of(
    request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
) -> ToolAnswer:
    """What the tool answers; what goes wrong is an answer, too."""
    rules = rules_of(request)
    if request.tool is not None:
        request = request.override(tool=pooled(request.tool, rules.threads))
    timer = asyncio.timeout(rules.timeout)
    try:
        async with timer:
            return await _unless_it_cancels_itself(handler(request))
    except GraphBubbleUp:
        raise
    except Exception as error:
        text = told_to_model(error)
        if timer.expired():
            text = f"It took longer than {rules.timeout:g} s and was given up."
        return answer_to(request.tool_call, text, "error")


async def _unless_it_cancels_itself(work: Awaitable[ToolAnswer]) -> ToolAnswer:
    try:
        return await stoppable(work)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("what the tool waited for was cancelled") from None


def own(answer: ToolAnswer | list[ToolAnswer], call: ToolCall) -> ToolAnswer:
    """The answer without messages that are not the call's: a tool may have written any."""
    match answer:
        case ToolMessage():
            answer.tool_call_id = call["id"] or ""
        case Command(graph=Command.PARENT):
            return answer_to(call, _NO_PARENT, "error")
        case Command(update={"messages": messages}):
            update = {**cast("dict[str, Any]", answer.update), "messages": _of(call, messages)}
            return replace(answer, update=update)
        case list():
            # ToolNode takes a list, too: its type says so for what it calls itself alone.
            return cast("ToolAnswer", [own(each, call) for each in _of(call, answer)])
    return answer


def _of(call: ToolCall, answers: Any) -> list[Any]:
    several = answers if isinstance(answers, list | tuple) else [answers]
    return [
        each
        for each in several
        if not isinstance(each, ToolMessage) or each.tool_call_id == call["id"]
    ]


def finished(answer: ToolAnswer, seconds: float) -> list[ToolMessage]:
    """The messages in an answer, with their call's id as theirs, and how they came about."""
    messages = _messages_in(answer)
    for message in messages:
        message.id = message.tool_call_id
        message.response_metadata = {"status": message.status, "duration": round(seconds, 3)}
        if isinstance(message.content, str):
            is_error = message.status == "error"  # a tool may tell its errors itself
            message.content = encodable(redacted(message.content) if is_error else message.content)
        try:
            _SERDE.dumps_typed(message)
        except Exception:  # an open file, a lambda ...
            message.artifact = None
            message.content = encodable(str(message.text))
    return messages


def _messages_in(answer: object) -> list[ToolMessage]:
    if isinstance(answer, ToolMessage):
        return [answer]
    if isinstance(answer, Command):
        update = answer.update
        return _messages_in(update.get("messages") if isinstance(update, Mapping) else update)
    if isinstance(answer, list | tuple):
        return [message for each in answer for message in _messages_in(each)]
    return []


def tell_of_edit(answers: list[ToolMessage], call: ToolCall) -> None:
    """The model reads that something else was called than it said."""
    arguments = json.dumps(call["args"], ensure_ascii=False, default=str)
    for message in answers:
        if isinstance(message.content, str):
            message.content = f"The user changed the arguments to {arguments}.\n{message.content}"
