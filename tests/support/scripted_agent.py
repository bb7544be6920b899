"""The agent that the wire tests talk with, and its tools."""

from __future__ import annotations

from langchain_core.tools import tool

from llmkeep.agents import ConversationHandler


@tool
async def add(a: int, b: int = 0) -> str:
    """Add two numbers."""
    return str(a + b)


@tool
def shout(text: str) -> str:
    """Say it louder; synchronous."""
    return text.upper()


@tool
async def now() -> str:
    """Tell the time; takes no arguments."""
    return "noon"


@tool
async def explode(reason: str) -> str:
    """Fail."""
    raise RuntimeError(f"boom: {reason}")


class Agent(ConversationHandler):
    @property
    def tools(self):
        return (add, shout, now, explode)
