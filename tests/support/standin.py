"""A stand-in for OpenAI and Anthropic on a real loopback socket, behind TLS, that counts.

The wire formats and the faults (`standin.llm.stall()`, `.fail()`, `.reply()`, ...) are llmock's, an
independent project; uvicorn serves it, or Hypercorn where HTTP/2 is wanted. What is ours: TLS, the
counts of requests and connections, and two plain routes:

- `GET /plain` answers `{"plain": true}`;
- `GET /drip` sends one chunk, then nothing until the client goes away or `release()` is called.

    with StandIn() as standin:
        OpenAI(base_url=standin.base_url("openai"), http_client=Client(verify=standin.trust()))
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from anyio import to_thread
from llmock.chaos import ChaosSettings
from llmock.pytest_plugin import LLMock
from llmock.testing import BASE_PATHS, LLMockServer

from tests.support.certificates import certificates

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

_PATIENCE = 30.0


class SeenRequest(NamedTuple):
    """One request as the server saw it; `client_port` tells its connection."""

    method: str
    path: str
    http_version: str
    client_port: int


class StandIn:
    """The server, on a thread and a loop of its own; lives as long as its `with` block."""

    def __init__(self, *, tls: bool = True, http2: bool = False) -> None:
        self._tls, self._http2 = tls, http2
        # Never started: we serve its application ourselves, because it knows no TLS.
        self._llmock = LLMockServer(chaos=ChaosSettings())
        #: llmock's handle: scripted answers, faults, and the journal of requests with their bodies.
        self.llm = LLMock(self._llmock)
        self.requests: list[SeenRequest] = []
        self.gone = threading.Semaphore(0)  # released once for every client that left /drip
        self._released = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._shutdown: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="stand-in", daemon=True)
        self._started = threading.Event()
        self.port = 0

    # --- where it is ---

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def base_url(self, provider: str = "openai") -> str:
        """What a provider's SDK takes as its base address."""
        return self.url + BASE_PATHS[provider]

    @property
    def authority(self) -> Path:
        """The file that `SSL_CERT_FILE` may name."""
        return certificates().authority

    def trust(self) -> ssl.SSLContext:
        """A new client context that trusts this server."""
        return certificates().client_context()

    # --- what it saw ---

    @property
    def connections(self) -> int:
        """How many connections carried a request."""
        return len({request.client_port for request in self.requests})

    def reset(self) -> None:
        """Forget what was seen, scripted and released."""
        self._released.clear()
        self.requests.clear()
        self.llm.reset()

    def release(self) -> None:
        """Let every `/drip` end in order."""
        self._released.set()

    # --- its life ---

    def __enter__(self) -> Self:
        certificates()  # once, before two threads ask for them
        self._thread.start()
        assert self._started.wait(_PATIENCE), "the stand-in did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._shutdown is not None
        self.release()
        self._loop.call_soon_threadsafe(self._shutdown.set)
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive(), "the stand-in did not stop"

    def _run(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, asyncio.Runner() as runner:
            self.port = listener.getsockname()[1]
            runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        self._loop, self._shutdown = asyncio.get_running_loop(), asyncio.Event()
        # llmock answers on AnyIO's worker threads. One, and from the start: a test that finds more
        # threads after it than before has left some behind.
        to_thread.current_default_thread_limiter().total_tokens = 1
        await to_thread.run_sync(bool)
        await (self._serve_http2(listener) if self._http2 else self._serve_http1(listener))

    async def _serve_http1(self, listener: socket.socket) -> None:
        import uvicorn

        assert self._shutdown is not None
        context = certificates().server_context("http/1.1") if self._tls else None
        config = uvicorn.Config(
            self._application,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            timeout_graceful_shutdown=1,
            ssl_context_factory=None if context is None else (lambda *_: context),
        )
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        serving = asyncio.create_task(server.serve([listener]))
        self._started.set()  # the listener takes connections into its backlog already
        await self._shutdown.wait()
        server.should_exit = True
        await serving

    async def _serve_http2(self, listener: socket.socket) -> None:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        class Http2Config(Config):
            ssl_enabled = self._tls

            def create_ssl_context(self) -> ssl.SSLContext:
                return certificates().server_context("h2", "http/1.1")

        assert self._shutdown is not None
        config = Http2Config()
        config.bind = [f"fd://{os.dup(listener.fileno())}"]
        config.errorlog = None
        self._started.set()
        config.graceful_timeout = config.shutdown_timeout = 1
        await serve(self._application, config, shutdown_trigger=self._shutdown.wait)  # type: ignore[arg-type]

    # --- what it answers ---

    async def _application(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        client = scope["client"] or ("", 0)
        self.requests.append(
            SeenRequest(scope["method"], scope["path"], scope["http_version"], client[1])
        )
        if scope["path"] == "/plain":
            await _answer(send, b'{"plain": true}', more=False)
        elif scope["path"] == "/drip":
            await self._drip(receive, send)
        else:
            await self._llmock.app(scope, receive, send)

    async def _drip(self, receive: _Receive, send: _Send) -> None:
        await _answer(send, b"first", more=True)
        while not self._released.is_set():
            try:
                message = await asyncio.wait_for(receive(), 0.02)
            except TimeoutError:
                continue
            if message["type"] == "http.disconnect":
                self.gone.release()
                return
        await send({"type": "http.response.body", "body": b"last"})


async def _answer(send: _Send, body: bytes, *, more: bool) -> None:
    headers = [(b"content-type", b"application/json")]
    if not more:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})
