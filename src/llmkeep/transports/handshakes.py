"""Sees the connections that a pool opens, and closes that of a TLS handshake that is cancelled.

httpcore (1.0.9, and httpcore2 2.16.2) closes it for an `Exception`, which a cancellation is not;
the socket then stays open until the server gives up. httpcore's `trace` extension is the public
way to see the connection. Not here: anything after the connection stands.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

Event = dict[str, Any]


class Handshake:
    """Looks on while one request gets its connection; lives until the request is sent.

    `extensions` are what the request is to be sent with. A trace of the user's own sees every
    event as before. `opened` is told of each connection, and once more when it speaks TLS.
    """

    def __init__(
        self,
        extensions: Event,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], object],
        opened: Callable[[Any], object],
    ) -> None:
        self._others: Any = extensions.get("trace")
        self._spawn = spawn
        self._opened = opened
        self._connection: Any = None
        self.extensions = {**extensions, "trace": self}

    async def __call__(self, name: str, info: Event) -> None:
        """One event of httpcore's."""
        if name.endswith(("connect_tcp.complete", "connect_unix_socket.complete")):
            self._connection = info["return_value"]
            self._opened(self._connection)
        elif name.endswith("start_tls.complete"):
            self._opened(info["return_value"])
        elif name.endswith("start_tls.failed") and self._connection is not None:
            self._spawn(self._connection.aclose)
        elif name.endswith("send_request_headers.started") and not _is_tunnel(info):
            self._look_away()
        if self._others is not None:
            await self._others(name, info)

    def _look_away(self) -> None:
        # httpcore looks the trace up for each event: the rest of the request goes without.
        self.extensions.pop("trace", None)
        if self._others is not None:
            self.extensions["trace"] = self._others


def _is_tunnel(info: Event) -> bool:
    """Whether these are the headers for a proxy, with the handshake still to come."""
    return getattr(info.get("request"), "method", None) == b"CONNECT"
