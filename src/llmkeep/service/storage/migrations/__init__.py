"""Bringing a file's tables up to date: Alembic, called from code, without files of its own.

A change of `tables` comes with a script in `versions`, which `python -m
llmkeep.service.storage.migrations "what it is for"` begins. A file is changed in one transaction:
one that was cut off is as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from llmkeep.settings import SettingsError

_FOLDER: Final = Path(__file__).parent


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, to which `connection` belongs."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The version that this code writes."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    assert head is not None
    return head


def known() -> frozenset[str]:
    """All versions that this code can bring up to date."""
    scripts = ScriptDirectory.from_config(configuration()).walk_revisions()
    return frozenset(script.revision for script in scripts)


def upgrade(connection: Connection, path: Path) -> str:
    """Bring the tables behind `connection` up to date, in its transaction; blocks.

    Gives the version that they have then. Raises SettingsError for a file that a newer llmkeep has
    written.
    """
    config = configuration(connection)
    unknown = set(MigrationContext.configure(connection).get_current_heads()) - known()
    if unknown:
        raise SettingsError(
            f"SERVICE__DATA_DIR: {path} was written by a newer llmkeep (its version is "
            f"{', '.join(sorted(unknown)):.80}, this one knows {newest()}): install that, or name "
            "another folder"
        )
    command.upgrade(config, "head")
    if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
        raise RuntimeError("a migration has lost rows that others belong to: nothing was changed")
    return newest()
