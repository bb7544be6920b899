"""The agent that the wire tests talk with, and its tools."""

from __future__ import annotations

import asyncio

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


@tool
async def give_up() -> str:
    """Wait for something that has been cancelled."""
    gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    gone.cancel()
    return await gone


class Agent(ConversationHandler):
    @property
    def tools(self):
        return (add, shout, now, explode, give_up)
