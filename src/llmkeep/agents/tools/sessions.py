"""Work in somebody's database session, whichever of SQLAlchemy's kinds it is.

Not here: what is done there. Each piece of work ends with a commit, or with a rollback if it
fails: what a tool tells as done is done. A session is for one at a time, so calls that share one
take turns; a factory (`sessionmaker` and its like) gives each call a session of its own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from langchain_core.tools import ToolException
from sqlalchemy import Table, inspect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from llmkeep.agents.faults import redacted
from llmkeep.agents.tool_pool import pool
from llmkeep.settings import settings

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Session], T]

_ASYNCHRONOUS: Final = (AsyncSession, async_sessionmaker, async_scoped_session)
_KINDS: Final = (Session, sessionmaker, scoped_session, *_ASYNCHRONOUS)

_threads_turns: Final = weakref.WeakKeyDictionary[Session, threading.Lock]()
_tasks_turns: Final = weakref.WeakKeyDictionary[
    AsyncSession, weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]
]()


def is_session(db_session: object) -> bool:
    """Whether `db_session` is a session, or makes them."""
    return isinstance(db_session, _KINDS)


def run(db_session: Any, table: Table, work: Work[T]) -> T:
    """Do `work`, which uses `table`, in a blocking session.

    Raises ToolException where the database fails or the session is of another kind, and what
    `work` raises.
    """
    return _run(db_session, table, work, threading.Event())


async def arun(db_session: Any, table: Table, work: Work[T]) -> T:
    """Do `work` in a session of either kind: a blocking one is used on the threads for tools.

    When cancelled, it is rolled back unless the commit has begun. Raises what `run` does.
    """
    if isinstance(db_session, _ASYNCHRONOUS):
        return await _arun(db_session, table, work)
    given_up = threading.Event()
    blocking = partial(_run, db_session, table, work, given_up)
    try:
        return await pool.run(blocking, threads=settings.agents.tool_threads, name="session")
    except asyncio.CancelledError:
        given_up.set()
        raise


def _run(db_session: Any, table: Table, work: Work[T], given_up: threading.Event) -> T:
    if isinstance(db_session, Session):
        with _threads_turns.setdefault(db_session, threading.Lock()):
            return _transact(db_session, table, work, given_up)
    if isinstance(db_session, scoped_session):
        # Of its own: the scope may be this thread, which is borrowed, and nobody would end it.
        db_session = db_session.session_factory
    if isinstance(db_session, sessionmaker):
        with db_session() as session:
            return _transact(session, table, work, given_up)
    if isinstance(db_session, _ASYNCHRONOUS):
        raise ToolException("db_session is asynchronous: use the agent's asynchronous methods")
    raise ToolException(f"db_session is a {type(db_session).__name__}, not a SQLAlchemy session")


async def _arun(db_session: Any, table: Table, work: Work[T]) -> T:
    transact: Work[T] = partial(_transact, table=table, work=work, given_up=threading.Event())
    if isinstance(db_session, AsyncSession):
        by_loop = _tasks_turns.setdefault(db_session, weakref.WeakKeyDictionary())
        async with by_loop.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            return await db_session.run_sync(transact)
    if isinstance(db_session, async_scoped_session):
        db_session = db_session.session_factory
    maker: async_sessionmaker[AsyncSession] = db_session
    async with maker() as session:
        return await session.run_sync(transact)


def _transact(session: Session, table: Table, work: Work[T], given_up: threading.Event) -> T:
    """Do `work` and commit, or roll back."""
    if given_up.is_set():  # while waiting for its turn; the session may be gone
        raise ToolException("the call was given up")
    try:
        result = work(session)
        if given_up.is_set():
            raise ToolException("the call was given up")
        session.commit()
    except ToolException:  # refused: what else is pending in the session is not the tool's
        if given_up.is_set():
            _roll_back(session)
        raise
    except SQLAlchemyError as error:
        _roll_back(session)
        raise _told(session, table, error) from None
    except BaseException:
        _roll_back(session)
        raise
    return result


def _roll_back(session: Session) -> None:
    try:
        session.rollback()
    except Exception as error:  # not in place of why
        logger.warning("a rollback failed: %s", redacted(f"{type(error).__name__}: {error}"))


def _told(session: Session, table: Table, error: SQLAlchemyError) -> ToolException:
    """The database's error in a line, without the statement and its values."""
    if isinstance(error, DBAPIError):
        if _is_missing(session, table):
            return ToolException(
                f"the database has no table {table.name}: add llmkeep.agents.tools.notes.metadata "
                "to your migrations, or call metadata.create_all(engine) once"
            )
        cause: BaseException = error.orig or error
    else:
        cause = error
    told = redacted(f"{type(cause).__name__}: {cause}")
    logger.warning("the database failed a tool: %s", told)
    return ToolException(f"the database failed: {told}")


def _is_missing(session: Session, table: Table) -> bool:
    try:
        return not inspect(session.get_bind(clause=table)).has_table(table.name)
    except SQLAlchemyError:  # it does not answer at all
        return False
