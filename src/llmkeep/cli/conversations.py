"""The list of conversations: what `/sessions` shows and `--session` resumes.

Names, titles and counts alone; what was said is in the agent's own memory, in the same file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, final

from sqlalchemy import JSON, Column, DateTime, Integer, MetaData, String, Table, insert, select
from sqlalchemy import update as update_statement
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from .text import one_line

#: Characters of a title.
TITLE_LENGTH: Final = 60

metadata: Final = MetaData()

_table: Final = Table(
    "llmkeep_conversations",
    metadata,
    Column("name", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("used", DateTime, nullable=False),
    Column("turns", Integer, nullable=False, default=0),
    Column("usage", JSON, nullable=False, default=dict),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation in the list."""

    name: str
    title: str
    used: datetime
    """When it was last used, in UTC."""
    turns: int
    usage: dict[str, Any]
    """Tokens, by the names that the agent's events give them."""


@final
class Conversations:
    """The list; lives as long as the engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine: Final = engine

    async def recent(self, most: int) -> list[Row]:
        """The last ones, the newest first."""
        query = select(_table).order_by(_table.c.used.desc()).limit(most)
        async with self._engine.connect() as connection:
            return [Row(**row._mapping) for row in await connection.execute(query)]

    async def find(self, name: str) -> Row | None:
        """The one of that name."""
        query = select(_table).where(_table.c.name == name)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Row(**row._mapping)

    async def begin(self, message: str, name: str | None = None) -> str:
        """Enter a conversation under `name`, or under the next number; its name comes back."""
        while True:
            chosen = name or await self._next_number()
            row = {"name": chosen, "title": one_line(message, TITLE_LENGTH), "used": _now()}
            try:
                async with self._engine.begin() as connection:
                    await connection.execute(insert(_table).values(row))
            except IntegrityError:
                if name is None:  # another terminal was quicker
                    continue
            return chosen

    async def count(self, name: str, usage: dict[str, Any]) -> None:
        """One more turn; the tokens of the whole conversation."""
        changed = {"turns": _table.c.turns + 1, "used": _now(), "usage": usage}
        statement = update_statement(_table).where(_table.c.name == name).values(changed)
        async with self._engine.begin() as connection:
            await connection.execute(statement)

    async def _next_number(self) -> str:
        async with self._engine.connect() as connection:
            names = (await connection.execute(select(_table.c.name))).scalars()
            return str(max((int(name) for name in names if name.isdecimal()), default=0) + 1)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
