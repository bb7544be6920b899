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
        with set_config_context(merge_configs(ensure_config(), {"callbacks": [listener]})) as ears:
            return _heard(request, await stoppable(asking, ears))

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
        if listener is not None:
            is_thread = request.tool is not None and is_synchronous(request.tool)
            listener.began(request.tool_call, can_be_stopped=not is_thread)
        began = time.monotonic()
        answer = own(await answer_of(call, handler), request.tool_call)
        answers = finished(answer, time.monotonic() - began)
        if call is not request:
            tell_of_edit(answers, call.tool_call)
        if listener is not None:
            listener.ended(request.tool_call, answers)
        return answer


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
    used: dict[str, int] = {}
    result: list[BaseMessage] = []
    spent = cast("ConversationState", request.state).get("usage")
    for message in answer.result:
        if not isinstance(message, AIMessage):
            result.append(message)
            continue
        used = add_counts(used, counts_of(message.usage_metadata))
        heard = listener and listener.answered(message, add_counts(spent, used))
        result.append(heard or message)
    command: Command[Any] | None = Command(update={"usage": used}) if used else None
    return ExtendedModelResponse(ModelResponse(result, answer.structured_response), command)
