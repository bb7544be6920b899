"""A SQLite file: one connection that writes, three that read, and SQLAlchemy's async engine.

Each statement is compiled once. A reader hands it to aiosqlite, which works on a thread of its own,
in one step; the engine's own `execute` takes four (a cursor, the statement, the rows, the end of
the cursor) and as many changes of threads: finding a row by its key cost 450 microseconds of CPU
that way, and 35 this way. A transaction that writes is one step, too: a plain function, which runs
from `BEGIN` to `COMMIT` on another thread, so that nothing can cut it in the middle. That, the
pragmas and `BEGIN IMMEDIATE` are SQLite's own; for PostgreSQL the clause of a `Statement` is
executed as it is, on a connection of the engine's pool.

A reader sees what has been committed before it asks. All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast, final

import aiosqlite
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.sql.expression import ClauseElement

from llmkeep.agents.stopping import whole
from llmkeep.core.errors import LLMKeepError
from llmkeep.core.workers import workers
from llmkeep.service.errors import Unavailable
from llmkeep.settings import SettingsError

from . import migrations

T = TypeVar("T")
Row = tuple[Any, ...]

#: Seconds to wait for another process that writes to the file: a backup, or somebody's shell.
BUSY_TIMEOUT: Final = 10.0

#: Pages (of 4 kB) that one purge gives back to the disk at most.
PAGES_GIVEN_BACK: Final = 1000

#: The oldest SQLite that knows what is written here (`RETURNING`).
OLDEST_SQLITE: Final = (3, 35)

#: Bytes that the write-ahead log keeps of its file once it has been written back.
LOG_BYTES: Final = 16 * 2**20

#: The connections that read, each with a thread of its own: what takes long holds up no other.
_READER, _SCANNER, _SEARCHER = range(3)
_READERS: Final = 3

#: Of a connection whose transaction has not met a statement yet.
_BEGINS: Final = "llmkeep.begins"

_DIALECT: Final = sqlite.dialect(paramstyle="qmark")
_PRAGMAS: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # heeded by a new file alone
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    f"PRAGMA journal_size_limit = {LOG_BYTES}",
)
_FOREIGN_KEYS: Final = "PRAGMA foreign_keys = ON"


@final
class Statement:
    """A statement of SQLAlchemy's Core, compiled once; what changes is a `bindparam` in it."""

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.text: Final = str(compiled)
        self._names: Final[Sequence[str]] = getattr(compiled, "positiontup", None) or ()
        self._constants: Final = {k: v for k, v in compiled.params.items() if v is not None}

    def values(self, given: Mapping[str, Any]) -> Row:
        """What stands for each question mark."""
        constants = self._constants
        return tuple(given[n] if n in given else constants[n] for n in self._names)


@final
class Transaction:
    """One that has begun; lives while the work that it was given to is under way, on its thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: Final = connection

    def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """Do it, and give what it returns."""
        return self._connection.execute(statement.text, statement.values(values)).fetchall()

    def many(self, statement: Statement, rows: Iterable[Row]) -> None:
        """Do it for each row, which has a value for each question mark."""
        self._connection.executemany(statement.text, rows)


@final
class Database:
    """The connections to one file, from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.engine: Final = _engine(path)
        #: For tools that write rows of their own into the same file.
        self.sessions: Final = async_sessionmaker(self.engine, expire_on_commit=False)
        self.newest = ""
        """The version of the tables that this code writes, once it is open."""
        self._turn: Final = asyncio.Lock()
        self._writer: sqlite3.Connection | None = None
        self._connections: Final = AsyncExitStack()
        self._readers: list[aiosqlite.Connection] = []

    async def open(self) -> Self:
        """Make or migrate the file, and open it. Raises SettingsError."""
        self.newest = await on_thread("migrate", lambda: migrate(self.path))
        try:
            await on_thread("store", self._open_writer)
            for _ in range(_READERS):
                connection = await self._connections.enter_async_context(self.engine.connect())
                raw = await connection.get_raw_connection()
                assert isinstance(raw.driver_connection, aiosqlite.Connection)
                self._readers.append(raw.driver_connection)
        except BaseException:
            await self.close()
            raise
        return self

    def _open_writer(self) -> None:
        self._writer = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        for pragma in (*_PRAGMAS, _FOREIGN_KEYS):
            self._writer.execute(pragma)

    async def close(self) -> None:
        """Close the file, after what is being written."""
        async with self._turn:
            await whole(self._close())

    async def _close(self) -> None:
        self._readers.clear()
        await self._connections.aclose()
        await self.engine.dispose()
        writer, self._writer = self._writer, None
        if writer is not None:
            await on_thread("store", writer.close)

    async def read(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """The rows of a statement that finds them by an index."""
        return await self._read(_READER, statement, values)

    async def scan(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """The rows of a statement that gives many: it does not hold up the others."""
        return await self._read(_SCANNER, statement, values)

    async def search(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """The rows of a statement that looks at many to find a few: other searches wait for it."""
        return await self._read(_SEARCHER, statement, values)

    async def _read(
        self, reader: int, statement: Statement, values: Mapping[str, Any]
    ) -> Sequence[Row]:
        # One step on the connection's thread, whoever waits for it: nothing stays open.
        if not self._readers:
            raise _closed()
        rows: Any
        try:
            rows = await self._readers[reader].execute_fetchall(
                statement.text, statement.values(values)
            )
        except sqlite3.DatabaseError as error:
            _refuse(error)
            raise
        return cast("Sequence[Row]", rows)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Do `work` in a transaction, on another thread: whole, or not at all where it raises.

        Whoever is cancelled meanwhile is so at its end.
        """
        try:
            return await self._on_writer(lambda connection: _transact(connection, work))
        except sqlite3.DatabaseError as error:
            _refuse(error)
            raise

    async def shrink(self) -> None:
        """Give pages that are free back to the disk, a bounded number of them."""
        # A script: of a statement one step would be taken, which is one page.
        script = f"PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})"
        with suppress(sqlite3.OperationalError):  # then the next one does it
            await self._on_writer(lambda connection: connection.executescript(script))

    async def _on_writer(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._turn:
            writer = self._writer
            if writer is None:
                raise _closed()
            return await on_thread("store", lambda: work(writer))


def _transact(connection: sqlite3.Connection, work: Callable[[Transaction], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # which commits, or rolls back
        return work(Transaction(connection))


def _closed() -> Unavailable:
    return Unavailable("the store is closed: the server is ending")


def _refuse(error: sqlite3.DatabaseError) -> None:
    """Tell a fault of the file by Unavailable; the other kinds are faults of ours."""
    if type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError):
        raise Unavailable(
            f"the service's data cannot be read or written ({error}): look at its disk, and try "
            "again",
            code="store_unavailable",
        ) from error


async def on_thread(name: str, work: Callable[[], T]) -> T:
    """Do blocking `work` on a daemon thread, to its end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            loop.call_soon_threadsafe(tell, None, error)
        else:
            loop.call_soon_threadsafe(tell, result, None)

    workers.run(name, run)
    return await whole(done)


# --- engines -------------------------------------------------------------------------------------


def _engine(path: Path) -> AsyncEngine:
    engine = create_async_engine(_url("sqlite+aiosqlite", path), pool_size=8, max_overflow=0)
    _prepare(engine.sync_engine, *_PRAGMAS, _FOREIGN_KEYS)
    _begin_by_the_first_statement(engine.sync_engine)
    return engine


def _url(driver: str, path: Path) -> URL:
    return URL.create(driver, database=str(path), query={"timeout": str(BUSY_TIMEOUT)})


def _prepare(engine: Engine, *pragmas: str) -> None:
    """SQLAlchemy's recipe for transactions that are SQLite's own."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()


def _begin_at_once(engine: Engine) -> None:
    """Each transaction locks the file from its beginning."""

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_by_the_first_statement(engine: Engine) -> None:
    """A transaction that begins with a write locks the file; one that reads locks out nobody.

    These are the transactions of tools, which may wait for anything in the middle: the runs must
    be able to write beside one that only looks.
    """

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.info[_BEGINS] = True

    @event.listens_for(engine, "before_cursor_execute")
    def _executes(connection: Connection, cursor: Any, statement: str, *_more: object) -> None:
        if connection.info.pop(_BEGINS, False):
            reads = statement.lstrip()[:6].upper() == "SELECT"
            cursor.execute("BEGIN" if reads else "BEGIN IMMEDIATE")


def migrate(path: Path) -> str:
    """Make the file, or bring it up to date; blocks. Gives the version. Raises SettingsError."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise LLMKeepError(
            f"SQLite {sqlite3.sqlite_version} is too old: run the service with a Python that has "
            "SQLite 3.35 or later"
        )
    engine = create_engine(_url("sqlite", path))
    # A migration makes tables anew: rows that belong to the old one must not go with it.
    _prepare(engine, *_PRAGMAS, "PRAGMA foreign_keys = OFF")
    _begin_at_once(engine)
    try:
        path.touch(mode=0o600)  # the files that SQLite makes beside it get its mode
        with engine.begin() as connection:
            return migrations.upgrade(connection, path)
    except (OSError, DatabaseError) as error:
        cause = error.orig if isinstance(error, DatabaseError) else error.strerror
        raise SettingsError(
            f"SERVICE__DATA_DIR: {path} cannot be opened ({cause}): free it, restore a backup, or "
            "name another folder"
        ) from error
    finally:
        engine.dispose()
