"""The compiled graphs: one for each model instance and set of tools, shared by all agents.

A graph is compiled without a checkpointer, which is put in where it is used, and holds nothing of
a user: who asks, and with which prompt, travels in the run's `RunContext`, which tools and
middleware read as `runtime.context`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState, ToolCallRequest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import SystemMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from typing_extensions import override

from llmkeep.core import ClientCache, Lease

from .faults import told_to_model
from .memory import UserId
from .stopping import stoppable

Tools = Sequence[BaseTool | Callable[..., Any] | dict[str, Any]]
Graph = CompiledStateGraph[Any, "RunContext", Any, Any]
ToolAnswer = ToolMessage | Command[Any]


@dataclass(frozen=True, slots=True)
class RunContext:
    """What is a user's own in a run; lives as long as the run.

    A tool gets it by a parameter `runtime: ToolRuntime[RunContext]`, as `runtime.context`.
    """

    user_id: UserId
    session_id: str
    db_session: Any = None
    user: Any = None
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A graph, and what it was made of: as long as that is here, nothing else has its `id`."""

    graph: Graph
    llm: BaseChatModel
    tools: Tools


_graphs: Final = ClientCache[tuple[int, ...], _Kept](name="graphs", label=lambda _key: "graph")


def graph_for(llm: BaseChatModel, tools: Tools) -> Graph:
    """The graph for a model and tools, compiled by the first who asks."""
    with _lease(llm, tools) as kept:
        return kept.graph


async def agraph_for(llm: BaseChatModel, tools: Tools) -> Graph:
    """The same; a graph that is not there yet is compiled off the loop."""
    async with _lease(llm, tools) as kept:
        return kept.graph


def forget_graphs() -> None:
    """Drop every graph, and the models in it."""
    _graphs.clear()


def _lease(llm: BaseChatModel, tools: Tools) -> Lease[_Kept]:
    # Models and tools count as themselves: a tool that knows its user is never another's.
    key = (id(llm), *map(id, tools))
    return _graphs.lease(key, build=lambda _key: _Kept(_compile(llm, tools), llm, tools))


def _compile(llm: BaseChatModel, tools: Tools) -> Graph:
    return create_agent(
        llm,
        tools if can_call_tools(llm) else (),
        middleware=(_Conversation(),),
        context_schema=RunContext,
    )


def can_call_tools(llm: BaseChatModel) -> bool:
    """Whether tools can be bound to the model, as far as it tells."""
    if (llm.profile or {}).get("tool_calling") is False:
        return False
    return type(llm).bind_tools is not BaseChatModel.bind_tools


class _Conversation(AgentMiddleware[AgentState[Any], RunContext]):
    """What every turn needs: the user's prompt, and tools that fail as a result."""

    @override
    def wrap_model_call(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        return handler(_with_prompt(request))

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        return await stoppable(handler(_with_prompt(request)))

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolAnswer]
    ) -> ToolAnswer:
        try:
            return handler(request)
        except GraphBubbleUp:
            raise
        except Exception as error:
            return _failure(request, error)

    @override
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
    ) -> ToolAnswer:
        try:
            return await stoppable(handler(request))
        except GraphBubbleUp:
            raise
        except Exception as error:
            return _failure(request, error)


def _with_prompt(request: ModelRequest[RunContext]) -> ModelRequest[RunContext]:
    context: RunContext | None = request.runtime.context  # none where the graph is used directly
    if context is None or not context.prompt:
        return request
    return request.override(system_message=SystemMessage(context.prompt))


def _failure(request: ToolCallRequest, error: Exception) -> ToolMessage:
    """The model reads what went wrong, and the run goes on."""
    return ToolMessage(
        told_to_model(error),
        name=request.tool_call["name"],
        tool_call_id=request.tool_call["id"],
        status="error",
    )
