"""What every turn needs of LangChain's agent: the user's prompt, ears, and tools that cannot hurt.

One middleware, outermost. A call of a tool may wait for approval; it has a time limit; what goes
wrong in it becomes a result, which the model reads, and the run goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, NotRequired, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState, ExtendedModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.runnables.config import ensure_config, merge_configs, set_config_context
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from typing_extensions import override

from llmkeep.settings import settings

from .answers import DECLINED, EXPIRED, LOST, REFUSED, UNREADABLE, answer_to
from .approvals import decision_on
from .context import RunContext, ToolRules
from .faults import redacted, told_to_model
from .hooks import in_place
from .listening import Listener
from .stopping import stoppable
from .texts import encodable
from .tool_pool import is_synchronous, pooled
from .tools import is_marked

ToolAnswer = ToolMessage | Command[Any]

#: Tries whether a result can be stored, with the serializer that savers have.
_SERDE: Final = JsonPlusSerializer()

_NO_PARENT: Final = "The tool wanted to go on in another graph, and there is none here."

#: Of LangChain's usage of a message, what is summed for a conversation.
_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")
_DETAILS: Final = (
    ("cached_input_tokens", "input_token_details", "cache_read"),
    ("reasoning_tokens", "output_token_details", "reasoning"),
)


def _add(one: dict[str, int] | None, other: dict[str, int] | None) -> dict[str, int]:
    one, other = one or {}, other or {}
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


class ConversationState(AgentState[Any]):
    """The state of LangChain's agent, and what the conversation has spent."""

    usage: Annotated[NotRequired[dict[str, int]], _add]


class ConversationMiddleware(AgentMiddleware[ConversationState, RunContext]):
    """Holds nothing: it is shared by everybody who uses the compiled graph."""

    state_schema = ConversationState

    @override
    def wrap_model_call(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], ModelResponse[Any]],
    ) -> ExtendedModelResponse[Any]:
        return _heard(request, handler(_with_prompt(request)))

    @override
    @in_place
    async def awrap_model_call(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        listener = _listener(request)
        asking = handler(_with_prompt(request))
        if listener is None:
            return _heard(request, await stoppable(asking))
        with set_config_context(merge_configs(ensure_config(), {"callbacks": [listener]})) as ears:
            return _heard(request, await stoppable(asking, ears))

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolAnswer]
    ) -> ToolAnswer:
        admitted = _admitted(request)
        if isinstance(admitted, ToolMessage):
            return admitted
        try:
            return _own(handler(admitted), request.tool_call)
        except GraphBubbleUp:
            raise
        except Exception as error:
            return answer_to(request.tool_call, told_to_model(error), "error")

    @override
    @in_place
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
    ) -> ToolAnswer:
        admitted = _admitted(request)
        listener = _listener(request)
        if isinstance(admitted, ToolMessage):
            if listener is not None:
                listener.ended(request.tool_call, [admitted])
            return admitted
        if listener is not None:
            is_thread = request.tool is not None and is_synchronous(request.tool)
            listener.began(request.tool_call, can_be_stopped=not is_thread)
        began = time.monotonic()
        answer = _own(await _answer(admitted, handler), request.tool_call)
        answers = _finish(answer, time.monotonic() - began)
        if admitted is not request:
            _tell_of_edit(answers, admitted.tool_call)
        if listener is not None:
            listener.ended(request.tool_call, answers)
        return answer


# --- asking the model --------------------------------------------------------------------------


def _with_prompt(request: ModelRequest[RunContext]) -> ModelRequest[RunContext]:
    context = _context(request)
    if context is None or not context.prompt:
        return request
    return request.override(system_message=SystemMessage(context.prompt))


def _heard(
    request: ModelRequest[RunContext], answer: ModelResponse[Any]
) -> ExtendedModelResponse[Any]:
    """The model's answer as it is to be stored, and what it has cost."""
    listener = _listener(request)
    used: dict[str, int] = {}
    result: list[BaseMessage] = []
    spent = cast("ConversationState", request.state).get("usage")
    for message in answer.result:
        if not isinstance(message, AIMessage):
            result.append(message)
            continue
        used = _add(used, _counts(message))
        heard = listener and listener.answered(message, _add(spent, used))
        result.append(heard or message)
    command: Command[Any] | None = Command(update={"usage": used}) if used else None
    return ExtendedModelResponse(ModelResponse(result, answer.structured_response), command)


def _counts(message: AIMessage) -> dict[str, int]:
    usage: Mapping[str, Any] = message.usage_metadata or {}
    counts = {name: usage.get(name) for name in _COUNTS}
    for name, group, detail in _DETAILS:
        counts[name] = (usage.get(group) or {}).get(detail)
    return {name: count for name, count in counts.items() if isinstance(count, int)}


# --- calling tools -----------------------------------------------------------------------------


def _admitted(request: ToolCallRequest) -> ToolCallRequest | ToolMessage:
    """The call as it is to be made, or the answer where it is not to be.

    Interrupts the graph where a person has to be asked.
    """
    call = request.tool_call
    if UNREADABLE in call["args"]:
        return answer_to(call, REFUSED, "error")
    rules, listener = _rules(request), _listener(request)
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


async def _answer(
    request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
) -> ToolAnswer:
    """What the tool answers; what goes wrong is an answer, too."""
    rules = _rules(request)
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


def _own(answer: ToolAnswer | list[ToolAnswer], call: ToolCall) -> ToolAnswer:
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
            return cast("ToolAnswer", [_own(each, call) for each in _of(call, answer)])
    return answer


def _of(call: ToolCall, answers: Any) -> list[Any]:
    several = answers if isinstance(answers, list | tuple) else [answers]
    return [
        each
        for each in several
        if not isinstance(each, ToolMessage) or each.tool_call_id == call["id"]
    ]


def _finish(answer: ToolAnswer, seconds: float) -> list[ToolMessage]:
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


def _tell_of_edit(answers: list[ToolMessage], call: ToolCall) -> None:
    """The model reads that something else was called than it said."""
    arguments = json.dumps(call["args"], ensure_ascii=False, default=str)
    for message in answers:
        if isinstance(message.content, str):
            message.content = f"The user changed the arguments to {arguments}.\n{message.content}"


def _listener(request: ModelRequest[RunContext] | ToolCallRequest) -> Listener | None:
    context = _context(request)
    return None if context is None else context.listener


def _rules(request: ToolCallRequest) -> ToolRules:
    context = _context(request)
    return (context and context.rules) or ToolRules.of(settings.agents)


def _context(request: ModelRequest[RunContext] | ToolCallRequest) -> RunContext | None:
    """None where the graph is used directly, without one."""
    context: object = request.runtime.context
    return context if isinstance(context, RunContext) else None
