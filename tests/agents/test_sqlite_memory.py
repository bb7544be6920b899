"""Conversations in a SQLite file: from any loop and thread, and closed with what it belongs to."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import END, START, MessagesState, StateGraph

from llmkeep.agents.leased_saver import LeasedSaver
from llmkeep.agents.sqlite_memory import SqliteMemory
from llmkeep.core import CacheClosed
from llmkeep.core.events import Closed, Event
from tests.agents.loops import PATIENCE, on_loops_at_once


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[SqliteMemory]:
    with closing(SqliteMemory(tmp_path / "conversations.db")) as saver:
        yield saver


def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"answer {len(state['messages'])}")]}


def graph_on(saver: BaseCheckpointSaver[Any]) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


def of(thread: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def hi() -> Any:
    return {"messages": [HumanMessage("hi")]}


def files_of(memory: SqliteMemory) -> list[str]:
    return sorted(each.name for each in memory.path.parent.iterdir())


# --- loops, threads, processes -------------------------------------------------------------------


def test_one_graph_serves_four_loops_at_once(memory):
    """Of 200 calls of one compiled graph on four loops none fails, and none is mixed up."""
    graph = graph_on(memory)

    async def turn(thread: str) -> None:
        for n in range(1, 6):
            state = await graph.ainvoke(hi(), of(thread))
            assert len(state["messages"]) == 2 * n

    async def talk(loop: int) -> None:
        await asyncio.gather(*(turn(f"{loop}/{number}") for number in range(10)))

    on_loops_at_once(talk)

    threads = {each.config["configurable"]["thread_id"] for each in memory.list(None)}
    assert len(threads) == 40


def test_synchronous_callers_share_the_conversations(memory):
    graph = graph_on(memory)
    asyncio.run(graph.ainvoke(hi(), of("t")))
    with ThreadPoolExecutor(4) as pool:
        for turn in [pool.submit(graph.invoke, hi(), of(f"{n}")) for n in range(12)]:
            assert len(turn.result(PATIENCE)["messages"]) == 2
    assert len(graph.invoke(hi(), of("t"))["messages"]) == 4
    memory.delete_thread("t")
    assert graph.get_state(of("t")).values == {}
    assert len([*graph.get_state_history(of("3"))]) == 3


def test_i5_what_a_loop_opened_is_closed_with_it(memory):
    """The loop's connection and its thread are gone when `asyncio.run` returns, the file whole."""
    before = {*threading.enumerate()}
    asyncio.run(graph_on(memory).ainvoke(hi(), of("t")))
    left = [each for each in {*threading.enumerate()} - before if "llmkeep" not in each.name]
    assert left == []
    assert files_of(memory) == ["conversations.db"]


def test_i5_a_loop_that_dies_without_ceremony_leaves_nothing_open(memory):
    """A loop that was closed without its asynchronous generators: its connection is closed soon."""
    closed = threading.Event()

    def notice(event: Event) -> None:
        if isinstance(event, Closed):
            closed.set()

    memory._savers.subscribe(notice)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(memory.aget_tuple(of("t")))
    loop.close()
    assert closed.wait(PATIENCE)
    assert files_of(memory) == ["conversations.db"]


LEFT_OPEN = """
import asyncio, sys
from llmkeep.agents.sqlite_memory import SqliteMemory
memory = SqliteMemory(sys.argv[1])
loop = asyncio.new_event_loop()
loop.run_until_complete(memory.aget_tuple({"configurable": {"thread_id": "t"}}))
"""


def test_a_loop_that_was_never_closed_does_not_keep_a_process(tmp_path):
    """Threads of aiosqlite are waited for at exit; ours are not."""
    ended = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, str(tmp_path / "c.db")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_i9_a_forked_child_opens_its_own(memory):
    """A child uses no connection of its parent, which notices nothing."""
    graph = graph_on(memory)

    async def around_a_fork() -> None:
        await graph.ainvoke(hi(), of("t"))
        child = os.fork()
        if child == 0:
            failed = 1
            try:
                graph.invoke(hi(), of("child"))
                failed = memory._savers.stats().builds - 1
            finally:
                os._exit(failed)
        assert os.waitpid(child, 0)[1] == 0
        assert len((await graph.ainvoke(hi(), of("t")))["messages"]) == 4
        assert len((await graph.ainvoke(hi(), of("child")))["messages"]) == 4

    asyncio.run(around_a_fork())


def test_many_may_open_a_new_file_at_once(tmp_path):
    """As processes do that start together, each with an object of its own."""

    async def talk(loop: int) -> None:
        with closing(SqliteMemory(tmp_path / "new" / "c.db")) as memory:
            await graph_on(memory).ainvoke(hi(), of(f"{loop}"))
            await memory.aclose()

    on_loops_at_once(talk, loops=8)
    with closing(SqliteMemory(tmp_path / "new" / "c.db")) as memory:
        assert len([*memory.list(None)]) == 24


# --- the file ------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_i12_the_file_is_its_owners_alone(tmp_path):
    """Conversations are personal: the file, the log beside it and a new folder are private."""
    with closing(SqliteMemory(tmp_path / "new" / "folder" / "c.db")) as memory:
        graph_on(memory).invoke(hi(), of("t"))
        files = [*memory.path.parent.iterdir()]
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(memory.path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_the_mode_of_a_file_that_is_there_is_left_alone(tmp_path):
    path = tmp_path / "c.db"
    path.touch(0o640)
    path.chmod(0o640)
    with closing(SqliteMemory(path)) as memory:
        graph_on(memory).invoke(hi(), of("t"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_of_langgraphs_own_saver_is_taken_over(tmp_path):
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(tmp_path / "c.db")) as saver:
        graph_on(saver).invoke(hi(), of("t"))
    with closing(SqliteMemory(tmp_path / "c.db")) as memory:
        assert len(graph_on(memory).invoke(hi(), of("t"))["messages"]) == 4
        memory.prune(["t"])
        assert len([*memory.list(of("t"))]) == 1


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_database_without_a_file_is_refused(path):
    with pytest.raises(ValueError, match="use ConversationMemory"):
        SqliteMemory(path)


async def test_what_cannot_be_opened_is_told_and_tried_again(tmp_path):
    memory = SqliteMemory(tmp_path / "c.db")
    memory.path.mkdir()
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            await memory.aget_tuple(of("t"))
    memory.path.rmdir()
    assert await memory.aget_tuple(of("t")) is None
    await memory.aclose()


def test_values_can_be_encrypted(tmp_path):
    class Swapped(CipherProtocol):
        def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
            return "swapped", plaintext[::-1]

        def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
            return ciphertext[::-1]

    with closing(SqliteMemory(tmp_path / "c.db", serde=EncryptedSerializer(Swapped()))) as memory:
        graph = graph_on(memory)
        graph.invoke({"messages": [HumanMessage("secret word")]}, of("t"))
        assert asyncio.run(graph.ainvoke(hi(), of("t")))["messages"][0].content == "secret word"
    assert b"secret word" not in memory.path.read_bytes()
    assert b"drow terces" in memory.path.read_bytes()


# --- one call at a time --------------------------------------------------------------------------


async def test_i7_a_write_that_is_cancelled_does_not_keep_the_file_locked(memory):
    """Cut off between its statements, one would hold up all others: so it is seen through."""
    checkpoint = empty_checkpoint()
    with closing(sqlite3.connect(memory.path, timeout=0)) as other:
        await memory.aput(of("t"), checkpoint, {}, {})
        for steps in range(60):
            writes: Any = [("messages", "x" * 1000)]
            config: Any = {"configurable": {**of("t")["configurable"], "checkpoint_id": "1"}}
            for write in (
                memory.aput(of("t"), empty_checkpoint(), {}, {}),
                memory.aput_writes(config, writes, f"task {steps}"),
                memory.aprune(["t"]),
            ):
                task = asyncio.ensure_future(write)
                for _ in range(steps):
                    await asyncio.sleep(0)
                cancelled = task.cancel()
                try:
                    await task
                    assert not cancelled
                except asyncio.CancelledError:
                    pass
                other.execute("BEGIN IMMEDIATE")
                other.rollback()


async def test_who_reads_a_list_holds_up_nobody(memory):
    """LangGraph's own saver would wait for itself here, for ever."""
    await graph_on(memory).ainvoke(hi(), of("t"))
    found = 0
    async for each in memory.alist(of("t")):
        assert await memory.aget_tuple(each.config) == each
        found += 1
    assert found == 3
    assert [each async for each in memory.alist(None, limit=1)] == [
        await memory.aget_tuple(of("t"))
    ]


async def test_a_new_file_can_be_asked_anything_first(memory):
    await memory.adelete_thread("t")
    await memory.aprune(["t"])
    assert [each async for each in memory.alist(None)] == []
    assert await memory.aget_delta_channel_history(config=of("t"), channels=["x"]) == {
        "x": {"writes": []}
    }
    assert memory.get_delta_channel_history(config=of("t"), channels=["x"]) == {"x": {"writes": []}}


async def test_a_closed_memory_takes_no_calls(memory):
    await memory.aput(of("t"), empty_checkpoint(), {}, {})
    await memory.aclose()
    assert files_of(memory) == ["conversations.db"]
    with pytest.raises(CacheClosed):
        await memory.aget_tuple(of("t"))


# --- the base of both memories -------------------------------------------------------------------

#: Not handed on: they are made of others, or no saver that is leased has them.
NOT_LEASED = {
    "aget",
    "get",
    "config_specs",
    "get_next_version",
    "with_allowlist",
    "copy_thread",
    "acopy_thread",
    "delete_for_runs",
    "adelete_for_runs",
}


def test_every_call_of_a_saver_is_leased():
    """A method that LangGraph adds to its savers must be looked at here."""
    public = {name for name in vars(BaseCheckpointSaver) if not name.startswith("_")}
    leased = {name for name in vars(LeasedSaver) if not name.startswith("_")}
    assert public - NOT_LEASED - {"serde"} == leased - {"get_next_version"}


@pytest.mark.parametrize("steps", range(1, 8))
def test_i5_a_loop_may_end_while_the_file_is_being_opened(tmp_path: Path, steps: int):
    """Nothing is told to a loop that is closed, and the next one opens the file."""
    memory = SqliteMemory(tmp_path / "conversations.db")
    config: RunnableConfig = {"configurable": {"thread_id": "none"}}

    async def leave() -> None:
        opening = asyncio.create_task(memory.aget_tuple(config))
        for _ in range(steps):
            await asyncio.sleep(0)
        del opening  # the loop's end cancels it

    asyncio.run(leave())
    assert asyncio.run(memory.aget_tuple(config)) is None
    memory.close()
