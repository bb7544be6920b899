"""What Alembic runs to migrate; the connection, in its transaction, comes from the caller."""

from __future__ import annotations

from alembic import context

from llmkeep.service.storage.tables import ALL_METADATA

if context.is_offline_mode():
    raise RuntimeError("the service migrates its file itself: there are no scripts in SQL")

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=ALL_METADATA,
    render_as_batch=True,  # SQLite alters few things of a table: it is made anew
)
context.run_migrations()
