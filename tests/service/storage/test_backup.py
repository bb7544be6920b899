"""Backups: of one moment, made beside everything else, and put back with care."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from llmkeep.service.storage.backup import BackupError, back_up, main, restore
from llmkeep.service.storage.folder import DataFolder
from llmkeep.service.storage.sqlite_store import SqliteStore
from llmkeep.settings import SettingsError, settings
from tests.service.storage.scene import ids, message, open_thread, say


@pytest.fixture
def folder(tmp_path: Path, empty_file: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    """The data folder that the settings name."""
    folder = DataFolder(tmp_path / "data")
    folder.path.mkdir()
    shutil.copy(empty_file, folder.database)
    monkeypatch.setattr(settings.service, "data_dir", folder.path)
    return folder


async def test_a_backup_has_what_was_written_before_it(folder, tmp_path):
    """Made while the store is open, it is a private file of the same version, without a log."""
    async with SqliteStore(folder.database) as store:
        thread = await open_thread(store)
        await say(store, thread, message("a"))
        copy = back_up(folder.database, tmp_path / "copy.sqlite3")
        await say(store, thread, message("b", "a"))

    assert copy == tmp_path / "copy.sqlite3"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.unfinished"))
    async with SqliteStore(copy) as store:
        thread = await open_thread(store)
        assert ids(await store.messages(thread)) == ["a"]


async def test_a_backup_is_put_back(folder, tmp_path):
    """With all that belonged to the old file out of the way: it would damage the new one."""
    async with SqliteStore(folder.database) as store:
        thread = await open_thread(store)
        await say(store, thread, message("a"))
        copy = back_up(folder.database, tmp_path / "copy.sqlite3")
        await say(store, thread, message("b", "a"))
        for beside in ("", "-wal", "-shm"):  # as a killed process leaves them
            shutil.copy(f"{folder.database}{beside}", tmp_path / f"left{beside}")
    for beside in ("", "-wal", "-shm"):
        shutil.copy(tmp_path / f"left{beside}", f"{folder.database}{beside}")
    folder.memory.write_text("the model's memory")

    restore(copy, folder)

    assert not folder.memory.exists()
    assert not Path(f"{folder.database}-wal").exists()
    replaced = {each.name.partition(".replaced-")[0] for each in folder.path.glob("*.replaced-*")}
    assert {"service.sqlite3", "service.sqlite3-wal"} < replaced
    assert stat.S_IMODE(folder.database.stat().st_mode) == 0o600
    async with SqliteStore(folder.database) as store:
        assert ids(await store.messages(await open_thread(store))) == ["a"]


async def test_what_was_replaced_can_be_put_back_too(folder, tmp_path):
    """It is named so that its log still belongs to it."""
    async with SqliteStore(folder.database) as store:
        copy = back_up(folder.database, tmp_path / "copy.sqlite3")
        await open_thread(store)
    restore(copy, folder)

    (replaced,) = folder.path.glob("service.sqlite3.replaced-*")
    restore(replaced, folder)

    assert len([*folder.path.glob("service.sqlite3.replaced-*")]) == 2, "none was overwritten"
    async with SqliteStore(folder.database) as store:
        assert await store.thread("ann", "t1") is not None


def test_a_folder_in_use_is_not_restored_to(folder, tmp_path):
    """Its owner would write into the new file what belongs to the old one."""
    copy = back_up(folder.database, tmp_path / "copy.sqlite3")
    before = folder.database.read_bytes()
    with DataFolder(folder.path), pytest.raises(SettingsError, match="another llmkeep serve"):
        restore(copy, folder)
    assert folder.database.read_bytes() == before


@pytest.mark.parametrize("wrong", ["missing", "empty", "garbage", "foreign", "damaged", "newer"])
def test_only_a_whole_backup_of_ours_is_put_back(folder, tmp_path, wrong):
    """Anything else is refused in words, and nothing changes."""
    backup = tmp_path / "copy"
    if wrong == "empty":
        backup.touch()
    if wrong == "garbage":
        backup.write_bytes(b"no database" * 1000)
    if wrong == "foreign":
        with closing(sqlite3.connect(backup)) as connection:
            connection.execute("CREATE TABLE t (a)")
    if wrong in ("damaged", "newer"):
        back_up(folder.database, backup)
    if wrong == "damaged":
        content = bytearray(backup.read_bytes())
        content[-4096:] = b"\xff" * 4096
        backup.write_bytes(content)
    if wrong == "newer":
        with closing(sqlite3.connect(backup)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()

    before = folder.database.read_bytes()
    with pytest.raises(BackupError, match="copy"):
        restore(backup, folder)

    assert folder.database.read_bytes() == before
    assert not list(folder.path.glob("*.replaced-*"))


def test_no_file_is_overwritten_by_a_backup(folder, tmp_path):
    """And one that cannot be made leaves nothing behind."""
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(BackupError, match="is there already"):
        back_up(folder.database, there)
    with pytest.raises(BackupError, match="cannot be copied"):
        back_up(folder.database, tmp_path / "missing" / "copy")
    with pytest.raises(BackupError, match="is not there"):
        back_up(tmp_path / "nothing", tmp_path / "copy")

    assert there.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "there"]


def test_the_program_says_where_the_copy_is(folder, tmp_path, capsys):
    """In a folder it gets a name with the time; a fault is one line, and a status."""
    copies = tmp_path / "copies"
    copies.mkdir()
    assert main([str(copies)]) == 0
    told = capsys.readouterr().out.strip()
    (copy,) = copies.iterdir()
    assert told == str(copy)
    assert copy.name.startswith("service-")

    assert main(["--restore", str(copy)]) == 0
    assert [*folder.path.glob("service.sqlite3.replaced-*")]

    assert main([str(copy)]) == 1
    assert capsys.readouterr().err == f"{copy} is there already: name a new file\n"
    with pytest.raises(SystemExit):
        main([])


def test_a_folder_that_is_not_there_is_no_name_of_a_file(folder, tmp_path, capsys):
    """What ends in a slash is meant to be a folder."""
    with pytest.raises(SystemExit):
        main([f"{tmp_path / 'copies'}/"])
    assert "make it first" in capsys.readouterr().err
    assert not (tmp_path / "copies").exists()
