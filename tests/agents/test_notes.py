"""Notes: a user's own rows, in whichever session the application has, and safe on bad input."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import uuid
import weakref
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import ToolException
from langgraph.prebuilt.tool_node import ToolInvocationError
from sqlalchemy import Engine, create_engine, event, func, insert, select
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from llmkeep.agents import RunContext
from llmkeep.agents.tool_pool import ToolBusy, pool
from llmkeep.agents.tools import builtin_tools, sessions, takes_notes
from llmkeep.agents.tools.notes import (
    MAX_LENGTH,
    MAX_SHOWN,
    NOTES_TOOLS,
    metadata,
    notes_table,
    owner_of,
)
from llmkeep.settings import settings
from tests.agents.calling import called

PATIENCE = 30.0
add_note, search_notes, delete_note = NOTES_TOOLS

BLOCKING = ["Session", "sessionmaker", "scoped_session"]
ASYNCHRONOUS = ["AsyncSession", "async_sessionmaker", "async_scoped_session"]


class Database:
    """A file, and every kind of session over it."""

    def __init__(self, path: Path) -> None:
        self.engine = create_engine(f"sqlite:///{path}")
        self.async_engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        self.tasks = async_sessionmaker(self.async_engine)
        self.opened: list[Session | AsyncSession] = []

    def give(self, kind: str) -> Any:
        match kind:
            case "Session" | "AsyncSession":
                maker = Session if kind == "Session" else AsyncSession
                session = maker(self.engine if kind == "Session" else self.async_engine)  # type: ignore[arg-type]
                self.opened.append(session)
                return session
            case "sessionmaker":
                return sessionmaker(self.engine)
            case "scoped_session":
                return scoped_session(sessionmaker(self.engine))
            case "async_sessionmaker":
                return self.tasks
            case _:
                return async_scoped_session(self.tasks, scopefunc=asyncio.current_task)

    def count(self) -> int:
        """How many notes anybody else can see: what is committed."""
        with self.engine.connect() as connection:
            counted = connection.execute(select(func.count()).select_from(notes_table))
            return int(counted.scalar_one())

    async def close(self) -> None:
        for session in self.opened:
            closing = session.close()
            if closing is not None:
                await closing
        await self.async_engine.dispose()
        self.engine.dispose()


@pytest.fixture
async def empty_database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "application.db")
    yield database
    await database.close()


@pytest.fixture
async def database(empty_database: Database) -> Database:
    metadata.create_all(empty_database.engine)
    return empty_database


def of(user: Any, db_session: Any) -> RunContext:
    return RunContext(user, "s1", db_session=db_session)


async def told(tool: Any, context: RunContext, **arguments: Any) -> str:
    return str((await called(tool, context, **arguments)).content)


@pytest.mark.parametrize("kind", BLOCKING + ASYNCHRONOUS)
async def test_notes_are_added_found_and_deleted(database: Database, kind: str):
    """Through each kind of session; what is told as saved is committed."""
    ann = of("ann", database.give(kind))
    assert await told(search_notes, ann) == "There are no notes."
    assert await told(add_note, ann, text=" Dentist on Friday at 9 ") == "Saved as note 1."
    assert database.count() == 1
    assert await told(add_note, ann, text="Buy tea") == "Saved as note 2."
    found = await told(search_notes, ann, query="friday DENTIST")
    assert found.startswith("Note 1, ")
    assert found.endswith(": Dentist on Friday at 9")
    assert [line.split(",")[0] for line in (await told(search_notes, ann)).split("\n")] == [
        "Note 2",
        "Note 1",
    ]
    assert await told(search_notes, ann, query="friday tea") == (
        "No note has these words: friday tea"
    )
    assert await told(delete_note, ann, note=1) == "Deleted note 1."
    with pytest.raises(ToolException, match="there is no note 1"):
        await told(delete_note, ann, note=1)
    assert database.count() == 1


async def test_nobody_meets_the_notes_of_another(database: Database):
    """Nor a user whose id only looks the same."""
    ids: list[Any] = ["1", 1, "ann", "Ann", "ann ", True, '"1"', uuid.UUID(int=1), "", "n" * 1000]
    assert len({owner_of(each) for each in ids}) == len(ids)
    session = database.give("Session")
    for each in ids:
        await told(add_note, of(each, session), text=f"the note of {each!r}")
    for number, each in enumerate(ids, start=1):
        mine = of(each, session)
        seen = await told(search_notes, mine)
        assert seen.endswith(f": the note of {each!r}")
        assert "\n" not in seen
        with pytest.raises(ToolException, match="there is no note"):
            await told(delete_note, mine, note=number % len(ids) + 1)
    assert database.count() == len(ids)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("%", ["100% wool"]),
        ("_", ["snake_case"]),
        ("/", ["and/or"]),
        ("\\", ["back\\slash"]),
        ("'", ["it's"]),
        ("'; DROP TABLE llmkeep_notes; --", []),
        ("ÄRZTE", ["Ärzte"]),
        ("STRASSE", ["Straße"]),
        ("x" * 200, []),
        (" ", ["Ärzte", "Straße", "it's", "back\\slash", "and/or", "snake_case", "100% wool"]),
    ],
)
async def test_a_query_is_words_and_nothing_else(database: Database, query: str, found: list[str]):
    """No character in it is a pattern; upper and lower case are one, in every script."""
    ann = of("ann", database.give("sessionmaker"))
    for text in ["100% wool", "snake_case", "and/or", "back\\slash", "it's", "Straße", "Ärzte"]:
        await told(add_note, ann, text=text)
    lines = (await told(search_notes, ann, query=query)).split("\n")
    assert [line.split(": ", 1)[1] for line in lines if line.startswith("Note ")] == found


async def test_a_search_shows_so_many_and_says_that_there_are_more(database: Database):
    ann = of("ann", database.give("Session"))
    for number in range(MAX_SHOWN):
        await told(add_note, ann, text=f"idea {number}")
    assert "There are more" not in await told(search_notes, ann, query="idea")
    await told(add_note, ann, text="idea and last")
    lines = (await told(search_notes, ann, query="idea")).split("\n")
    assert len(lines) == MAX_SHOWN + 1
    assert lines[0].endswith("idea and last")
    assert lines[-1].startswith("There are more")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (add_note, {"text": ""}),
        (add_note, {"text": " \n\t"}),
        (add_note, {"text": "\0"}),
        (add_note, {"text": "x" * (MAX_LENGTH + 1)}),
        (add_note, {"text": 5}),
        (add_note, {}),
        (search_notes, {"query": "x" * 1000}),
        (delete_note, {"note": 0}),
        (delete_note, {"note": -1}),
        (delete_note, {"note": 2**63}),
        (delete_note, {"note": "all"}),
        (delete_note, {}),
    ],
)
async def test_arguments_that_make_no_sense_reach_no_database(
    database: Database, tool: Any, arguments: dict[str, Any]
):
    with pytest.raises(ToolInvocationError):
        await told(tool, of("ann", None), **arguments)


async def test_what_databases_refuse_is_taken_out_of_a_text(database: Database):
    ann = of("ann", database.give("sessionmaker"))
    await told(add_note, ann, text="a\0b \ud800 c")
    assert (await told(search_notes, ann, query="c \ud800")).endswith(": ab ? c")
    with pytest.raises(ToolException, match="there is no note"):
        await told(delete_note, ann, note=2**63 - 1)


@pytest.mark.parametrize("kind", BLOCKING + ASYNCHRONOUS)
async def test_a_missing_table_names_the_cure(empty_database: Database, kind: str):
    ann = of("ann", empty_database.give(kind))
    for tool, arguments in ((add_note, {"text": "tea"}), (search_notes, {})):
        with pytest.raises(ToolException) as failed:
            await told(tool, ann, **arguments)
        assert "no table llmkeep_notes" in str(failed.value)
        assert "llmkeep.agents.tools.notes.metadata" in str(failed.value)
    metadata.create_all(empty_database.engine)
    assert await told(add_note, ann, text="tea") == "Saved as note 1."


async def test_a_refused_call_leaves_what_else_is_pending(database: Database):
    """The model asked for a note that is not there: a request's own work is not undone for it."""
    session = database.give("Session")
    row = {"owner": "an application", "text": "t", "folded": "t", "created_at": datetime.now(UTC)}
    session.execute(insert(notes_table).values(row))
    with pytest.raises(ToolException, match="there is no note 5"):
        await told(delete_note, of("ann", session), note=5)
    session.commit()
    assert database.count() == 1


@pytest.mark.parametrize("kind", ["Session", "AsyncSession"])
async def test_a_commit_that_fails_is_not_told_as_saved(database: Database, kind: str):
    """It is rolled back, and the session works again."""
    session = database.give(kind)
    inner = session.sync_session if kind == "AsyncSession" else session

    def refuse(_session: Session) -> None:
        raise OSError("the disk is full")

    event.listen(inner, "before_commit", refuse)
    with pytest.raises(OSError, match="disk is full"):
        await told(add_note, of("ann", session), text="tea")
    event.remove(inner, "before_commit", refuse)
    assert not session.in_transaction()
    assert database.count() == 0
    assert await told(add_note, of("ann", session), text="tea") == "Saved as note 1."


async def test_the_databases_words_are_told_without_the_statement(database: Database):
    """What was to be written is nobody's business, and an address with a password neither."""
    with Session(database.engine) as session:
        session.connection().exec_driver_sql("DROP INDEX ix_llmkeep_notes_owner")
        session.connection().exec_driver_sql(
            "CREATE TRIGGER refusing BEFORE INSERT ON llmkeep_notes "
            "BEGIN SELECT RAISE(ABORT, 'see sqlite://u:hunter2@host'); END"
        )
        session.commit()
    with pytest.raises(ToolException) as failed:
        await told(add_note, of("ann", database.give("sessionmaker")), text="my secret plan")
    text = str(failed.value)
    assert text == "the database failed: IntegrityError: see sqlite://***@host"


@pytest.mark.parametrize("kind", ["Session", "AsyncSession"])
async def test_calls_that_share_a_session_take_turns(database: Database, kind: str):
    """A session is for one at a time; the calls of one turn of a model come together."""
    session = database.give(kind)
    ann = of("ann", session)
    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(told(add_note, ann, text=f"idea {number}"))
            group.create_task(told(search_notes, ann))
    assert database.count() == 12


async def test_a_session_is_one_threads_at_a_time(database: Database):
    """The second call's thread has begun, and is not inside before the first is out."""
    session = database.give("Session")
    inside, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def first(_session: Session) -> None:
        inside.set()
        assert go_on.wait(PATIENCE)
        order.append("first")

    def second(_session: Session) -> None:
        order.append("second")

    one = asyncio.create_task(sessions.arun(session, notes_table, first))
    assert await asyncio.to_thread(inside.wait, PATIENCE)
    two = asyncio.create_task(sessions.arun(session, notes_table, second))
    while pool.busy < 2:
        await asyncio.sleep(0.001)
    assert order == []
    go_on.set()
    await asyncio.gather(one, two)
    assert order == ["first", "second"]


async def test_a_call_that_was_given_up_is_not_saved(database: Database):
    """Inside, it is rolled back; one that still waits for its turn does not begin."""
    session = database.give("Session")
    inside, go_on = threading.Event(), threading.Event()
    begun: list[str] = []

    def slow(used: Session) -> None:
        begun.append("slow")
        used.execute(
            notes_table.insert().values(
                owner="ann", text="tea", folded="tea", created_at=func.current_timestamp()
            )
        )
        inside.set()
        assert go_on.wait(PATIENCE)

    calls = [asyncio.create_task(sessions.arun(session, notes_table, slow)) for _ in range(2)]
    assert await asyncio.to_thread(inside.wait, PATIENCE)
    while pool.busy < 2:
        await asyncio.sleep(0.001)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    go_on.set()
    while pool.busy:
        await asyncio.sleep(0.001)
    assert begun == ["slow"]
    assert not session.in_transaction()
    assert database.count() == 0


async def test_a_cancelled_call_leaves_an_asynchronous_session_usable(database: Database):
    session = database.give("AsyncSession")
    ann = of("ann", session)
    for _ in range(5):
        call = asyncio.create_task(told(add_note, ann, text="tea"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        assert not session.in_transaction()
    before = database.count()
    await told(add_note, ann, text="coffee")
    assert database.count() == before + 1


@pytest.mark.parametrize("kind", ["Session", "AsyncSession"])
async def test_a_session_is_not_kept(database: Database, kind: str):
    session = database.give(kind)
    await told(add_note, of("ann", session), text="tea")
    closing = session.close()
    if closing is not None:
        await closing
    gone = weakref.ref(session)
    database.opened.clear()
    del session, closing
    gc.collect()
    assert gone() is None


def test_an_asynchronous_session_serves_one_loop_after_the_other(tmp_path: Path):
    """Turns are taken within a loop."""
    from sqlalchemy.pool import NullPool

    path = tmp_path / "application.db"
    engine: Engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    session = AsyncSession(create_async_engine(f"sqlite+aiosqlite:///{path}", poolclass=NullPool))

    async def talk() -> None:
        ann = of("ann", session)
        await asyncio.gather(*(told(add_note, ann, text="tea") for _ in range(4)))
        await session.close()

    asyncio.run(talk())
    asyncio.run(talk())


async def test_a_full_pool_says_so(database: Database, own_settings):
    """Blocking sessions are used on the threads for tools, and count there."""
    settings.agents.tool_threads = 1
    inside, go_on = threading.Event(), threading.Event()

    def slow(_session: Session) -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    maker = database.give("sessionmaker")
    waiting = asyncio.create_task(sessions.arun(maker, notes_table, slow))
    assert await asyncio.to_thread(inside.wait, PATIENCE)
    with pytest.raises(ToolBusy, match="AGENTS__TOOL_THREADS"):
        await told(add_note, of("ann", maker), text="tea")
    go_on.set()
    await waiting


async def test_a_session_of_no_known_kind_is_refused(database: Database):
    with pytest.raises(ToolException, match="db_session is a NoneType, not a SQLAlchemy session"):
        await told(add_note, of("ann", None), text="tea")
    with pytest.raises(ToolException, match="this run has none"):
        await told(add_note, None, text="tea")  # type: ignore[arg-type]
    with pytest.raises(ToolException, match="asynchronous"):
        sessions.run(database.give("AsyncSession"), notes_table, lambda _session: None)


def test_blocking_calls_work_without_a_loop(tmp_path: Path):
    engine = create_engine(f"sqlite:///{tmp_path / 'application.db'}")
    metadata.create_all(engine)
    with Session(engine) as session:
        assert sessions.run(session, notes_table, lambda used: used.in_transaction()) is False
    engine.dispose()


# --- which tools there are -----------------------------------------------------------------------


def test_notes_are_there_where_they_can_be_kept(database: Database):
    for kind in BLOCKING + ASYNCHRONOUS:
        assert takes_notes(database.give(kind))
    assert not takes_notes(None)
    assert not takes_notes(database.engine)
    assert not takes_notes(object())


def test_the_name_notes_stands_for_three_tools():
    """Always the same objects."""
    names = ["calculator", "notes", "calculator"]
    with_notes = builtin_tools(names, database=True)
    assert [each.name for each in with_notes] == [
        "calculator",
        "add_note",
        "search_notes",
        "delete_note",
    ]
    again = builtin_tools(names, database=True)
    assert all(one is other for one, other in zip(with_notes, again, strict=True))
    assert [each.name for each in builtin_tools(names, database=False)] == ["calculator"]


def test_the_model_sees_what_it_has_to_give_and_nothing_else():
    shapes: Any = {tool.name: tool.tool_call_schema.model_json_schema() for tool in NOTES_TOOLS}  # type: ignore[union-attr]
    assert {name: list(shape["properties"]) for name, shape in shapes.items()} == {
        "add_note": ["text"],
        "search_notes": ["query"],
        "delete_note": ["note"],
    }
    for shape in shapes.values():
        assert shape["description"]
        for each in shape["properties"].values():
            assert each["description"]
            assert each["examples"]


def test_without_sqlalchemy_agents_work_and_notes_name_the_package():
    program = (
        "import sys; sys.modules['sqlalchemy'] = None; import llmkeep.agents; "
        "from llmkeep.agents.tools import builtin_tools, takes_notes; "
        "assert not takes_notes(object()); "
        "builtin_tools(['notes'], database=False); builtin_tools(['notes'], database=True)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.stderr.splitlines()[-1].endswith(
        'sqlalchemy is not installed: pip install "llmkeep[agents]"'
    )
