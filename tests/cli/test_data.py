"""What the terminal keeps: the list of conversations, its names, and who may read it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from llmkeep.cli.data import HISTORY, Kept, UnusableFolder, data_folder


async def test_new_conversations_have_the_next_number(tmp_path: Path):
    """A name of one's own is no number, and two terminals at once get two."""
    kept, other = await Kept.open(tmp_path), await Kept.open(tmp_path)
    try:
        assert await kept.conversations.begin("first") == "1"
        assert await kept.conversations.begin("by name", "tea") == "tea"
        assert await other.conversations.begin("second") == "2"
        both = [each.conversations.begin("at once") for each in (kept, other) * 5]
        assert sorted(map(int, await asyncio.gather(*both))) == list(range(3, 13))
    finally:
        await kept.close()
        await other.close()


async def test_the_list_is_the_newest_first(tmp_path: Path):
    kept = await Kept.open(tmp_path)
    try:
        for message in ("one", "two", "three\n\x1b[31m lines " + "x" * 100):
            await kept.conversations.begin(message)
        await kept.conversations.begin("again", "1")
        await kept.conversations.count("1", {"input_tokens": 5})
        listed = await kept.conversations.recent(2)
        assert [(each.name, each.turns) for each in listed] == [("1", 1), ("3", 0)]
        assert listed[0].title == "one"
        assert listed[0].usage == {"input_tokens": 5}
        assert listed[1].title.startswith("three [31m lines xx")
        assert len(listed[1].title) == 60
        assert await kept.conversations.find("nosuch") is None
    finally:
        await kept.close()


@pytest.mark.skipif(os.name != "posix", reason="permissions are others there")
async def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path):
    folder = tmp_path / "new" / "folder"
    kept = await Kept.open(folder)
    try:
        await kept.conversations.begin("hi")
        modes = {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()}
        assert HISTORY in modes
        assert set(modes.values()) == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        await kept.close()


async def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UnusableFolder, match=r"conversations cannot be kept in .*LLMKEEP_DATA"):
        await Kept.open(tmp_path / "file")
    (tmp_path / "conversations.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(UnusableFolder, match="DatabaseError"):
        await Kept.open(tmp_path)


def test_the_folder_is_the_given_the_environments_or_the_users(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("LLMKEEP_DATA_FOLDER", str(tmp_path))
    assert data_folder(Path("given")) == Path("given")
    assert data_folder() == tmp_path
    monkeypatch.delenv("LLMKEEP_DATA_FOLDER")
    assert data_folder().name == "llmkeep"
