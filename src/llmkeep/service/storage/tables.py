"""The tables of `service.sqlite3`, in SQLAlchemy's words; what changes here needs a migration.

Portable: times are microseconds since 1970 (UTC) and whatever has a shape is JSON in a text, so
that a row is the same everywhere and needs no conversion by the driver. SQLite's own are the
options that begin with `sqlite_`.

The numbers in `key` are given once and never again: what is written late for a row that has been
purged must not meet another one.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from llmkeep.agents.tools import notes

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: All that the migrations make; the notes are the agents' own.
ALL_METADATA: Final = (metadata, notes.metadata)

_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")


def _key() -> Column[int]:
    return Column("key", _NUMBER, primary_key=True)


def _parent(name: str, table: str) -> Column[int]:
    return Column(name, _NUMBER, ForeignKey(f"{table}.key", ondelete="CASCADE"), nullable=False)


threads: Final = Table(
    "threads",
    metadata,
    _key(),
    Column("owner", Text, nullable=False),
    Column("thread_id", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("folded_title", Text, nullable=False),  # as it is searched
    Column("is_titled", Boolean, nullable=False),  # by a person
    Column("metadata", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("head_id", Text),
    Column("is_branched", Boolean, nullable=False),
    UniqueConstraint("owner", "thread_id"),
    Index("ix_threads_active", "owner", "updated_at", "key"),
    Index(
        "ix_threads_deleted",
        "deleted_at",
        sqlite_where=text("deleted_at IS NOT NULL"),
        postgresql_where=text("deleted_at IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

runs: Final = Table(
    "runs",
    metadata,
    _key(),
    _parent("thread_key", "threads"),
    Column("owner", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Text),
    Column("error", Text),
    Column("model", Text),
    Column("usage", Text),
    Column("tokens", BigInteger, nullable=False),
    Column("interrupts", Text, nullable=False),
    Column("is_compacted", Boolean, nullable=False),
    Column("on_disconnect", Text, nullable=False),
    Column("multitask_strategy", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    UniqueConstraint("thread_key", "run_id"),
    Index("ix_runs_thread", "thread_key", "key"),
    Index("ix_runs_spent", "owner", "created_at", "tokens"),
    Index(
        "ix_runs_unfinished",
        "thread_key",
        sqlite_where=text("status IN ('pending', 'running')"),
        postgresql_where=text("status IN ('pending', 'running')"),
    ),
    Index(
        "ix_runs_to_compact",
        "ended_at",
        sqlite_where=text("is_compacted = 0"),
        postgresql_where=text("NOT is_compacted"),
    ),
    sqlite_autoincrement=True,
)

messages: Final = Table(
    "messages",
    metadata,
    _key(),  # in the order in which they were first said
    _parent("thread_key", "threads"),
    Column("message_id", Text, nullable=False),
    Column("parent_id", Text),
    Column("run_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("folded", Text),  # as it is searched: of people and assistants; NULL: like `content`
    Column("status", Text, nullable=False),
    Column("calls", Text),
    Column("tool_call_id", Text),
    Column("duration", Float),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("thread_key", "message_id"),
    Index("ix_messages_parent", "thread_key", "parent_id"),
    Index("ix_messages_thread", "thread_key", "key"),
    sqlite_autoincrement=True,
)

events: Final = Table(
    "events",
    metadata,
    Column(
        "run_key",
        _NUMBER,
        ForeignKey("runs.key", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", Text, nullable=False),
    sqlite_with_rowid=False,  # the rows of a run lie together, in their order
)

#: What was spent in threads that are gone: deleting one gives no tokens back.
purged_tokens: Final = Table(
    "purged_tokens",
    metadata,
    _key(),
    Column("owner", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Index("ix_purged_tokens_spent", "owner", "created_at", "tokens"),
)
