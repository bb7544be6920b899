"""Each request, when it is over: a line in the log, and two metrics.

Said are the method, the route's template (`/api/threads/{thread_id}`), the status, how long it
took and the user: no address with its ids and query. A stream is over when its last byte is sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from .metrics import Metrics

logger = logging.getLogger("llmkeep.service.requests")

#: What has no route: a file of the page, or nothing.
NO_ROUTE: Final = "(none)"

#: What machines ask for every few seconds, and the page's files: their lines would hide the others.
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics", NO_ROUTE})

_USER: Final = "llmkeep.user"


def tell_user(scope: Scope, user: str) -> None:
    """Whose request it is: for its line, and for all that is logged on the way to it."""
    scope[_USER] = user
    bind_contextvars(user=user)


def add_observability(app: FastAPI, metrics: Metrics) -> None:
    """Watch the requests of the application; add it last, so that it stands before all else."""
    app.add_middleware(Watched, metrics=metrics)


class Watched:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app: Final = app
        self._metrics: Final = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0  # none was sent

        def sending(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            status = status or 500  # which is what the server answers
            raise
        finally:
            self._tell(scope, status, time.perf_counter() - began)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        method, route = scope["method"], route_of(scope)
        self._metrics.request(method, route, status, seconds)
        level = logging.DEBUG if route in _QUIET and status < 400 else logging.INFO
        if logger.isEnabledFor(level):
            told: dict[str, Any] = {
                "method": method,
                "route": route,
                "status": status,
                "seconds": round(seconds, 4),
            }
            if (user := scope.get(_USER)) is not None:
                told["user"] = user
            logger.log(level, "request", extra=told)


def route_of(scope: Scope) -> str:
    """The template of the route that answered."""
    return getattr(scope.get("route"), "path", "") or NO_ROUTE
