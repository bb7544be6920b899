"""Another user's rows are never seen, and another thread's neither."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from llmkeep.service.interfaces import RunChanged, TitleGiven
from llmkeep.service.storage import statements
from llmkeep.service.storage.database import Statement
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.storage.scene import BEGINNING, finish, message, open_run, open_thread, say


async def live(store: SqliteStore, user: str) -> None:
    """The same names for everybody, with contents of the user's own."""
    for thread_id in ("t1", "t2"):
        thread = await open_thread(store, thread_id, user)
        own = f"{user}-{thread_id}"
        await store.write([TitleGiven(thread.key, own)])
        run = await open_run(store, thread)
        await say(store, thread, message("a", content=own), message("b", "a", content=own))
        await finish(store, run, tokens=len(own), events=2, code=own)
        waiting = await open_run(store, thread, "waiting")
        await store.write([RunChanged(waiting.key, {"code": own})])


async def everything(store: SqliteStore, user: str) -> dict[str, Any]:
    """What each method that reads tells to a user of their thread `t1`."""
    thread = await store.thread(user, "t1")
    run = await store.run(user, "t1", "r1")
    assert thread is not None
    assert run is not None
    return {
        "thread": thread,
        "deleted": await store.thread(user, "t1", deleted=True),
        "opened": await store.open_thread(user, "t1"),
        "threads": await store.threads(user, limit=10),
        "search": await store.threads(user, limit=10, query="t1"),
        "messages": await store.messages(thread),
        "message": await store.message(thread, "b"),
        "path": await store.path(thread, "b"),
        "known": await store.known_messages(thread, ["a", "b", "c"]),
        "beside": await store.ids_beside(thread, "a"),
        "run": run,
        "runs": await store.runs(thread, limit=10),
        "last": await store.last_run(thread),
        "tokens": await store.tokens_since(user, BEGINNING),
        "events": await store.events(run, after=0, limit=10),
    }


async def test_what_one_user_has_does_not_change_with_anothers(store):
    """Each method answers as if there were nobody else, whatever the others do."""
    await live(store, "ann")
    before = await everything(store, "ann")

    await live(store, "bob")
    assert await everything(store, "ann") == before
    text = repr(await everything(store, "bob"))
    assert "bob-t1" in text
    assert "ann" not in text

    theirs = await open_thread(store, "t1", "bob")
    await say(store, theirs, message("c", "a"), message("d"))
    await store.rename_thread(theirs, "ann's?")
    for run in await store.runs(theirs, limit=9):
        await store.compact_run(run)
    await store.delete_thread(theirs, BEGINNING)
    await store.purge_thread(theirs)
    assert await everything(store, "ann") == before
    assert await store.thread("bob", "t1", deleted=True) is None
    assert await store.thread("bob", "t2") is not None


@pytest.mark.parametrize("user", ["Ann", "ann ", "änn", "", "%", "ann\N{ZERO WIDTH SPACE}"])
async def test_users_are_told_apart_exactly(store, user):
    """By each character of their names, in whatever way a database may compare text."""
    await live(store, "ann")

    assert await store.thread(user, "t1") is None
    assert await store.run(user, "t1", "r1") is None
    assert (await store.threads(user, limit=10)).threads == []
    assert await store.tokens_since(user, BEGINNING) == 0
    _, is_new = await store.open_thread(user, "t1")
    assert is_new


async def test_a_purge_removes_everything_of_a_thread(store):
    """No table has a row of it left, but for the sum of its tokens."""
    counted = ("threads", "messages", "runs", "events")

    async def rows() -> dict[str, int]:
        async with store.sessions() as session:
            connection = await session.connection()
            return {
                name: (await connection.exec_driver_sql(f"SELECT count(*) FROM {name}")).scalar()
                for name in counted
            }

    nothing = await rows()
    await live(store, "ann")
    kept = await rows()
    assert all(kept[name] > 0 for name in counted)
    await live(store, "bob")
    for thread_id in ("t1", "t2"):
        theirs = await open_thread(store, thread_id, "bob")
        await store.purge_thread(theirs)  # not deleted: it stays
        assert await store.thread("bob", thread_id) is not None
        await store.delete_thread(theirs, BEGINNING)
        await store.purge_thread(theirs)

    assert await rows() == kept
    assert nothing == dict.fromkeys(counted, 0)


async def test_what_is_purged_takes_no_place_on_the_disk(store, thread):
    """The file shrinks: what was said is not in it any more."""

    async def pages() -> Any:
        async with store.sessions() as session:
            connection = await session.connection()
            return (await connection.exec_driver_sql("PRAGMA page_count")).scalar()

    before = await pages()
    secret = "secret " * 10_000
    await say(store, thread, *(message(f"m{number}", content=secret) for number in range(20)))
    grown = await pages()
    await store.delete_thread(thread, BEGINNING)
    await store.purge_thread(thread)

    assert grown > before + 300
    assert await pages() <= before + 3
    await store.close()
    assert b"secret secret" not in store.file.read_bytes()


async def test_a_thread_whose_run_is_being_stopped_is_not_purged_yet(store, thread):
    """It is written to, and its checkpoints are."""
    run = await open_run(store, thread)
    await store.delete_thread(thread, BEGINNING)
    later = BEGINNING + timedelta(days=1)
    assert await store.threads_deleted_before(later) == []

    await finish(store, run, status="cancelled")

    found = await store.threads_deleted_before(later)
    assert [each.key for each in found] == [thread.key]
    assert await store.threads_deleted_before(BEGINNING) == []


# --- by an index ---------------------------------------------------------------------------------

_STATEMENTS = {
    name: value for name, value in vars(statements).items() if isinstance(value, Statement)
}
#: What looks for nothing.
_WITHOUT_INDEX = {"VERSION", "TOUCH", "ADD_THREAD", "ADD_EVENT", "PUT_MESSAGE"}


@pytest.mark.parametrize("name", sorted(_STATEMENTS.keys() - _WITHOUT_INDEX))
async def test_every_statement_finds_its_rows_by_an_index(store, name):
    """However many rows other users have, they are not looked through."""
    statement = _STATEMENTS[name]
    values = ("[]",) * statement.text.count("?")
    async with store.sessions() as session:
        connection = await session.connection()
        plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.text}", values)
        steps = [row[3] for row in plan]

    # Results of the statement itself, what it was given, and indexes of a few rows each.
    own = ("path", "anon_1", "anon_1 VIRTUAL TABLE INDEX 1:")
    partial = ("runs USING INDEX ix_runs_unfinished",)
    allowed = {f"SCAN {name}" for name in (*own, *partial)}
    if name == "FORGET_PURGED_TOKENS":
        allowed.add("SCAN purged_tokens")  # now and then, of a table that this keeps small
    assert [step for step in steps if step.startswith("SCAN") and step not in allowed] == []
