"""The working memory is a file that can be lost: a damaged one does not stop the service."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from llmkeep.agents import SqliteMemory
from llmkeep.service.storage.working_memory import open_memory

CONFIG = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


async def _filled(path: Path) -> None:
    memory = SqliteMemory(path)
    for _ in range(20):
        await memory.aput(CONFIG, empty_checkpoint(), {}, {})  # type: ignore[arg-type]
    await memory.aclose()


async def _works(memory: SqliteMemory) -> bool:
    try:
        return await memory.aget_tuple(CONFIG) is not None  # type: ignore[arg-type]
    finally:
        await memory.aclose()


async def test_a_sound_file_is_used_as_it_is(tmp_path: Path) -> None:
    """What it remembers is still there."""
    path = tmp_path / "memory.sqlite3"
    await _filled(path)

    assert await _works(open_memory(path))
    assert not list(tmp_path.glob("*.damaged"))


@pytest.mark.parametrize("damage", ["another kind of file", "a page in the middle", "half of it"])
async def test_a_damaged_file_is_put_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A new one takes its place, the old one stays for whoever wants to look, and it is said."""
    path = tmp_path / "memory.sqlite3"
    await _filled(path)
    content = bytearray(path.read_bytes())
    if damage == "another kind of file":
        content = bytearray(b"no database at all " * 400)
    elif damage == "a page in the middle":
        content[4096:12288] = b"\xff" * 8192
    else:
        content = content[: len(content) // 2]
    path.write_bytes(content)

    with caplog.at_level(logging.ERROR):
        memory = open_memory(path)

    assert not await _works(memory)
    assert (tmp_path / "memory.sqlite3.damaged").read_bytes() == content
    assert "put aside" in caplog.text
