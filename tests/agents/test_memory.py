"""The default memory: whose a conversation is, and what is forgotten."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import MessagesState, StateGraph

from llmkeep.agents import ConversationMemory, thread_of
from tests.agents.loops import on_loops_at_once


@pytest.fixture
def memory() -> Iterator[ConversationMemory]:
    with closing(ConversationMemory()) as saver:
        yield saver


def echo(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"answer {len(state['messages'])}")]}


def graph_on(saver: BaseCheckpointSaver[Any]):
    builder = StateGraph(MessagesState)
    builder.add_node("echo", echo)
    builder.set_entry_point("echo")
    builder.set_finish_point("echo")
    return builder.compile(checkpointer=saver)


def of(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def say(graph: Any, thread: str, text: str = "hi") -> list[str]:
    state = graph.invoke({"messages": [HumanMessage(text)]}, of(thread))
    return [str(message.content) for message in state["messages"]]


def test_no_two_conversations_share_a_name():
    one = uuid.UUID(int=1)
    pairs: list[tuple[Any, str]] = [
        ("a:b", "c"),
        ("a", "b:c"),
        ('a", "b', "c"),
        ("a", 'b", "c'),
        (1, "s"),
        ("1", "s"),
        (True, "s"),
        ("", "s"),
        ("s", ""),
        (one, "s"),
    ]
    assert len({thread_of(*pair) for pair in pairs}) == len(pairs)
    assert thread_of(one, "s") == thread_of(str(one), "s")


def test_a_conversation_goes_on_and_others_are_apart(memory):
    graph = graph_on(memory)
    assert say(graph, "t1", "one") == ["one", "answer 1"]
    assert say(graph, "t2", "two") == ["two", "answer 1"]
    assert say(graph, "t1", "three") == ["one", "answer 1", "three", "answer 3"]
    assert len(list(graph.get_state_history(of("t1")))) > 2


def test_a_deleted_conversation_is_gone(memory):
    graph = graph_on(memory)
    say(graph, "t1")
    memory.delete_thread("t1")
    assert say(graph, "t1", "new") == ["new", "answer 1"]
    with pytest.raises(ValueError, match="thread_id"):
        memory.list(None)


def test_i10_conversations_are_bounded_and_it_is_said(caplog):
    """The default memory keeps so many conversations, and a log line says when one is dropped."""
    with (
        closing(ConversationMemory(max_conversations=3)) as memory,
        caplog.at_level(logging.WARNING, logger="llmkeep.agents.memory"),
    ):
        graph = graph_on(memory)
        for n in range(20):
            say(graph, f"t{n}")
        assert memory.count() == 3
        assert len(say(graph, "t19")) == 4
        assert len(say(graph, "t0")) == 2
    assert [record.message[:33] for record in caplog.records] == [
        "conversations are being forgotten"
    ]


def test_i3_a_conversation_that_is_being_answered_is_not_forgotten():
    """A conversation is leased while it is answered."""
    with closing(ConversationMemory(max_conversations=1)) as memory:
        graph = graph_on(memory)
        with memory.hold("t0"):
            for n in range(5):
                say(graph, f"t{n}")
        assert say(graph, "t0")[:2] == ["hi", "answer 1"]


def test_one_memory_serves_threads_and_loops_at_once(memory):
    graph = graph_on(memory)

    async def turn(thread: str, n: int) -> None:
        state = await graph.ainvoke({"messages": [HumanMessage(f"{thread}-{n}")]}, of(thread))
        said = [str(m.content) for m in state["messages"] if isinstance(m, HumanMessage)]
        assert said == [f"{thread}-{turn}" for turn in range(n + 1)]

    async def talk(loop: int) -> None:
        for n in range(3):
            await asyncio.gather(*(turn(f"{loop}/{c}", n) for c in range(5)))

    on_loops_at_once(talk)
