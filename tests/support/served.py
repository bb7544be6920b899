"""An ASGI application behind a real socket, and requests to it byte by byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

import uvicorn

#: How long, in seconds, anything here may take; reached by a failure alone.
PATIENCE = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Served:
    """A server on a thread of its own; lives as long as the `with` block of `served`."""

    port: int

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def ask(self, *head: str, body: bytes = b"") -> Answer:
        """Send a request as it is written here, line by line, and read the answer."""
        with self.connect() as connection:
            connection.sendall(written(*head) + body)
            return answer_from(connection)

    def get(self, path: str = "/", **headers: str) -> Answer:
        """A request without a body, as a program on this machine sends it."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.ask(f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *lines)


def written(*head: str) -> bytes:
    """The head of a request."""
    return "".join(f"{line}\r\n" for line in [*head, "Connection: close", ""]).encode("latin-1")


def answer_from(connection: socket.socket) -> Answer:
    """The answer that comes over a connection."""
    response = HTTPResponse(connection)
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        response.close()


@contextlib.contextmanager
def served(application: Any) -> Iterator[Served]:
    """Serve it as `llmkeep serve` would, without its lifespan."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            application,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=[[listener]], name="served")
        thread.start()
        try:
            yield Served(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the server did not stop"
