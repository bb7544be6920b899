"""The compiled graphs: one for each model instance and set of tools, shared by all agents.

A graph is compiled without a checkpointer, which is put in where it is used, and holds nothing of
a user: who asks, and with which prompt, travels in the run's `RunContext`, which tools and
middleware read as `runtime.context`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.graph.state import CompiledStateGraph

from llmkeep.core import ClientCache, Lease

from .context import RunContext
from .context_window import context_middleware
from .middleware import ConversationMiddleware

Tools = Sequence[BaseTool | Callable[..., Any] | dict[str, Any]]
Graph = CompiledStateGraph[Any, RunContext, Any, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a conversation a model is shown."""

    tokens: int | None = None
    """None: what the model's profile says."""
    strategy: str = "trim"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A graph, and what it was made of: as long as that is here, nothing else has its `id`."""

    graph: Graph
    llm: BaseChatModel
    tools: Tools


_graphs: Final = ClientCache[str, _Kept](name="graphs", label=lambda _key: "graph")


def graph_for(llm: BaseChatModel, tools: Tools, window: Window) -> Graph:
    """The graph for a model and tools, compiled by the first who asks."""
    with _lease(llm, tools, window) as kept:
        return kept.graph


async def agraph_for(llm: BaseChatModel, tools: Tools, window: Window) -> Graph:
    """The same; a graph that is not there yet is compiled off the loop."""
    async with _lease(llm, tools, window) as kept:
        return kept.graph


def forget_graphs() -> None:
    """Drop every graph, and the models in it."""
    _graphs.clear()


def _lease(llm: BaseChatModel, tools: Tools, window: Window) -> Lease[_Kept]:
    # Models and tools count as themselves: a tool that knows its user is never another's.
    key = f"{window.tokens} {window.strategy} {id(llm)} {[*map(id, tools)]}"
    return _graphs.lease(key, build=lambda _key: _Kept(_compile(llm, tools, window), llm, tools))


def _compile(llm: BaseChatModel, tools: Tools, window: Window) -> Graph:
    return create_agent(
        llm,
        tools if can_call_tools(llm) else (),
        middleware=(
            ConversationMiddleware(),
            *context_middleware(llm, tokens=window.tokens, strategy=window.strategy),
        ),
        context_schema=RunContext,
    )


def can_call_tools(llm: BaseChatModel) -> bool:
    """Whether tools can be bound to the model, as far as it tells."""
    if (llm.profile or {}).get("tool_calling") is False:
        return False
    return type(llm).bind_tools is not BaseChatModel.bind_tools
