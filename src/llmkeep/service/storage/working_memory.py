"""The models' working memory: a file that can be lost, since it is made anew from the messages.

So a damaged one (a disk's fault, half a copy of a backup) is no reason not to serve: it is put
aside, and said so.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from llmkeep.agents import SqliteMemory

logger = logging.getLogger(__name__)

#: What SQLite keeps beside a file, and what would damage another one in its place.
_BESIDE: Final = ("-wal", "-shm")


def open_memory(path: Path) -> SqliteMemory:
    """The memory in this file; a damaged file is put aside as `NAME.damaged`. Blocks.

    Raises OSError where that cannot be done.
    """
    if path.exists() and _is_damaged(path):
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        for end in _BESIDE:
            path.with_name(path.name + end).unlink(missing_ok=True)
        logger.error(
            "%s is damaged and was put aside as %s: it is made anew from the messages, of which "
            "none is lost",
            path,
            aside.name,
        )
    return SqliteMemory(path)


def _is_damaged(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as database:
            ((verdict,),) = database.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError:  # it cannot be opened now: whoever uses it is told
        return False
    except sqlite3.DatabaseError:
        return True
    return bool(verdict != "ok")
