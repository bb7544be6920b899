"""Notes that a user asked to keep: added, searched and deleted in the application's own database.

Three tools over one table, `llmkeep_notes`; the built-in name `notes` stands for all of them. They
work through the agent's `db_session` and see the rows of the agent's user alone. The table is the
application's to create: add `metadata` to its migrations (Alembic's `target_metadata` takes a
list), or call `metadata.create_all(engine)` once.

Each call commits the session that it was given, so that a note which is told as saved is saved;
one that fails rolls it back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

from langchain.tools import ToolRuntime
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints
from pydantic.json_schema import Examples

from llmkeep.agents.memory import UserId

from .hints import HINTS

try:
    from sqlalchemy import (
        BigInteger,
        Column,
        DateTime,
        Integer,
        MetaData,
        String,
        Table,
        Text,
        delete,
        insert,
        select,
    )
    from sqlalchemy.orm import Session

    from . import sessions
except ImportError as missing:
    raise ImportError(
        f'{missing.name} is not installed: pip install "llmkeep[agents]"', name=missing.name
    ) from None

#: Characters of a note and of a query, and notes that one search shows.
MAX_LENGTH: Final = 2000
MAX_QUERY: Final = 200
MAX_SHOWN: Final = 10

metadata: Final = MetaData()

#: `owner` is `owner_of(user_id)`; `folded` is the text as it is searched.
notes_table: Final = Table(
    "llmkeep_notes",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("folded", Text, nullable=False),
    Column("created_at", DateTime, nullable=False),  # UTC
    sqlite_autoincrement=True,  # a number that was told is never another note's
)


def owner_of(user_id: UserId) -> str:
    """The user in a row: no two users share one, and user 1 is not user "1".

    A fingerprint, since databases compare text in their own ways: to some "Ann" is "ann".
    """
    plain = user_id if isinstance(user_id, str | int) else str(user_id)
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


# --- what is done in the database ----------------------------------------------------------------


def _add(session: Session, owner: str, text: str) -> str:
    now = datetime.now(UTC).replace(tzinfo=None)
    row = {"owner": owner, "text": text, "folded": text.casefold(), "created_at": now}
    result: Any = session.execute(insert(notes_table).values(row))
    return f"Saved as note {result.inserted_primary_key[0]}."


def _search(session: Session, owner: str, query: str) -> str:
    columns = notes_table.c
    found = select(columns.id, columns.created_at, columns.text).where(columns.owner == owner)
    for word in query.casefold().split():
        found = found.where(columns.folded.contains(word, autoescape=True))
    rows = session.execute(found.order_by(columns.id.desc()).limit(MAX_SHOWN + 1)).all()
    if not rows:
        return f"No note has these words: {query}" if query else "There are no notes."
    lines = [f"Note {row.id}, {row.created_at:%Y-%m-%d}: {row.text}" for row in rows[:MAX_SHOWN]]
    if len(rows) > MAX_SHOWN:
        lines.append("There are more, which are older: search with other words.")
    return "\n".join(lines)


def _delete(session: Session, owner: str, note: int) -> str:
    columns = notes_table.c
    mine = (columns.id == note) & (columns.owner == owner)
    result: Any = session.execute(delete(notes_table).where(mine))
    if not result.rowcount:
        raise ToolException(f"there is no note {note}: search_notes tells the numbers")
    return f"Deleted note {note}."


# --- what the model sees -------------------------------------------------------------------------


def _storable(text: object) -> object:
    """Text without what databases refuse: zero bytes, and halves of characters."""
    if not isinstance(text, str):
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


class _Add(BaseModel):
    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_LENGTH),
        BeforeValidator(_storable),
        Field(description="What to remember, in full, so that it can be understood on its own"),
        Examples(["The dentist's appointment is on 3 March at 9:30", "Ann likes tea"]),
    ]


class _Search(BaseModel):
    query: Annotated[
        str,
        StringConstraints(strip_whitespace=True, max_length=MAX_QUERY),
        BeforeValidator(_storable),
        Field(description="Words that all occur in the note, few; empty for the newest notes"),
        Examples(["dentist", ""]),
    ] = ""


class _Delete(BaseModel):
    note: Annotated[
        int,
        Field(
            ge=1,
            le=2**63 - 1,
            description="The number of the note, as add_note and search_notes tell it",
        ),
        Examples([17]),
    ]


def _tool(
    name: str, description: str, schema: type[BaseModel], does: Callable[..., str]
) -> BaseTool:
    """A tool of the user's own rows.

    The schema is written out, and has no `runtime` in it: LangChain would copy the whole
    conversation, which is a part of that, for each call.
    """

    def of_user(runtime: ToolRuntime[Any, Any], arguments: dict[str, Any]) -> partial[str]:
        if runtime.context is None:
            raise ToolException("notes belong to a user, and this run has none")
        return partial(does, owner=owner_of(runtime.context.user_id), **arguments)

    def blocking(runtime: ToolRuntime[Any, Any], **arguments: Any) -> str:
        work = of_user(runtime, arguments)
        return sessions.run(runtime.context.db_session, notes_table, work)

    async def waiting(runtime: ToolRuntime[Any, Any], **arguments: Any) -> str:
        work = of_user(runtime, arguments)
        return await sessions.arun(runtime.context.db_session, notes_table, work)

    return StructuredTool.from_function(
        blocking,
        waiting,
        name,
        description,
        args_schema=schema,
        infer_schema=False,
        extras=HINTS[name],
    )


#: Made once: agents with the same tools share one compiled graph.
NOTES_TOOLS: Final[tuple[BaseTool, ...]] = (
    _tool("add_note", "Save a note for the user, who can find it again later.", _Add, _add),
    _tool("search_notes", "Find notes that the user saved, the newest first.", _Search, _search),
    _tool("delete_note", "Delete one of the user's notes for good.", _Delete, _delete),
)
