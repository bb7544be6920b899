"""Begins a migration for what has changed in `tables`: for those who develop llmkeep."""

from __future__ import annotations

import sys

from alembic import command
from sqlalchemy import create_engine

from . import configuration

if __name__ == "__main__":
    with create_engine("sqlite://").connect() as connection:
        config = configuration(connection)
        command.upgrade(config, "head")
        command.revision(config, sys.argv[1], autogenerate=True)
