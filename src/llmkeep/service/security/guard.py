"""The guard: an ASGI middleware before the whole application.

Refused are a foreign `Host` or `Origin`, a body that is not JSON or too large; every answer gets
the headers that keep a browser strict. Not here: who asks (`users`), and what is asked.

It costs a stream nothing but a look at each message's type: nothing is awaited in between.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmkeep.service.api.problems import problem_response
from llmkeep.service.errors import Invalid, ServiceError
from llmkeep.settings import ServiceSettings

from . import bodies
from .places import Hosts, Origins, foreign

#: Nothing but the service's own files; `data:` is how a page draws small pictures of its own.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

_HEADERS: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_OWN_PAGES_ALONE: Final = (b"cross-origin-resource-policy", b"same-origin")
_NO_STORE: Final = (b"cache-control", b"no-store")

_RawHeaders = tuple[tuple[bytes, bytes], ...]


def add_security(app: FastAPI, settings: ServiceSettings) -> None:
    """Put the guard before the application; middleware added later stands before it."""
    app.add_middleware(Guard, settings=settings)


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings) -> None:
        self._app: Final = app
        self._settings: Final = settings
        self._hosts: Final = Hosts(settings)
        self._origins: Final = Origins(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # a websocket: there are none
        headers = Headers(scope=scope)
        further: _RawHeaders = (_OWN_PAGES_ALONE,)
        try:
            host = _host(headers)
            self._hosts.check(host)
            if origin := self._origin(scope, headers, host):
                further = _cross_origin(origin)
                if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                    await _preflight(headers)(scope, receive, _adding(further, scope, send))
                    return
            if scope["method"] not in bodies.BODYLESS or bodies.is_announced(headers):
                body = await bodies.read(headers, receive, self._settings.max_body_bytes)
                receive = bodies.replayed(body, receive)
        except bodies.Gone:
            return
        except ServiceError as error:
            response = problem_response(error)
            response.headers["connection"] = "close"  # what is left of its body is not read
            await response(scope, receive, _adding(further, scope, send))
            return
        await self._app(scope, receive, _adding(further, scope, send))

    def _origin(self, scope: Scope, headers: Headers, host: str) -> str | None:
        """The named foreign page that asks, if it is one; raises Forbidden for any other."""
        origins = headers.getlist("origin")
        if len(origins) > 1:
            raise foreign()
        if origins:
            return origins[0] if self._origins.check(origins[0], host) else None
        # Without an Origin come a page's pictures and scripts, which are not for reading, but may
        # do something; and links to us, which may be followed.
        site = headers.get("sec-fetch-site", "none")
        is_from_elsewhere = site not in ("none", "same-origin")
        is_link = headers.get("sec-fetch-mode") == "navigate"
        if is_from_elsewhere and not is_link and _is_api(scope):
            raise foreign()
        return None


def _is_api(scope: Scope) -> bool:
    """Also where the application is served under a prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).startswith("/api/")


def _host(headers: Headers) -> str:
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not hosts[0]:
        raise Invalid("a request has one Host header", code="invalid_host")
    return hosts[0]


def _cross_origin(origin: str) -> _RawHeaders:
    """What lets a named page read the answer."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"Retry-After, Content-Disposition"),
        (b"vary", b"Origin"),
        (b"cross-origin-resource-policy", b"cross-origin"),
    )


def _preflight(headers: Headers) -> Response:
    """The answer to the browser's question what that page may send."""
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
            "Access-Control-Max-Age": "600",
        },
    )


def _adding(further: _RawHeaders, scope: Scope, send: Send) -> Send:
    """`send`, with our headers at the beginning of the answer."""
    is_api = _is_api(scope)

    def adding(message: Message) -> Awaitable[None]:
        # No coroutine function: of a stream's messages each would be one more to run.
        if message["type"] == "http.response.start":
            headers = message["headers"] = [*message.get("headers", ()), *_HEADERS, *further]
            if is_api and not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append(_NO_STORE)
        return send(message)

    return adding
