"""Pruning: what a conversation cannot go on from goes, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from llmkeep.agents import pruning
from llmkeep.agents.memory import ConversationMemory
from llmkeep.agents.pruning import Row, prune, superseded
from llmkeep.agents.sqlite_memory import SqliteMemory

OF: Any = {"configurable": {"thread_id": "t"}}
ROOT: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}

Kept = ConversationMemory | SqliteMemory


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    kept: Kept = (
        ConversationMemory() if request.param == "memory" else SqliteMemory(tmp_path / "c.db")
    )
    with closing(kept):
        yield kept


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteMemory]:
    with closing(SqliteMemory(tmp_path / "c.db")) as kept:
        yield kept


def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("a" * len(str(state["messages"][-1].content)))]}


def graph_on(saver: BaseCheckpointSaver[Any] | None, node: Any = answer) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", node)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


async def say(graph: Any, text: str = "hi", config: Any = OF) -> list[Any]:
    return list((await graph.ainvoke({"messages": [HumanMessage(text)]}, config))["messages"])


async def stored(saver: BaseCheckpointSaver[Any], config: Any = OF) -> list[CheckpointTuple]:
    return [each async for each in saver.alist(config)]


def id_of(found: CheckpointTuple) -> str:
    return str(found.checkpoint["id"])


# --- the rule ------------------------------------------------------------------------------------


def row(name: str, parent: str | None = None, namespace: str = "", root: str | None = None) -> Row:
    return Row(namespace, name, parent, root, is_delta=False)


def test_of_a_chain_the_newest_stays():
    assert superseded([row("1"), row("2", "1"), row("3", "2")]) == {("", "1"), ("", "2")}
    assert superseded([]) == superseded([row("7", "gone")]) == set()


def test_the_end_of_every_branch_stays():
    rows = [row("1"), row("2", "1"), row("3", "2"), row("4", "1")]
    assert superseded(rows) == {("", "1"), ("", "2")}


def test_namespaces_are_apart():
    assert superseded([row("1"), row("2", "1", "inner")]) == set()


def test_the_newest_stays_even_as_somebodys_parent():
    """A checkpoint that was put twice can be its own ancestor."""
    assert superseded([row("1", "2"), row("2", "1")]) == {("", "1")}


def test_a_subgraphs_call_goes_with_the_checkpoint_it_was_made_from():
    rows = [
        row("1"),
        row("2", "1"),
        row("a", None, "tools:old", "1"),
        row("b", "a", "tools:old", "1"),
        row("c", None, "tools:new", "2"),
        row("d", None, "remembers", "1"),
        row("e", None, "tools:early", "not saved yet"),
    ]
    assert superseded(rows) == {("", "1"), ("tools:old", "a"), ("tools:old", "b")}


@given(some.lists(some.tuples(some.integers(0, 12), some.booleans()), max_size=12), some.data())
def test_pruning_at_any_moment_changes_nothing_for_who_goes_on(parents, data):
    """Pruned early or late, in one go or several, the same checkpoints stay."""
    rows = [
        row(f"{n:02}", f"{parent:02}" if parent < n else None)
        for n, (parent, _) in enumerate(parents)
    ]
    at_once = {each.id for each in rows} - {name for _, name in superseded(rows)}
    kept: list[Row] = []
    for each, (_, prune_now) in zip(rows, parents, strict=True):
        if each.parent is not None and each.parent not in {one.id for one in kept}:
            return  # somebody went on from what had gone
        kept.append(each)
        if prune_now:
            kept = [one for one in kept if ("", one.id) not in superseded(kept)]
    assert {each.id for each in kept} - {name for _, name in superseded(kept)} == at_once


# --- savers --------------------------------------------------------------------------------------


async def test_a_pruned_conversation_goes_on(saver):
    graph = graph_on(saver)
    for n in range(3):
        assert len(await say(graph)) == 2 * n + 2
        await saver.aprune(["t", "no such conversation"])
        assert len(await stored(saver)) == 1
    assert len((await graph.aget_state(OF)).values["messages"]) == 6


def test_synchronous_callers_prune_too(saver):
    graph = graph_on(saver)
    for _ in range(2):
        graph.invoke({"messages": [HumanMessage("hi")]}, OF)
        saver.prune(["t"])
    assert len([*saver.list(OF)]) == 1


async def test_the_heads_of_branches_stay(saver):
    """Who went on from an older checkpoint finds it, and both ends, until they go on again."""
    graph = graph_on(saver)
    await say(graph, "one")
    first = (await graph.aget_state(OF)).config
    await say(graph, "two")
    other = await graph.aupdate_state(first, {"messages": [HumanMessage("else")]})
    await saver.aprune(["t"])

    assert len(await stored(saver)) == 2
    assert (await graph.aget_state(other)).values["messages"][-1].content == "else"
    texts = [each.content for each in await say(graph, "three", other)]
    assert texts == ["one", "aaa", "else", "three", "aaaaa"]


async def test_what_waits_for_an_answer_waits_on(saver):
    """The pending writes of what stays are kept: an interrupt is among them."""

    def asking(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(interrupt("sure?"))]}

    graph = graph_on(saver, asking)
    await say(graph)
    before = await stored(saver)
    await saver.aprune(["t"])
    (kept,) = await stored(saver)
    assert kept.pending_writes == before[0].pending_writes != []
    result = await graph.ainvoke(Command(resume="yes"), OF)
    assert result["messages"][-1].content == "yes"


async def test_the_calls_of_subgraphs_do_not_pile_up(saver):
    inner = graph_on(None)

    async def outer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [(await inner.ainvoke(state))["messages"][-1]]}

    graph = graph_on(saver, outer)
    for _ in range(3):
        await say(graph)
        assert (
            len({each.config["configurable"]["checkpoint_ns"] for each in await stored(saver)}) == 2
        )
        await saver.aprune(["t"])
        assert len(await stored(saver)) == 1


async def test_a_conversation_with_a_delta_channel_is_kept_whole(saver):
    metadata: Any = {"counters_since_delta_snapshot": {"messages": [1, 1]}}
    config = ROOT
    for _ in range(2):
        config = await saver.aput(config, empty_checkpoint(), metadata, {})
    with pytest.raises(NotImplementedError, match="DeltaChannel"):
        await saver.aprune(["t"])
    with pytest.raises(NotImplementedError, match="DeltaChannel"):
        saver.prune(["t"])
    assert len(await stored(saver)) == 2


async def test_delete_deletes_and_anything_else_is_refused(saver):
    await say(graph_on(saver))
    with pytest.raises(ValueError, match="keep_latest or delete"):
        await saver.aprune(["t"], strategy="keep_nothing")
    with pytest.raises(TypeError, match="a list of names"):
        saver.prune("t")
    assert len(await stored(saver)) == 3
    await saver.aprune(["t"], strategy="delete")
    assert await stored(saver) == []
    await say(graph_on(saver))
    saver.prune(["t"], strategy="delete")
    assert await stored(saver) == []


async def test_nothing_is_left_of_what_goes(sqlite):
    with closing(ConversationMemory()) as memory:
        for saver in (memory, sqlite):
            for _ in range(5):
                await say(graph_on(saver))
            await saver.aprune(["t"])
        with memory.hold("t") as kept:
            assert not kept.writes
            (checkpoint,) = kept.storage["t"][""]
            versions = kept.get_tuple(OF).checkpoint["channel_versions"]  # type: ignore[union-attr]
            assert {key[2:] for key in kept.blobs} == {*versions.items()}
            assert checkpoint
    with closing(sqlite3.connect(sqlite.path)) as database:
        assert database.execute("SELECT count(*) FROM writes").fetchone() == (0,)


# --- when a run has ended ------------------------------------------------------------------------


async def test_a_saver_that_cannot_prune_is_named_once(caplog, monkeypatch):
    monkeypatch.setattr(pruning, "_told", set())
    saver = InMemorySaver()
    with caplog.at_level(logging.WARNING, logger=pruning.__name__):
        for _ in range(3):
            await prune(saver, "t")
    assert [each.message[:57] for each in caplog.records] == [
        "InMemorySaver keeps every checkpoint: it does not prune. A conversation's size"[:57]
    ]


async def test_a_failing_prune_is_no_failing_run(caplog):
    class Broken(InMemorySaver):
        async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
            raise sqlite3.OperationalError("database is locked")

    with caplog.at_level(logging.WARNING, logger=pruning.__name__):
        await prune(Broken(), "t")
    assert "not pruned: OperationalError" in caplog.text


# --- how much it costs ---------------------------------------------------------------------------


def bytes_of(saver: Kept) -> int:
    """What a saver holds: on disk with the log beside it, or what it has serialised."""
    if isinstance(saver, SqliteMemory):
        files = (saver.path, saver.path.with_name(f"{saver.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())
    with saver.hold("t") as kept:
        spaces = kept.storage["t"].values()
        return (
            sum(len(value) for _, value in kept.blobs.values())
            + sum(len(a[1]) + len(b[1]) for space in spaces for a, b, _ in space.values())
            + sum(len(each[2][1]) for writes in kept.writes.values() for each in writes.values())
        )


async def test_i10_a_hundred_turns_cost_at_most_ten_times_their_text(saver):
    """What a conversation takes grows with its text, and not with the square of it."""
    graph = graph_on(saver)
    for _ in range(100):
        await say(graph, "q" * 1000)
        await saver.aprune(["t"])
    assert 200_000 < bytes_of(saver) < 10 * 200_000


async def test_i10_a_conversation_that_does_not_grow_takes_no_more_for_its_age(saver):
    """Turn after turn the same pages are used again."""

    def forget(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("a" * 5000, id="answer")]}

    graph = graph_on(saver, forget)
    most = []
    for n in range(120):
        await graph.ainvoke({"messages": [HumanMessage("q" * 5000, id="question")]}, OF)
        await saver.aprune(["t"])
        if n % 40 == 39:
            most.append(bytes_of(saver))
    assert max(most) < 1.2 * most[0] + 100_000
    assert max(most) < 500_000


async def test_i10_what_pruning_frees_goes_back_to_the_system(sqlite):
    """Of a file, no more stays free than what comes next will fill."""
    graph = graph_on(sqlite)
    for _ in range(40):
        await say(graph, "q" * 2000)
    before = bytes_of(sqlite)
    await sqlite.aprune(["t"])
    sqlite.close()
    assert bytes_of(sqlite) < 6 * 160_000 < before / 5


# --- several at once -----------------------------------------------------------------------------


async def _go_on(saver: SqliteMemory, times: int) -> None:
    """Add to a conversation and prune it; what was added last is always there."""
    config = ROOT
    for n in range(times):
        config = await saver.aput(config, empty_checkpoint(), {"step": n}, {})
        await saver.aput_writes(config, [("messages", n)], "task")
        await saver.aprune(["t"])
        found = await saver.aget_tuple(config)
        assert found is not None
        assert found.pending_writes == [("task", "messages", n)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_that_prune_one_conversation_lose_nothing_of_each_other(sqlite):
    """Each goes on from its own newest checkpoint, which the other's pruning never takes."""
    asyncio.run(_go_on(sqlite, 1))
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            asyncio.run(_go_on(sqlite, 40))
            failed = 0
        finally:
            os._exit(failed)
    asyncio.run(_go_on(sqlite, 40))
    assert os.waitpid(child, 0)[1] == 0
    assert len([*sqlite.list(OF)]) == 3
