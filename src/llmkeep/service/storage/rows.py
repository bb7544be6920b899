"""Records as rows, and rows as records: times are microseconds, what has a shape is JSON."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from llmkeep.service.records import Call, Message, Run, RunRequest, Thread

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Row = Sequence[Any]


def to_number(moment: datetime) -> int:
    """A moment as it is stored."""
    return (moment - _EPOCH) // _MICROSECOND


def to_moment(number: int) -> datetime:
    """The moment that is stored as `number`."""
    return _EPOCH + number * _MICROSECOND


def _to_moment_or_none(number: int | None) -> datetime | None:
    return None if number is None else to_moment(number)


def to_json(value: object) -> str:
    """A value as it is stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fold(text: str) -> str:
    """Text as it is searched: without a difference of case, width or how accents are written."""
    return unicodedata.normalize("NFKC", text.casefold())


def as_thread(row: Row) -> Thread:
    """A row of `statements.THREAD_COLUMNS`."""
    return Thread(
        key=row[0],
        user=row[1],
        thread_id=row[2],
        title=row[3],
        metadata=json.loads(row[4]),
        created_at=to_moment(row[5]),
        updated_at=to_moment(row[6]),
        deleted_at=_to_moment_or_none(row[7]),
        head_id=row[8],
        is_branched=bool(row[9]),
        last_run_id=row[10],
        last_status=row[11],
    )


def as_run(row: Row) -> Run:
    """A row of `statements.RUN_COLUMNS`."""
    return Run(
        key=row[0],
        thread_key=row[1],
        user=row[2],
        thread_id=row[3],
        run_id=row[4],
        fingerprint=row[5],
        request=json.loads(row[6]),
        status=row[7],
        code=row[8],
        error=row[9],
        model=row[10],
        usage=None if row[11] is None else json.loads(row[11]),
        tokens=row[12],
        interrupts=tuple(json.loads(row[13])),
        is_compacted=bool(row[14]),
        on_disconnect=row[15],
        multitask_strategy=row[16],
        created_at=to_moment(row[17]),
        started_at=_to_moment_or_none(row[18]),
        ended_at=_to_moment_or_none(row[19]),
        last_event=row[20] or 0,
    )


def pending_run(
    thread: Thread, asked: RunRequest, request: Mapping[str, Any], model: str | None, now: datetime
) -> Run:
    """A run that has no `key` yet."""
    return Run(
        key=0,
        thread_key=thread.key,
        user=thread.user,
        thread_id=thread.thread_id,
        run_id=asked.run_id,
        fingerprint=asked.fingerprint,
        request=request,
        status="pending",
        model=model,
        on_disconnect=asked.on_disconnect,
        multitask_strategy=asked.multitask_strategy,
        created_at=now,
    )


def run_values(run: Run) -> dict[str, Any]:
    """A pending run, for `statements.ADD_RUN`."""
    return {
        "thread": run.thread_key,
        "run_id": run.run_id,
        "fingerprint": run.fingerprint,
        "request": to_json(run.request),
        "model": run.model,
        "on_disconnect": run.on_disconnect,
        "multitask_strategy": run.multitask_strategy,
        "created_at": to_number(run.created_at),
    }


def _same(value: Any) -> Any:
    return value


def _number_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else to_number(moment)


#: How a field of a run that changes is stored.
RUN_FIELDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "status": _same,
    "code": _same,
    "error": _same,
    "model": _same,
    "usage": lambda usage: None if usage is None else to_json([dict(one) for one in usage]),
    "tokens": _same,
    "interrupts": lambda interrupts: to_json([dict(one) for one in interrupts]),
    "on_disconnect": _same,
    "multitask_strategy": _same,
    "started_at": _number_or_none,
    "ended_at": _number_or_none,
}


def message_row(thread: int, message: Message) -> tuple[Any, ...]:
    """What `statements.PUT_MESSAGE` wants, in its order."""
    folded = None if message.role == "tool" else fold(message.content)
    return (
        thread,
        message.message_id,
        message.parent_id,
        message.run_id,
        message.role,
        message.content,
        None if folded == message.content else folded,
        message.status,
        to_json([(call.id, call.name, call.arguments) for call in message.calls])
        if message.calls
        else None,
        message.tool_call_id,
        message.duration,
        to_number(message.created_at),
    )


def as_message(row: Row, usage: Mapping[str, int] | None = None) -> Message:
    """A row of `statements.MESSAGE_COLUMNS`."""
    return Message(
        message_id=row[0],
        parent_id=row[1],
        run_id=row[2],
        role=row[3],
        content=row[4],
        status=row[5],
        calls=() if row[6] is None else tuple(Call(*call) for call in json.loads(row[6])),
        tool_call_id=row[7],
        duration=row[8],
        created_at=to_moment(row[9]),
        model=row[10] if row[3] == "assistant" else None,
        usage=usage,
    )


def as_messages(rows: Sequence[Row]) -> list[Message]:
    """Rows of a whole thread; a run's usage stands at its last message of the assistant."""
    last = {row[2]: row[0] for row in rows if row[3] == "assistant"}
    return [
        as_message(row, _totals(row[11]) if last.get(row[2]) == row[0] else None) for row in rows
    ]


def _totals(usage: str | None) -> dict[str, int] | None:
    """AG-UI's counts for each model, summed, under the names that the service uses."""
    if usage is None:
        return None
    totals: dict[str, int] = {}
    for counts in json.loads(usage):
        for name, count in counts.items():
            if isinstance(count, int):
                totals[_snake(name)] = totals.get(_snake(name), 0) + count
    return totals


@lru_cache
def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)
