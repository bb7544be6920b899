"""`create_app`: the parts, put together, and the order in which they begin and end.

Nothing is global but what the agents share (`llmkeep.settings`, the cache of models): two
applications with two data folders work in one process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from datetime import timedelta
from typing import Final
from urllib.parse import unquote

from anyio import to_thread
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

import llmkeep
from llmkeep.core import all_caches
from llmkeep.settings import ServiceSettings
from llmkeep.settings import settings as all_settings

from .agent import ServiceHandlers
from .api import agent, cache, health, runs, session, threads
from .api.cache_board import CacheBoard
from .api.documented import add_openapi
from .api.page import Page
from .api.parts import Service
from .api.problems import add_problems
from .observability import Metrics, Tracing, add_observability, log_context, make_tracing
from .records import Run, Thread
from .runs import Runs
from .security import add_security
from .storage.folder import DataFolder
from .storage.janitor import Janitor
from .storage.sqlite_store import SqliteStore
from .storage.working_memory import open_memory
from .users import UserLimits, check_exposure, make_sign_in


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """The ASGI application; what it needs is opened when its lifespan starts.

    One process serves a data folder: more than one worker is refused by its lock. Under a server
    other than `llmkeep serve`, runs are ended when the lifespan is, after the server has waited
    for its connections. Models are the process's own and stay: `llmkeep.close()` closes them.

    Args:
        settings: None: those of `llmkeep.settings`.

    Raises SettingsError where they do not go together.
    """
    settings = settings or all_settings.service
    check_exposure(settings.host, settings)
    app = FastAPI(
        title="llmkeep",
        version=llmkeep.__version__,
        lifespan=_lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        # Its spans and logs would have addresses with what was searched for; ours have not.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    app.state.metrics = metrics = Metrics()
    app.state.sign_in = make_sign_in(settings)
    for routes in (agent, threads, runs, cache, session, health):
        app.include_router(routes.router)
    app.router.default = Page()
    add_openapi(app)
    app.add_middleware(EncodedPaths)
    add_problems(app)
    add_security(app, settings)
    add_observability(app, metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Each step closes what it opened, in the opposite order, also where a later one fails."""
    settings: ServiceSettings = app.state.settings
    metrics: Metrics = app.state.metrics
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(DataFolder(settings.folder()))
        tracing = make_tracing()
        stack.push_async_callback(tracing.aclose)
        store = await stack.enter_async_context(SqliteStore(folder.database))
        memory = await to_thread.run_sync(open_memory, folder.memory)
        stack.push_async_callback(memory.aclose)
        handlers = ServiceHandlers(
            memory, store.sessions, models=settings.models, observe=tracing.step
        )
        board = CacheBoard(all_caches, metrics)
        stack.callback(board.close)
        stack.callback(metrics.watch_builds())
        running = await stack.enter_async_context(
            Runs(
                store,
                handlers,
                run_timeout=settings.run_timeout,
                metrics=metrics,
                around=_around(tracing),
            )
        )
        janitor = await stack.enter_async_context(_janitor(store, handlers, settings))
        app.state.service = service = Service(
            settings=settings,
            store=store,
            handlers=handlers,
            runs=running,
            limiter=UserLimits(settings, store),
            metrics=metrics,
            board=board,
            janitor=janitor,
        )
        stack.callback(service.begin_drain)
        yield


def _janitor(store: SqliteStore, handlers: ServiceHandlers, settings: ServiceSettings) -> Janitor:
    async def forget(thread: Thread) -> None:
        await handlers.delete(thread.user, thread.thread_id)

    return Janitor(
        store,
        forget=forget,
        undo=timedelta(seconds=settings.undo_seconds),
        keep_log=timedelta(seconds=settings.log_keep_seconds),
    )


def _around(tracing: Tracing) -> Callable[[Run], AbstractContextManager[object]]:
    """What every run is within: its ids in all that is logged, and its span."""

    @contextmanager
    def around(run: Run) -> Iterator[None]:
        with (
            log_context(run_id=run.run_id, thread_id=run.thread_id, user=run.user),
            tracing.run(run_id=run.run_id, thread_id=run.thread_id, model=run.model),
        ):
            yield

    return around


class EncodedPaths:
    """Has routes chosen by addresses as they were sent: a `%2F` in an id parts nothing.

    The ids are decoded where they are taken (`api.identifiers.PathId`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app: Final = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] == "http" and scope["path"].startswith("/api/threads/"):
            path = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
            if unquote(path) == scope["path"]:
                scope["path"] = path
        await self._app(scope, receive, send)
