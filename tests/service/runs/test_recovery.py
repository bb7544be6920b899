"""After the process was killed: every run has an end, nothing that was told is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from llmkeep.service.records import Frame
from llmkeep.service.runs import Runs
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.runs.fakes import Agent, Store, call, request, result, text
from tests.service.runs.following import USER, agree, event, follow, messages, said, types
from tests.service.runs.test_queue import gated, spoken

ANSWER = [*text("a1", "Let me."), *call("a1", "c1"), *call("a1", "c2"), result("c1"), *text("a2")]
RESTART = ("interrupted", "restart")


@asynccontextmanager
async def restarted(folder: Path) -> AsyncIterator[tuple[Store, Runs]]:
    """The service on a copy of the files as they are now: what a killed process leaves."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in folder.glob("store.sqlite3*"):
        shutil.copy(file, copy)
    async with SqliteStore(copy / "store.sqlite3") as real:
        kept = Store(real)
        async with Runs(kept, Agent(text("b1", "again")), write_interval=0.0) as runs:
            yield kept, runs


@pytest.mark.parametrize("at", range(len(ANSWER) + 1))
async def test_killed_after_each_event(runs: Runs, agent: Agent, tmp_path: Path, at: int):
    """All that was told is there, then what ends it; whole messages and no call without answer."""
    agent.scripts = [[*ANSWER[:at], asyncio.Event()]]
    run = await runs.start(USER, request("r1", "m1"))
    told: list[Frame] = []
    async with runs.read(run) as reader:
        async for frames in reader:
            told += frames
            if told[-1].number >= at + 3:
                break

        async with restarted(tmp_path) as (kept, after):
            stored = await after.find(USER, "t", "r1")
            assert (stored.status, stored.code) == RESTART
            frames = await follow(after, stored)
            assert frames[: len(told)] == told
            assert event(frames[-1])["code"] == "interrupted"
            kinds = types(frames)
            for kind in ("TEXT_MESSAGE", "TOOL_CALL"):
                assert kinds.count(f"{kind}_START") == kinds.count(f"{kind}_END")
            assert kinds.count("TOOL_CALL_RESULT") == kinds.count("TOOL_CALL_START")
            await agree(kept, stored)
            assert await follow(after, stored, after=len(told)) == frames[len(told) :]

            again = await after.start(USER, request("r2", "m1"))
            assert said(await follow(after, again)) == "again"
            await agree(kept, again)


async def test_killed_with_runs_that_wait(runs: Runs, agent: Agent, tmp_path: Path):
    """Their messages are in the thread, in order, behind the partial answer."""
    agent.scripts = [gated("a1", asyncio.Event(), "Hm")]
    first = await runs.start(USER, request("r1", "m1"))
    for n in (2, 3):
        await runs.start(USER, request(f"r{n}", *(f"m{each}" for each in range(1, n + 1))))
    lost = await runs.start(USER, request("r4", is_placed=True, parent_id="nowhere"))
    await spoken(runs, first)

    async with restarted(tmp_path) as (kept, after):
        assert [(m.message_id, m.parent_id, m.status) for m in await messages(kept)] == [
            ("m1", None, "complete"),
            ("a1", "m1", "partial"),
            ("m2", "a1", "complete"),
            ("m3", "m2", "complete"),
        ]
        for run_id in ("r1", "r2", "r3", lost.run_id):
            run = await after.find(USER, "t", run_id)
            assert (run.status, run.code) == RESTART
            assert types(await follow(after, run))[-1] == "RUN_ERROR"
            await agree(kept, run)


async def test_killed_before_the_first_run_began(store: Store, tmp_path: Path):
    """What was taken is kept, with a title."""
    thread, _ = await store.open_thread(USER, "t")
    stored = {
        "messages": [{"id": "m1", "content": "hello"}],
        "is_placed": False, "parent_id": None, "resume": [],
    }  # fmt: skip
    await store.add_run(thread, request("r1", "m1"), request=stored, model="fake:model")

    async with restarted(tmp_path) as (kept, after):
        frames = await follow(after, await after.find(USER, "t", "r1"))
        assert types(frames) == ["RUN_STARTED", "CUSTOM", "CUSTOM", "RUN_ERROR"]
        assert (await kept.thread(USER, "t")).title == "hello"
        assert [m.content for m in await messages(kept)] == ["hello"]


async def test_an_event_that_cannot_be_read(runs: Runs, agent: Agent, tmp_path: Path):
    """As after an update of the protocol, or of a damaged row: the rest is there, and it ends."""
    agent.scripts = [gated("a1", asyncio.Event(), "Hm")]
    run = await runs.start(USER, request("r1", "m1"))
    await spoken(runs, run)
    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as file, file:
        file.execute('UPDATE events SET data = \'{"type": "UNHEARD_OF"}\' WHERE number = 3')

    async with restarted(tmp_path) as (kept, after):
        stored = await after.find(USER, "t", "r1")
        assert (stored.status, stored.code) == RESTART
        assert [(m.content, m.status) for m in await messages(kept)] == [
            ("say m1", "complete"), ("Hm", "partial"),
        ]  # fmt: skip


async def test_recovery_can_be_begun_again(runs: Runs, store: Store, agent: Agent, tmp_path: Path):
    """A run that could not be mended at one start is at the next, and a third changes nothing."""
    agent.scripts = [gated("a1", asyncio.Event(), "Hm")]
    first = await runs.start(USER, request("r1", "m1"))
    await runs.start(USER, request("r2", "m1", "m2"))
    await spoken(runs, first)

    def refuse(_: Any, number: int) -> None:
        if number == 2:
            raise OSError("killed")

    async with SqliteStore(tmp_path / "store.sqlite3") as real:
        failing = Store(real)
        failing.before = refuse
        async with Runs(failing, agent) as second:
            assert "1 unstored" in repr(second)
    async with restarted(tmp_path) as (kept, after):
        one = [await follow(after, await after.find(USER, "t", r)) for r in ("r1", "r2")]
        rows = await messages(kept)
        async with Runs(kept, agent) as third:
            two = [await follow(third, await third.find(USER, "t", r)) for r in ("r1", "r2")]
        assert one == two
        assert rows == await messages(kept)
        assert [m.message_id for m in rows] == ["m1", "a1", "m2"]
    await store.purge_thread(await store.thread(USER, "t"))


CHILD = """
import asyncio, sys
from llmkeep.service.runs import Runs
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.runs.fakes import Agent, call, request, text

async def main():
    agent = Agent([*text("a1", "Let me."), *call("a1", "c1"), asyncio.Event()])
    async with SqliteStore(sys.argv[1]) as store, Runs(store, agent) as runs:
        run = await runs.start("u", request("r1", "m1"))
        async with runs.read(run) as reader:
            async for frames in reader:
                for frame in frames:
                    print(frame.data, flush=True)

asyncio.run(main())
"""


async def test_sigkill_in_the_middle_of_a_tool(agent: Agent, tmp_path: Path):
    """A real process, really killed: all that it told is there, and the call is answered."""
    path = tmp_path / "store.sqlite3"
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            told.append(line.rstrip("\n"))
            if "TOOL_CALL_END" in line:
                break
        os.kill(child.pid, signal.SIGKILL)

    agent.scripts = [text("b1", "again")]
    async with SqliteStore(path) as store, Runs(store, agent) as runs:
        run = await runs.find(USER, "t", "r1")
        frames = await follow(runs, run)
        assert [frame.data for frame in frames][: len(told)] == told
        assert types(frames)[len(told) :] == ["TOOL_CALL_RESULT", "RUN_ERROR"]
        assert [(m.role, m.status) for m in await messages(store)] == [
            ("user", "complete"), ("assistant", "complete"), ("tool", "cancelled"),
        ]  # fmt: skip
        again = await runs.start(USER, request("r2", "m1", "m2"))
        assert said(await follow(runs, again)) == "again"
