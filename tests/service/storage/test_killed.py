"""A process that is killed while it writes: what it was told as written is there, and whole."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from llmkeep.service.storage.backup import back_up
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.storage import writer
from tests.service.storage.scene import ids, message, open_thread, say

TASKS = 3


@contextmanager
def writing(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes until it is killed; at the latest here."""
    folder = Path(writer.__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-m", writer.__name__, file, str(TASKS)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], lines: int, told: dict[int, int]) -> None:
    """Note what it tells, so many lines of that."""
    assert process.stdout is not None
    for _ in range(lines):
        line = process.stdout.readline()
        assert line.endswith("\n"), "it ended by itself"
        task, written = map(int, line.split())
        told[task] = written


async def check(file: Path, told: dict[int, int]) -> None:
    """The file is sound, and each task's rows are those of as many whole batches, or of more."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    async with SqliteStore(file) as store:
        for task, written in told.items():
            thread = await store.thread("ann", f"t{task}")
            run = await store.run("ann", f"t{task}", "r1")
            assert thread is not None
            assert run is not None
            assert run.tokens >= written
            events = await store.events(run, after=0, limit=10**6)
            assert [event.number for event in events] == list(range(1, 2 * run.tokens + 1))
            names = [f"m{number}" for number in range(1, run.tokens + 1)]
            assert ids(await store.path(thread, names[-1])) == names
            assert thread.head_id == names[-1]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_was_told_as_written_survives_sigkill(tmp_path, empty_file, seed):
    """At any moment, twice in a row on one file: nothing is lost, halved or damaged."""
    moments = random.Random(seed)
    file = tmp_path / "service.sqlite3"
    file.write_bytes(empty_file.read_bytes())
    told: dict[int, int] = {}
    with writing(file) as process:
        read_until(process, moments.randrange(TASKS, 400), told)
        process.kill()
        # What it had told before it died.
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("\n"):
                task, written = map(int, line.split())
                told[task] = written

    assert len(told) == TASKS
    await check(file, told)


async def test_another_process_may_write_and_copy_meanwhile(tmp_path, empty_file):
    """Both are served, neither sees a part of the other's, and a copy has all that was told."""
    file = tmp_path / "service.sqlite3"
    file.write_bytes(empty_file.read_bytes())
    told: dict[int, int] = {}
    copies: list[tuple[Path, dict[int, int]]] = []
    with writing(file) as process:
        read_until(process, TASKS, told)
        async with SqliteStore(file) as store:
            thread = await open_thread(store, "ours")
            for number in range(50):
                await say(store, thread, message(f"m{number}", f"m{number - 1}"))
                read_until(process, 1, told)
                if number % 20 == 0:
                    before = dict(told)
                    target = tmp_path / f"copy{number}"
                    copies.append((await asyncio.to_thread(back_up, file, target), before))
            assert len(await store.messages(thread)) == 50

    await check(file, told)
    for copy, before in copies:
        await check(copy, before)
