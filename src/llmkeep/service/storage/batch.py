"""Changes of many runs in one transaction: the path that each event takes.

Changes are sorted by what they are, each kind goes to the database as one list, and later ones of
a kind win. What is gone meanwhile, since its thread was purged, is left out: it does not fail the
changes of others.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, final

from llmkeep.service.interfaces import Change, EventsAdded, MessagesPut, RunChanged, TitleGiven

from . import statements
from .database import Database, Row, Statement, Transaction
from .rows import RUN_FIELDS, fold, message_row, to_number


@final
class Batch:
    """Changes as rows; lives for one write."""

    def __init__(self, changes: Iterable[Change], now: datetime) -> None:
        self._now: Final = to_number(now)
        self._events: Final[list[Row]] = []
        self._messages: Final[list[Row]] = []
        self._heads: Final[list[Row]] = []
        self._runs: Final[dict[int, dict[str, Any]]] = {}
        self._titles: Final[list[Row]] = []
        for change in changes:
            self._ADD[type(change)](self, change)

    def _add_events(self, change: EventsAdded) -> None:
        run = change.run
        self._events.extend((run, frame.number, frame.data) for frame in change.frames)

    def _add_messages(self, change: MessagesPut) -> None:
        for message in change.messages:
            self._messages.append(message_row(change.thread, message))
            head = {
                "thread": change.thread,
                "message_id": message.message_id,
                "parent_id": message.parent_id,
                "now": self._now,
            }
            self._heads.append(statements.MOVE_HEAD.values(head))

    def _add_run(self, change: RunChanged) -> None:
        run = self._runs.setdefault(change.run, {})
        for name, value in change.fields.items():
            if name != "last_event":  # that is counted
                run[f"new_{name}"] = RUN_FIELDS[name](value)

    def _add_title(self, change: TitleGiven) -> None:
        title = {"thread": change.thread, "new": change.title, "folded": fold(change.title)}
        self._titles.append(statements.GIVE_TITLE.values(title))

    _ADD: Final[dict[type, Callable[[Batch, Any], None]]] = {
        EventsAdded: _add_events,
        MessagesPut: _add_messages,
        RunChanged: _add_run,
        TitleGiven: _add_title,
    }

    def mend(self) -> None:
        """Make of each text one that can be kept."""
        for rows in (self._events, self._messages, self._heads, self._titles):
            rows[:] = [tuple(map(_mended, row)) for row in rows]
        for values in self._runs.values():
            values.update({name: _mended(value) for name, value in values.items()})

    def write(self, transaction: Transaction) -> None:
        """Write them."""
        for statement, rows in (
            (statements.ADD_EVENT, self._events),
            (statements.PUT_MESSAGE, self._messages),
            (statements.MOVE_HEAD, self._heads),
            (statements.GIVE_TITLE, self._titles),
        ):
            if rows:
                transaction.many(statement, rows)
        changed: dict[Statement, list[Row]] = {}
        for run, values in self._runs.items():
            if values:
                statement = statements.change_run(tuple(values))
                changed.setdefault(statement, []).append(statement.values({**values, "run": run}))
        for statement, rows in changed.items():
            transaction.many(statement, rows)


async def write(database: Database, changes: Sequence[Change], now: datetime) -> None:
    """Write all of `changes` or none of them; what belongs to nothing any more is left out."""
    try:
        await database.write(Batch(changes, now).write)
    except (sqlite3.IntegrityError, UnicodeEncodeError):
        await database.write(lambda transaction: _write_mended(transaction, changes, now))


def _write_mended(transaction: Transaction, changes: Sequence[Change], now: datetime) -> None:
    """The same without what has no thread or run, and without halves of characters."""
    asked = {
        "threads": [c.thread for c in changes if isinstance(c, MessagesPut)],
        "runs": [c.run for c in changes if isinstance(c, EventsAdded)],
    }
    there = {
        table: {key for (key,) in transaction.rows(find, ids=json.dumps(asked[table]))}
        for table, find in statements.THERE.items()
    }
    left = Batch([change for change in changes if _is_of(change, there)], now)
    left.mend()
    left.write(transaction)


def _is_of(change: Change, there: Mapping[str, set[int]]) -> bool:
    """Whether there is what it is added to; a change of nothing is none."""
    if isinstance(change, EventsAdded):
        return change.run in there["runs"]
    return not isinstance(change, MessagesPut) or change.thread in there["threads"]


def _mended(value: Any) -> Any:
    """A value that can be kept: of half a character nothing can be made but a question mark."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "replace").decode("utf-8")
