"""The tests that the original design asked for, by name."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

import llmkeep
from llmkeep.agents import ConversationHandler
from llmkeep.settings import settings

#: Stands for a database session; nothing touches it.
NO_SESSION = None


def test_concurrent_initialization():
    """Ten threads that construct handlers at once make one instance."""
    gate = threading.Barrier(10)

    def construct(n: int) -> ConversationHandler:
        gate.wait(10)
        return ConversationHandler(f"user-{n}", NO_SESSION)

    with ThreadPoolExecutor(10) as pool:
        handlers = list(pool.map(construct, range(10)))

    assert len(ConversationHandler._llm_cache) == 1
    assert ConversationHandler.get_cache_stats()["size"] == 1
    assert len({id(handler.llm) for handler in handlers}) == 1
    assert llmkeep.stats().builds == 1


def test_cache_key_isolation():
    """Handlers that differ in a setting never share an instance; equal ones do."""
    first = ConversationHandler(1, NO_SESSION)
    settings.agents.conversation_handler_temperature = 0.2
    second = ConversationHandler(1, NO_SESSION)
    settings.agents.conversation_handler_default_model = "openai:gpt-4o"
    third = ConversationHandler(1, NO_SESSION)
    fourth = ConversationHandler(2, NO_SESSION)

    assert first.llm is not second.llm
    assert second.llm is not third.llm
    assert third.llm is fourth.llm
    assert sorted(ConversationHandler._llm_cache, key=str) == [
        ("openai", "gpt-4o", 0.2),
        ("openai", "gpt-5-mini", 0.2),
        ("openai", "gpt-5-mini", None),
    ]


def test_cache_cleanup():
    """After clearing there is nothing, and the next handler makes anew."""
    before = ConversationHandler("user", NO_SESSION).llm
    assert len(ConversationHandler._llm_cache) == 1

    ConversationHandler.clear_llm_cache()

    assert len(ConversationHandler._llm_cache) == 0
    assert ConversationHandler.get_cache_stats()["size"] == 0
    assert ConversationHandler.get_cache_stats()["keys"] == []
    assert llmkeep.stats().live == 0
    assert ConversationHandler("user", NO_SESSION).llm is not before
    assert llmkeep.stats().builds == 2


def test_initialization_performance():
    """A warm handler costs at most a fiftieth of one that makes model, tools and graph itself."""
    ConversationHandler("user", NO_SESSION)

    def warm() -> None:
        ConversationHandler("user", NO_SESSION)

    naive, kept = _seconds(original_constructor, 5), _seconds(warm, 200)
    assert naive / kept >= 50


def test_memory_usage():
    """A thousand handlers of one configuration hold one model and next to no memory."""
    ConversationHandler("user", NO_SESSION).graph_agent
    gc.collect()
    tracemalloc.start()
    try:
        handlers = [ConversationHandler(f"user-{n}", NO_SESSION) for n in range(1000)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(handlers) < 2000
    assert len(ConversationHandler._llm_cache) == 1
    assert llmkeep.stats().live == 1


async def test_high_concurrency():
    """A hundred at once: no deadlock, no duplicate."""
    before = ConversationHandler.get_cache_stats()["builds"]
    handlers = await asyncio.wait_for(
        asyncio.gather(*(ConversationHandler.create(n, NO_SESSION) for n in range(100))), 60
    )
    assert len({id(handler.llm) for handler in handlers}) == 1
    assert len(ConversationHandler._llm_cache) == 1
    assert llmkeep.stats().builds == 1
    assert ConversationHandler.get_cache_stats()["builds"] == before + 1


def original_constructor() -> Any:
    """What the original design does for every handler."""
    return create_agent(ChatOpenAI(model="gpt-5-mini"), five_tools(), checkpointer=InMemorySaver())


def five_tools() -> list[BaseTool]:
    @tool
    def search(query: str, limit: int = 10) -> str:
        """Search."""
        return query

    @tool
    def lookup(name: str) -> str:
        """Look up."""
        return name

    @tool
    def add(a: float, b: float) -> float:
        """Add."""
        return a + b

    @tool
    def remember(text: str) -> str:
        """Remember."""
        return text

    @tool
    def now(zone: str = "UTC") -> str:
        """Tell the time."""
        return zone

    return [search, lookup, add, remember, now]


def _seconds(work: Callable[[], Any], times: int) -> float:
    """The median of what one call takes."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return median(taken)
