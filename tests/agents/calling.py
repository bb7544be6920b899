"""A call of one tool as an agent's graph makes it, without a model that asks for it."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime


async def called(tool: BaseTool, context: object = None, **arguments: Any) -> Any:
    """The message with the tool's answer, or its Command. Raises what the tool raises."""
    call = {"name": tool.name, "args": arguments, "id": "call-1", "type": "tool_call"}
    node = ToolNode([tool], handle_tool_errors=False)
    config: Any = {"configurable": {"__pregel_runtime": Runtime(context=context)}}
    answer = await node.ainvoke({"messages": [AIMessage("", tool_calls=[call])]}, config)
    return answer["messages"][0] if isinstance(answer, dict) else answer[0]
