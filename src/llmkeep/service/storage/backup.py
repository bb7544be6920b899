"""A copy of what the service keeps, made while it runs, and how such a copy is put back.

    python -m llmkeep.service.storage.backup TARGET             a file, or a folder for one
    python -m llmkeep.service.storage.backup --restore FILE     while nothing serves

The copy is the state of one moment and holds all that had been told as saved by then. Nobody waits
for it: SQLite's own `VACUUM INTO` reads like any other reader. Of the data folder it has
`service.sqlite3` alone: `memory.sqlite3` is rebuilt from that.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from llmkeep.core.errors import LLMKeepError
from llmkeep.settings import settings

from . import migrations
from .database import BUSY_TIMEOUT
from .folder import DataFolder

#: What SQLite puts beside a database; with the wrong one it would be damaged.
_BESIDE: Final = ("", "-wal", "-shm", "-journal")


class BackupError(LLMKeepError):
    """It was not made, or not put back; the message says why, and nothing has changed."""


def back_up(database: Path, target: Path) -> Path:
    """Copy `database` to `target`, a new file or a folder for one; blocks. Gives the file.

    Raises BackupError.
    """
    if target.is_dir():
        target /= f"service-{datetime.now(UTC):%Y%m%d-%H%M%S}.sqlite3"
    if not database.is_file():
        raise BackupError(f"{database} is not there: set SERVICE__DATA_DIR to the service's folder")
    if target.exists():
        raise BackupError(f"{target} is there already: name a new file")
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT)) as connection:
            connection.execute("VACUUM INTO ?", (str(unfinished),))
        _to_disk(unfinished)
        unfinished.rename(target)
        _to_disk(target.parent)
    except (OSError, sqlite3.Error) as error:
        unfinished.unlink(missing_ok=True)
        raise BackupError(f"{database} cannot be copied to {target}: {error}") from error
    return target


def restore(backup: Path, folder: DataFolder) -> None:
    """Make `backup` what `folder` keeps; blocks. What was there stays beside it.

    Its names end in `.replaced` and the time.

    Raises BackupError, and SettingsError where the folder is in use.
    """
    with folder:
        _check(backup)
        incoming = folder.path / "service.sqlite3.incoming"
        replaced = f".replaced-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"  # none is overwritten
        try:
            incoming.unlink(missing_ok=True)
            incoming.touch(mode=0o600)
            incoming.write_bytes(backup.read_bytes())
            _to_disk(incoming)
            for database in (folder.memory, folder.database):
                for suffix in _BESIDE:
                    old = database.with_name(f"{database.name}{suffix}")
                    if old.exists():
                        old.replace(old.with_name(f"{old.name}{replaced}"))
            incoming.rename(folder.database)
            _to_disk(folder.path)
        except OSError as error:
            raise BackupError(f"{backup} cannot be restored: {error}") from error


def _check(backup: Path) -> None:
    """Whether it is a whole database of ours."""
    if not backup.is_file():
        raise BackupError(f"{backup} is not there: name the file that a backup made")
    try:
        with closing(sqlite3.connect(backup)) as connection:
            ((state,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
            versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error as error:
        raise BackupError(f"{backup} is no backup of the service: {error}") from error
    if state != "ok":
        raise BackupError(f"{backup} is damaged: {state}")
    if not {version for (version,) in versions} <= migrations.known():
        raise BackupError(f"{backup} was written by a newer llmkeep: install that")


def _to_disk(path: Path) -> None:
    """Wait until it is there even if the power fails."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _target(text: str) -> Path:
    path = Path(text)
    if text.endswith(("/", os.sep)) and not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}: make it first")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; gives its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llmkeep.service.storage.backup",
        description="Copy what the service in SERVICE__DATA_DIR keeps, also while it runs.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("target", nargs="?", type=_target, help="a new file, or a folder for one")
    what.add_argument("--restore", type=Path, metavar="FILE", help="put a copy back")
    given = parser.parse_args(arguments)
    folder = DataFolder(settings.service.folder())
    try:
        if given.restore is not None:
            restore(given.restore, folder)
            told = f"{folder.path} is as {given.restore} was; what it replaces is beside it"
        else:
            told = str(back_up(folder.database, given.target))
    except LLMKeepError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
