"""What every turn needs of LangChain's agent: the user's prompt, ears, and tools that cannot hurt.

One middleware, outermost; what it does about a tool's call is in `tool_calls`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NotRequired, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState, ExtendedModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.runnables.config import ensure_config, merge_configs, set_config_context
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from typing_extensions import override

from .answers import answer_to
from .context import RunContext, context_of, listener_of
from .faults import told_to_model
from .hooks import in_place
from .stopping import stoppable
from .tool_calls import ToolAnswer, admitted, answer_of, finished, own, tell_of_edit
from .tool_pool import is_synchronous
from .usage import add_counts, counts_of


class ConversationState(AgentState[Any]):
    """The state of LangChain's agent, and what the conversation has spent."""

    usage: Annotated[NotRequired[dict[str, int]], add_counts]


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
        listener = listener_of(request)
        asking = handler(_with_prompt(request))
        if listener is None:
            return _heard(request, await stoppable(asking))
        ears = merge_configs(ensure_config(), {"callbacks": [listener]})
        with listener.model_call() as step, set_config_context(ears) as context:
            answer = await stoppable(asking, context)
            step.usage = _used(answer)
        return _heard(request, answer)

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolAnswer]
    ) -> ToolAnswer:
        call = admitted(request)
        if isinstance(call, ToolMessage):
            return call
        try:
            return own(handler(call), request.tool_call)
        except GraphBubbleUp:
            raise
        except Exception as error:
            return answer_to(request.tool_call, told_to_model(error), "error")

    @override
    @in_place
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
    ) -> ToolAnswer:
        call = admitted(request)
        listener = listener_of(request)
        if isinstance(call, ToolMessage):
            if listener is not None:
                listener.ended(request.tool_call, [call])
            return call
        if listener is None:
            return (await _made(request, call, handler))[0]
        is_thread = request.tool is not None and is_synchronous(request.tool)
        listener.began(request.tool_call, can_be_stopped=not is_thread)
        with listener.tool_call(call.tool_call) as step:
            answer, answers = await _made(request, call, handler)
            step.status = answers[-1].status if answers else "success"
        listener.ended(request.tool_call, answers)
        return answer


async def _made(
    request: ToolCallRequest,
    call: ToolCallRequest,
    handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]],
) -> tuple[ToolAnswer, list[ToolMessage]]:
    """Make the call, as which `request` was admitted: the answer, and the messages in it."""
    began = time.monotonic()
    answer = own(await answer_of(call, handler), request.tool_call)
    answers = finished(answer, time.monotonic() - began)
    if call is not request:
        tell_of_edit(answers, call.tool_call)
    return answer, answers


# --- asking the model --------------------------------------------------------------------------


def _with_prompt(request: ModelRequest[RunContext]) -> ModelRequest[RunContext]:
    context = context_of(request)
    if context is None or not context.prompt:
        return request
    return request.override(system_message=SystemMessage(context.prompt))


def _heard(
    request: ModelRequest[RunContext], answer: ModelResponse[Any]
) -> ExtendedModelResponse[Any]:
    """The model's answer as it is to be stored, and what it has cost."""
    listener = listener_of(request)
    used = _used(answer)
    spent = add_counts(cast("ConversationState", request.state).get("usage"), used)
    result: list[BaseMessage] = [
        listener.answered(each, spent) if listener and isinstance(each, AIMessage) else each
        for each in answer.result
    ]
    command: Command[Any] | None = Command(update={"usage": used}) if used else None
    return ExtendedModelResponse(ModelResponse(result, answer.structured_response), command)


def _used(answer: ModelResponse[Any]) -> dict[str, int]:
    """What an answer has cost."""
    used: dict[str, int] = {}
    for message in answer.result:
        if isinstance(message, AIMessage):
            used = add_counts(used, counts_of(message.usage_metadata))
    return used
