"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _parent(table: str, column: str, parent: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}"
    return sa.ForeignKeyConstraint([column], [f"{parent}.key"], name=name, ondelete="CASCADE")


def _partial(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    """From nothing."""
    _make_threads()
    _make_runs()
    _make_messages()
    op.create_table(
        "events",
        sa.Column("run_key", _number(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        _parent("events", "run_key", "runs"),
        sa.PrimaryKeyConstraint("run_key", "number", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "purged_tokens",
        sa.Column("key", _number(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_purged_tokens"),
    )
    spent = ["owner", "created_at", "tokens"]
    op.create_index("ix_purged_tokens_spent", "purged_tokens", spent)
    op.create_table(
        "llmkeep_notes",
        sa.Column("id", _number(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_llmkeep_notes_owner", "llmkeep_notes", ["owner"])


def _make_threads() -> None:
    op.create_table(
        "threads",
        sa.Column("key", _number(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("folded_title", sa.Text(), nullable=False),
        sa.Column("is_titled", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger()),
        sa.Column("head_id", sa.Text()),
        sa.Column("is_branched", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_threads"),
        sa.UniqueConstraint("owner", "thread_id", name="uq_threads_owner_thread_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_threads_active", "threads", ["owner", "updated_at", "key"])
    deleted = _partial("deleted_at IS NOT NULL")
    op.create_index("ix_threads_deleted", "threads", ["deleted_at"], **deleted)


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("key", _number(), nullable=False),
        sa.Column("thread_key", _number(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("usage", sa.Text()),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("interrupts", sa.Text(), nullable=False),
        sa.Column("is_compacted", sa.Boolean(), nullable=False),
        sa.Column("on_disconnect", sa.Text(), nullable=False),
        sa.Column("multitask_strategy", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        _parent("runs", "thread_key", "threads"),
        sa.PrimaryKeyConstraint("key", name="pk_runs"),
        sa.UniqueConstraint("thread_key", "run_id", name="uq_runs_thread_key_run_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_thread", "runs", ["thread_key", "key"])
    op.create_index("ix_runs_spent", "runs", ["owner", "created_at", "tokens"])
    unfinished = _partial("status IN ('pending', 'running')")
    op.create_index("ix_runs_unfinished", "runs", ["thread_key"], **unfinished)
    op.create_index(
        "ix_runs_to_compact",
        "runs",
        ["ended_at"],
        sqlite_where=sa.text("is_compacted = 0"),
        postgresql_where=sa.text("NOT is_compacted"),
    )


def _make_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("key", _number(), nullable=False),
        sa.Column("thread_key", _number(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text()),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("calls", sa.Text()),
        sa.Column("tool_call_id", sa.Text()),
        sa.Column("duration", sa.Float()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        _parent("messages", "thread_key", "threads"),
        sa.PrimaryKeyConstraint("key", name="pk_messages"),
        sa.UniqueConstraint("thread_key", "message_id", name="uq_messages_thread_key_message_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_parent", "messages", ["thread_key", "parent_id"])
    op.create_index("ix_messages_thread", "messages", ["thread_key", "key"])


def downgrade() -> None:
    """To nothing."""
    for table in ("llmkeep_notes", "purged_tokens", "events", "messages", "runs", "threads"):
        op.drop_table(table)
