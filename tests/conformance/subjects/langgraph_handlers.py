"""LangGraph with a graph and an `InMemorySaver` per handler, as the original design had it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conformance.chat_models import arguments
from tests.conformance.subject import Model, Subject, Talking


class Handler:
    """A graph and a memory of its own."""

    def __init__(self, user: str, llm: Any) -> None:
        from langchain.agents import create_agent
        from langgraph.checkpoint.memory import InMemorySaver

        self._graph: Any = create_agent(llm, [], checkpointer=InMemorySaver())
        self._thread = {"configurable": {"thread_id": f"{user} session"}}

    async def say(self, text: str) -> str:
        """The answer."""
        asked = {"messages": [{"role": "user", "content": text}]}
        answer = await self._graph.ainvoke(asked, self._thread)
        return str(answer["messages"][-1].content)


class Conversations(Subject):
    """`create_agent(llm, tools, checkpointer=InMemorySaver())` per handler."""

    name = "LangGraph, a memory per handler"
    about = "`create_agent(llm, [], checkpointer=InMemorySaver())` in each handler"
    distributions = ("langgraph", "langchain", "langchain-openai")
    modules = ("langchain.agents", "langgraph.checkpoint.memory", "langchain_openai", "asyncio")
    keeps_not = asks_not = "only leads conversations here"

    def converse(self, model: Model) -> Callable[[str], Talking]:
        """Handlers over one shared model."""
        from langchain_openai import ChatOpenAI

        llm = ChatOpenAI(**arguments(model, "openai"))
        return lambda user: Handler(user, llm)


SUBJECT = Conversations()
