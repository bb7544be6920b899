"""A real proxy on the loopback: CONNECT for https, forwarding for http, with or without a password.

One thread per direction, and no more than the tests need.
"""

from __future__ import annotations

import base64
import socket
import threading
from contextlib import suppress
from typing import Self


class Proxy:
    """Lives as long as its `with` block."""

    def __init__(self, *, user: str | None = None, password: str | None = None) -> None:
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        header = f"proxy-authorization: basic {credentials}".lower().encode()
        self._wanted = header if user else None
        #: What was asked for: "CONNECT host:port" or "GET address".
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._sockets:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for opened in self._sockets:
            opened.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="proxy")  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (received := client.recv(4096)):
                return
            head += received
        method, target, *_ = head.decode("latin-1").split()
        self.asked.append(f"{method} {target}")
        if self._wanted and self._wanted not in head.lower():
            client.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            return
        address = target if method == "CONNECT" else target.split("/")[2]
        host, _, port = address.rpartition(":")
        server = socket.create_connection((host, int(port)))
        self._sockets.append(server)
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head)
        self._start(_pump, server, client)
        _pump(client, server)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
