"""Migrations: what they make is what the code expects, and no file is lost on the way."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from llmkeep.service.storage import migrations
from llmkeep.service.storage.database import migrate
from llmkeep.service.storage.sqlite_store import SqliteStore
from llmkeep.service.storage.tables import ALL_METADATA
from llmkeep.settings import SettingsError
from tests.service.storage.scene import finish, ids, message, open_run, open_thread, say

#: A version to come: it makes `threads` anew, as SQLite needs for a change of a column.
NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{newest}", None, None


def upgrade():
    with op.batch_alter_table("threads") as table:
        table.add_column(sa.Column("colour", sa.Text(), nullable=False, server_default="red"))
        table.alter_column("title", existing_type=sa.Text(), nullable=True)
    {more}
"""


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the code know one version more, which may have a fault."""
    folder = tmp_path / "migrations"

    def add(more: str = "pass") -> None:
        shutil.copytree(migrations._FOLDER, folder)
        script = NEXT.format(newest=migrations.newest(), more=more)
        (folder / "versions" / "9999_next.py").write_text(script)
        monkeypatch.setattr(migrations, "_FOLDER", folder)

    return add


@pytest.fixture
async def used_file(tmp_path: Path, store: SqliteStore) -> Path:
    """A file of today with a conversation in it."""
    thread = await open_thread(store)
    run = await open_run(store, thread)
    await say(store, thread, message("a"), message("b", "a"))
    await finish(store, run)
    await store.close()
    return store.file


def content(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


def versions(file: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


def test_migrations_make_the_tables_that_the_code_expects(empty_file):
    """Alembic finds nothing between them to change, indexes and types included."""
    engine = create_engine(f"sqlite:///{empty_file}")
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        for metadata in ALL_METADATA:
            others = {
                table for each in ALL_METADATA if each is not metadata for table in each.tables
            }
            differences = [
                each for each in compare_metadata(context, metadata) if _table(each) not in others
            ]
            assert differences == []
    engine.dispose()


def _table(difference: Any) -> str:
    """The table that a difference is about."""
    subject = difference[1] if isinstance(difference, tuple) else difference[0][2]
    return str(getattr(getattr(subject, "table", subject), "name", subject))


def test_tables_and_indexes_have_the_options_that_are_written_down(empty_file):
    """Conditions of indexes, cascades and numbering, at which Alembic does not look."""

    def words(rows: Iterable[Any]) -> dict[str, list[str]]:
        """What each is made of; the order of a table's constraints means nothing."""
        return {name: sorted(re.split(r"[\s(),]+", sql)) for name, sql in rows}

    query = (
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL "
        "AND name NOT IN ('alembic_version', 'sqlite_sequence')"
    )
    with closing(sqlite3.connect(empty_file)) as connection:
        made = words(connection.execute(query))
    engine = create_engine("sqlite://")
    with engine.connect() as empty:
        for metadata in ALL_METADATA:
            metadata.create_all(empty)
        expected = words(empty.exec_driver_sql(query).all())
    engine.dispose()

    assert made == expected


async def test_an_older_file_is_brought_up_to_date(used_file, next_version):
    """What is in it stays, what belongs to a table that is made anew included."""
    next_version()
    async with SqliteStore(used_file) as store:
        assert await store.version() == ("9999", "9999")
        thread = await store.thread("ann", "t1")
        assert thread is not None
        assert ids(await store.path(thread, "b")) == ["a", "b"]
        run = await store.run("ann", "t1", "r1")
        assert run is not None
        assert len(await store.events(run, after=0, limit=9)) == 3
    with closing(sqlite3.connect(used_file)) as connection:
        assert connection.execute("SELECT colour FROM threads").fetchall() == [("red",)]


@pytest.mark.parametrize(
    "fault", ["raise RuntimeError('cut off')", "op.execute('DELETE FROM threads')"]
)
async def test_a_migration_that_fails_changes_nothing(used_file, next_version, fault):
    """Neither one that is cut off, nor one that would lose what rows belong to."""
    before = content(used_file)
    next_version(fault)

    with pytest.raises(RuntimeError):
        await SqliteStore(used_file).open()

    assert content(used_file) == before


async def test_a_file_of_a_newer_version_is_refused(used_file, next_version, monkeypatch):
    """In words, with the variable to change; nothing in it is touched."""
    with monkeypatch.context() as newer:
        next_version()
        migrate(used_file)
        newer.undo()
    monkeypatch.undo()
    before = content(used_file)

    with pytest.raises(SettingsError, match=r"SERVICE__DATA_DIR: .* by a newer llmkeep") as refused:
        await SqliteStore(used_file).open()

    assert "9999" in str(refused.value)
    assert migrations.newest() in str(refused.value)
    assert content(used_file) == before
    assert versions(used_file) == [("9999",)]


@pytest.mark.parametrize("made", ["garbage", "folder", "missing"])
async def test_what_is_no_database_is_refused_in_words(tmp_path, made):
    """With the variable to change, and nothing is left open."""
    file = tmp_path / made / "service.sqlite3"
    if made != "missing":
        file.parent.mkdir()
    if made == "garbage":
        file.write_bytes(b"this is no database" * 1000)
    if made == "folder":
        file.mkdir()

    with pytest.raises(SettingsError, match=r"^SERVICE__DATA_DIR: .* cannot be opened"):
        await SqliteStore(file).open()


async def test_opened_again_a_file_is_as_it_was(used_file):
    """There is nothing to bring up to date."""
    before = content(used_file)
    async with SqliteStore(used_file) as store:
        assert await store.version() == (migrations.newest(), migrations.newest())
    assert content(used_file) == before
