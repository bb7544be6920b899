"""What `sqlite_store` asks of the database, each compiled once; `_given` is what each call gives.

Portable SQL through SQLAlchemy's Core, `ON CONFLICT` and `RETURNING` included, which PostgreSQL
writes alike (`insert` is then its dialect's). SQLite's own is `json_each`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    and_,
    bindparam,
    column,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.sqlite import insert

from .database import Statement
from .tables import events, messages, purged_tokens, runs, threads


def _given(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=String())


# Written as in the index of those, which is used for nothing else.
_is_unfinished: Final = runs.c.status.in_(
    [literal_column("'pending'"), literal_column("'running'")]
)

# --- threads -------------------------------------------------------------------------------------

_begun: Final = runs.alias("begun")
_last_run: Final = runs.alias("last_run")
_THREADS: Final = threads.outerjoin(
    _last_run,
    _last_run.c.key
    == select(_begun.c.key)
    .where(_begun.c.thread_key == threads.c.key, _begun.c.started_at.is_not(None))
    .order_by(_begun.c.key.desc())
    .limit(1)
    .scalar_subquery(),
)
THREAD_COLUMNS: Final = (
    threads.c.key,
    threads.c.owner,
    threads.c.thread_id,
    threads.c.title,
    threads.c.metadata,
    threads.c.created_at,
    threads.c.updated_at,
    threads.c.deleted_at,
    threads.c.head_id,
    threads.c.is_branched,
    _last_run.c.run_id,
    _last_run.c.status,
)
_select_threads: Final = select(*THREAD_COLUMNS).select_from(_THREADS)
_is_this_thread: Final = threads.c.key == _given("thread")

FIND_THREAD: Final = Statement(
    _select_threads.where(
        threads.c.owner == _given("user"), threads.c.thread_id == _given("thread_id")
    )
)
READ_THREAD: Final = Statement(_select_threads.where(_is_this_thread))
ADD_THREAD: Final = Statement(
    insert(threads)
    .values(
        owner=_given("user"),
        thread_id=_given("thread_id"),
        title=_given("title"),
        folded_title=_given("folded"),
        is_titled=_given("is_titled"),
        metadata=_given("metadata"),
        created_at=_given("now"),
        updated_at=_given("now"),
        is_branched=literal_column("0"),
    )
    .on_conflict_do_nothing(index_elements=["owner", "thread_id"])
    .returning(threads.c.key)
)
RENAME_THREAD: Final = Statement(
    update(threads)
    .where(_is_this_thread, threads.c.deleted_at.is_(None))
    .values(title=_given("new"), folded_title=_given("folded"), is_titled=literal_column("1"))
)
GIVE_TITLE: Final = Statement(
    update(threads)
    .where(_is_this_thread, threads.c.is_titled == literal_column("0"))
    .values(title=_given("new"), folded_title=_given("folded"))
)
DELETE_THREAD: Final = Statement(
    update(threads)
    .where(_is_this_thread, threads.c.deleted_at.is_(None))
    .values(deleted_at=_given("at"))
)
RESTORE_THREAD: Final = Statement(
    update(threads).where(_is_this_thread).values(deleted_at=literal_column("NULL"))
)
DELETED_THREADS: Final = Statement(
    _select_threads.where(
        threads.c.deleted_at < _given("moment"),
        # One that is still being stopped is written to.
        ~exists().where(runs.c.thread_key == threads.c.key, _is_unfinished),
    ).order_by(threads.c.deleted_at)
)
_is_deleted: Final = and_(_is_this_thread, threads.c.deleted_at.is_not(None))
KEEP_PURGED_TOKENS: Final = Statement(
    insert(purged_tokens).from_select(
        ["owner", "created_at", "tokens"],
        select(runs.c.owner, runs.c.created_at, runs.c.tokens)
        .select_from(runs.join(threads))
        .where(_is_deleted, runs.c.tokens > 0, runs.c.created_at >= _given("moment")),
    )
)
FORGET_PURGED_TOKENS: Final = Statement(
    delete(purged_tokens).where(purged_tokens.c.created_at < _given("moment"))
)
PURGE_THREAD: Final = Statement(delete(threads).where(_is_deleted))


@lru_cache
def page_of_threads(words: int, *, is_first: bool) -> Statement:
    """A user's threads in which each of so many words occurs, newest activity first."""
    page = _select_threads.where(threads.c.owner == _given("user"), threads.c.deleted_at.is_(None))
    if not is_first:
        place = tuple_(_given("updated_at"), _given("key"))
        page = page.where(tuple_(threads.c.updated_at, threads.c.key) < place)
    for number in range(words):
        pattern = _given(f"word{number}")
        said = exists().where(
            messages.c.thread_key == threads.c.key,
            messages.c.role != literal_column("'tool'"),
            func.coalesce(messages.c.folded, messages.c.content).like(pattern, escape="\\"),
        )
        page = page.where(or_(threads.c.folded_title.like(pattern, escape="\\"), said))
    newest = page.order_by(threads.c.updated_at.desc(), threads.c.key.desc())
    return Statement(newest.limit(_given("limit")))


# --- messages ------------------------------------------------------------------------------------

_in_thread: Final = messages.c.thread_key == _given("thread")
MESSAGE_COLUMNS: Final = (
    messages.c.message_id,
    messages.c.parent_id,
    messages.c.run_id,
    messages.c.role,
    messages.c.content,
    messages.c.status,
    messages.c.calls,
    messages.c.tool_call_id,
    messages.c.duration,
    messages.c.created_at,
    runs.c.model,
    runs.c.usage,
)
_select_messages: Final = select(*MESSAGE_COLUMNS).select_from(
    messages.outerjoin(
        runs, and_(runs.c.thread_key == messages.c.thread_key, runs.c.run_id == messages.c.run_id)
    )
)
MESSAGES: Final = Statement(_select_messages.where(_in_thread).order_by(messages.c.key))
MESSAGE: Final = Statement(
    _select_messages.where(_in_thread, messages.c.message_id == _given("message_id"))
)


def _path() -> Any:
    """The numbers of the messages from the one that is given up to the first, with the distance."""
    down = (
        select(messages.c.key, messages.c.parent_id, literal(0).label("distance"))
        .where(_in_thread, messages.c.message_id == _given("message_id"))
        .cte("path", recursive=True)
    )
    above = select(messages.c.key, messages.c.parent_id, down.c.distance + literal_column("1"))
    return down.union_all(
        above.where(
            _in_thread,
            messages.c.message_id == down.c.parent_id,
            down.c.distance < literal_column("100000"),  # a circle ends, though nobody makes one
        )
    )


_up: Final = _path()
PATH: Final = Statement(
    _select_messages.join(_up, _up.c.key == messages.c.key).order_by(_up.c.distance.desc())
)
BESIDE: Final = Statement(
    select(messages.c.message_id, messages.c.calls).where(
        _in_thread,
        # Asked of the file, not of a look at the thread that may be old.
        exists().where(
            _is_this_thread,
            or_(
                threads.c.is_branched == literal_column("1"),
                threads.c.head_id.is_distinct_from(_given("message_id")),
            ),
        ),
        messages.c.key.not_in(select(_up.c.key)),
    )
)
_listed: Final = func.json_each(_given("ids")).table_valued("value")
KNOWN: Final = Statement(
    select(messages.c.message_id).where(
        _in_thread, messages.c.message_id.in_(select(column("value")).select_from(_listed))
    )
)

_MESSAGE_VALUES: Final = tuple(c.name for c in messages.c if c.name != "key")
_put_message: Final = insert(messages).values({n: _given(n) for n in _MESSAGE_VALUES})
PUT_MESSAGE: Final = Statement(
    _put_message.on_conflict_do_update(
        index_elements=["thread_key", "message_id"],
        set_={
            name: _put_message.excluded[name]
            for name in _MESSAGE_VALUES
            if name not in ("thread_key", "message_id")
        },
    )
)
_other: Final = messages.alias("other")
MOVE_HEAD: Final = Statement(
    update(threads)
    .where(_is_this_thread)
    .values(
        head_id=_given("message_id"),
        updated_at=_given("now"),
        is_branched=or_(
            threads.c.is_branched == literal_column("1"),
            exists().where(
                _other.c.thread_key == threads.c.key,
                _other.c.parent_id.is_not_distinct_from(_given("parent_id")),
                _other.c.message_id != _given("message_id"),
            ),
        ),
    )
)

# --- runs ----------------------------------------------------------------------------------------

RUN_COLUMNS: Final = (
    runs.c.key,
    runs.c.thread_key,
    runs.c.owner,
    threads.c.thread_id,
    runs.c.run_id,
    runs.c.fingerprint,
    runs.c.request,
    runs.c.status,
    runs.c.code,
    runs.c.error,
    runs.c.model,
    runs.c.usage,
    runs.c.tokens,
    runs.c.interrupts,
    runs.c.is_compacted,
    runs.c.on_disconnect,
    runs.c.multitask_strategy,
    runs.c.created_at,
    runs.c.started_at,
    runs.c.ended_at,
    select(func.max(events.c.number)).where(events.c.run_key == runs.c.key).scalar_subquery(),
)


def _runs() -> Select[Any]:
    return select(*RUN_COLUMNS).select_from(runs.join(threads))


FIND_RUN: Final = Statement(
    _runs().where(
        threads.c.owner == _given("user"),
        threads.c.thread_id == _given("thread_id"),
        threads.c.deleted_at.is_(None),
        runs.c.run_id == _given("run_id"),
    )
)
RUN_OF_THREAD: Final = Statement(_runs().where(_is_this_thread, runs.c.run_id == _given("run_id")))
_new_run: Final[dict[str, ColumnElement[Any]]] = {
    "thread_key": threads.c.key,
    "owner": threads.c.owner,
    "run_id": _given("run_id"),
    "fingerprint": _given("fingerprint"),
    "request": _given("request"),
    "status": literal_column("'pending'"),
    "model": _given("model"),
    "tokens": literal_column("0"),
    "interrupts": literal_column("'[]'"),
    "is_compacted": literal_column("0"),
    "on_disconnect": _given("on_disconnect"),
    "multitask_strategy": _given("multitask_strategy"),
    "created_at": _given("created_at"),
}
_is_kept: Final = and_(_is_this_thread, threads.c.deleted_at.is_(None))
ADD_RUN: Final = Statement(
    insert(runs)
    .from_select(list(_new_run), select(*_new_run.values()).where(_is_kept))
    .on_conflict_do_nothing(index_elements=["thread_key", "run_id"])
    .returning(runs.c.key)
)
RUNS: Final = Statement(
    _runs().where(_is_this_thread).order_by(runs.c.key.desc()).limit(_given("limit"))
)
LAST_RUN: Final = Statement(
    _runs()
    .where(_is_this_thread, runs.c.started_at.is_not(None))
    .order_by(runs.c.key.desc())
    .limit(literal_column("1"))
)
# In the order of the index of those: the others are not looked through.
UNFINISHED_RUNS: Final = Statement(
    _runs().where(_is_unfinished).order_by(runs.c.thread_key, runs.c.key)
)
_spent: Final = union_all(
    *(
        select(table.c.tokens).where(
            table.c.owner == _given("user"), table.c.created_at >= _given("moment")
        )
        for table in (runs, purged_tokens)
    )
).subquery()
TOKENS_SINCE: Final = Statement(select(func.coalesce(func.sum(_spent.c.tokens), 0)))


@lru_cache
def change_run(values: tuple[str, ...]) -> Statement:
    """Change the fields of `run` for which there are these values: `new_status` and so on."""
    changed = {name.removeprefix("new_"): _given(name) for name in values}
    return Statement(update(runs).where(runs.c.key == _given("run")).values(changed))


# --- events --------------------------------------------------------------------------------------

_last_event: Final = (
    select(func.max(events.c.number)).where(events.c.run_key == _given("run")).scalar_subquery()
)
_has_ended: Final = exists().where(runs.c.key == _given("run"), ~_is_unfinished)
# A batch may come twice: whoever wrote it was not told how that went.
ADD_EVENT: Final = Statement(insert(events).on_conflict_do_nothing())
EVENTS: Final = Statement(
    select(events.c.number, events.c.data, and_(events.c.number == _last_event, _has_ended))
    .where(events.c.run_key == _given("run"), events.c.number > _given("after"))
    .order_by(events.c.number)
    .limit(_given("limit"))
)
RUNS_TO_COMPACT: Final = Statement(
    _runs()
    .where(runs.c.is_compacted == literal_column("0"), runs.c.ended_at < _given("moment"))
    .order_by(runs.c.ended_at)
    .limit(_given("limit"))
)
DROP_EVENTS: Final = Statement(
    delete(events).where(
        events.c.run_key == _given("run"),
        events.c.number > literal_column("1"),
        events.c.number < _last_event,
    )
)
MARK_COMPACTED: Final = Statement(
    update(runs).where(runs.c.key == _given("run")).values(is_compacted=literal_column("1"))
)

# --- what is there, for a batch that failed ------------------------------------------------------

THERE: Final = {
    table.name: Statement(
        select(table.c.key).where(table.c.key.in_(select(column("value")).select_from(_listed)))
    )
    for table in (threads, runs)
}

# --- the file itself -----------------------------------------------------------------------------

VERSION: Final = Statement(select(column("version_num")).select_from(table("alembic_version")))
TOUCH: Final = Statement(text("PRAGMA user_version = 1"))
