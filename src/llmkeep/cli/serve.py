"""`llmkeep serve`: the service in this process, on a socket of its own, until a signal ends it.

One process with one event loop, since one process owns a data folder. What is served is made by
`llmkeep.service`; here are the socket, the signals, and what is told to whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, final

import uvicorn
from typing_extensions import override

from llmkeep.core.errors import LLMKeepError
from llmkeep.models.local import BOXES
from llmkeep.settings import ServiceSettings, SettingsError, settings

from .faults import one_line
from .held import _apply
from .pick import BOX, DEMONSTRATION, Pick, pick

if TYPE_CHECKING:
    from fastapi import FastAPI

    from llmkeep.service.api.parts import Service

#: Connections that wait to be taken.
_BACKLOG: Final = 2048

#: Open files, as far as the system lets us have them.
_FILES: Final = 65_536

#: Seconds that an idle connection is kept: longer than the usual proxies keep theirs.
_KEEP_ALIVE: Final = 75

#: Seconds for answers that are still being sent when all runs have ended, then for models.
_LAST_WORDS: Final = 3
_CLOSE: Final = 10.0

#: How the variables of the service's settings begin.
_PREFIX: Final = "SERVICE__"

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class CannotListen(LLMKeepError):
    """The address cannot be had."""


def serve(
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    model: str | None,
    base_url: str | None,
) -> int:
    """Serve until a signal comes; the exit status.

    Raises what is wrong before anything is served: SettingsError, CannotListen, a data folder that
    another process has, a model that cannot be chosen.
    """
    from llmkeep.service.users import check_exposure

    chosen = settings.service
    if host is not None:
        chosen.host = host
    if port is not None:
        chosen.port = port
    if data_dir is not None:
        chosen.data_dir = data_dir
    check_exposure(chosen.host, chosen)
    _warn_of_unknown_variables()
    picked = _picked(model, base_url)
    _allow_many_files()
    with listening(chosen.host, chosen.port) as listener:
        from llmkeep.service.app import create_app
        from llmkeep.service.observability import configure_logging

        configure_logging(chosen)
        app = create_app(chosen)
        config = configuration(app)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(app, config, listener, lambda: _tell(picked, listener)))
    return 0


def _picked(model: str | None, base_url: str | None) -> Pick | None:
    """The model, made what handlers use; None where the settings list those that there are."""
    if settings.service.models:
        if model is not None:
            raise SettingsError("SERVICE__MODELS: it lists the models, so leave out --model")
        return None
    picked = pick(model, base_url, settings)
    if picked.model == BOX:
        BOXES["smollm2"].path()  # raises where it is not installed: there is no other to begin with
    _apply(picked)
    return picked


def _warn_of_unknown_variables() -> None:
    """A name that is misspelt would be no setting at all, without a word."""
    known = {f"{_PREFIX}{name.upper()}" for name in ServiceSettings.model_fields}
    for name in sorted(os.environ):
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f": is {near[0]} meant?" if near else ""
            print(f"llmkeep: {name} is no setting{hint}", file=sys.stderr)


def _allow_many_files() -> None:
    """Each reader and each call of a model has a file number: 1024 are soon used up."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises CannotListen, which says what to change."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        place = f"port {port} of {host}"
        if isinstance(error, socket.gaierror):
            raise CannotListen(f"--host {host}: there is no such address") from None
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"{place} is taken: end what listens there, or give another --port (0: any)"
            ) from None
        raise CannotListen(f"{place} cannot be listened on: {error.strerror}") from None
    with listener:
        # Inherited by what it accepts: else each piece of a stream waits for the one before it to
        # be acknowledged, which browsers put off for 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def configuration(app: Any) -> uvicorn.Config:
    """How uvicorn serves it."""
    return uvicorn.Config(
        app,
        lifespan="off",  # held around the server, so that what it raises is ours to tell
        ws="none",
        log_config=None,
        log_level="warning",  # its own words beside ours would be said twice
        access_log=False,  # the service has its own, which names no query
        proxy_headers=False,  # who may name an address is the sign-in's matter
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_WORDS + 1,
    )


async def _serve(
    app: FastAPI, config: uvicorn.Config, listener: socket.socket, tell: Callable[[], None]
) -> None:
    from llmkeep.models.caches import aclose

    try:
        async with app.router.lifespan_context(app):
            server = Server(config, tell)
            service: Service = app.state.service
            service.drop_connection = server.drop
            await _warn_of_model(service)
            with _on_signals(Ending(service, server)):
                await server.serve([listener])
    finally:
        await aclose(_CLOSE)  # last of all: runs have leased models until here


async def _warn_of_model(service: Service) -> None:
    """Say at once what the first message would be told; the page and all else work without it."""
    try:
        await service.handlers.check()
    except Exception as error:
        print(f"llmkeep: there is no model to talk with: {one_line(error)}", file=sys.stderr)


@final
class Ending:
    """What signals do: the first drains and ends in order, the second ends at once."""

    def __init__(self, service: Service, server: Server) -> None:
        self._service: Final = service
        self._server: Final = server
        self._draining: asyncio.Task[None] | None = None

    def __call__(self, number: int) -> None:
        """A signal has come."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="drain")
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    async def _drain(self) -> None:
        self._service.begin_drain()
        try:
            _say("ending; runs under way get a moment")
            await self._service.runs.drain(self._service.settings.drain_seconds)
        finally:
            self._server.should_exit = True


@contextlib.contextmanager
def _on_signals(act: Callable[[int], None]) -> Iterator[None]:
    """Have signals call `act` on the loop, and afterwards do what they did."""
    loop = asyncio.get_running_loop()

    def handle(number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(act, number)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@final
class Server(uvicorn.Server):
    """Uvicorn's, with signals left to us, and connections that can be dropped."""

    def __init__(
        self, config: uvicorn.Config, tell: Callable[[], None], *, last_words: float = _LAST_WORDS
    ) -> None:
        super().__init__(config)
        self._tell: Final = tell
        self._last_words: Final = last_words

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Who does not read keeps nobody waiting.
        late = asyncio.get_running_loop().call_later(self._last_words, self._drop_all)
        try:
            await super().shutdown(sockets)
        finally:
            late.cancel()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def drop(self, client: Any) -> bool:
        """Close the connection of this client at once, whatever is still to be sent."""
        for connection in list(self.server_state.connections):
            if client is not None and getattr(connection, "client", None) == client:
                connection.transport.abort()
                return True
        return False

    def _drop_all(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _tell(picked: Pick | None, listener: socket.socket) -> None:
    from llmkeep.service.api.page import is_built

    chosen = settings.service
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    if picked is None:
        models = f"models {', '.join(chosen.models)}"
    else:
        models = " ".join(filter(None, [f"model {picked.model}", picked.reason]))
    lines = [
        models,
        f"data in {chosen.folder()}",
        "with its page" if is_built() else "no page here: `make serve` in a checkout builds it",
        f"http://{host}:{port}",
    ]
    if picked is not None and picked.is_demonstration:
        print(DEMONSTRATION, file=sys.stderr)
    for line in lines:
        _say(line)


def _say(line: str) -> None:
    """Tell whoever has started it; that nobody reads any more is no reason to end."""
    with contextlib.suppress(OSError, ValueError):
        print(f"llmkeep: {line}", flush=True)
