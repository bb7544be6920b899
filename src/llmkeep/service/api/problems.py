"""Refusals as `application/problem+json` (RFC 9457), which say what to do and repeat nothing.

What is unexpected is logged where it can be found again, and told without a word of it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import pydantic_core
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmkeep.service.errors import Invalid, ServiceError

MEDIA_TYPE: Final = "application/problem+json"

_logger: Final = logging.getLogger("llmkeep.service")

_ABOUT: Final = "llmkeep.about"

#: What is said of an HTTP status that no route of ours has a better word for.
_DETAILS: Final[Mapping[int, str]] = {
    404: "there is nothing at this address: /api/openapi.json lists what there is",
    405: "this address takes other methods: see the header Allow",
}


def problem_response(error: ServiceError) -> Response:
    """A refusal as an answer."""
    return _response(
        error.status, error.title, error.detail, error.code, error.headers, error.extras
    )


def _response(
    status: int,
    title: str,
    detail: str,
    code: str,
    headers: Mapping[str, str] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Response:
    problem = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **(extras or {}),
    }
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(pydantic_core.to_json(problem), status, headers, MEDIA_TYPE)


def invalid(errors: Sequence[Any]) -> Invalid:
    """What pydantic found first, in its words alone: the place, what is expected, not what came."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "path"))
    kind = first["type"]
    code = kind if kind.startswith("invalid_") else "invalid_request"
    message = first["msg"][:1].lower() + first["msg"][1:]
    return Invalid(f"{place:.200}: {message}" if place else message, code=code)


def checked(error: ValidationError) -> Invalid:
    """The same, of an error of ours to raise."""
    return invalid(error.errors(include_url=False, include_context=False, include_input=False))


def add_problems(app: FastAPI) -> None:
    """Answer with a problem whatever goes wrong behind any route."""

    async def service_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        return problem_response(error)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        if status is HTTPStatus.BAD_REQUEST:  # FastAPI's word for bytes that are no text
            return problem_response(Invalid("the body is not JSON", code="invalid_json"))
        detail = _DETAILS.get(status, error.detail)
        headers = error.headers
        if status is HTTPStatus.METHOD_NOT_ALLOWED and (methods := _methods(request)):
            headers = {"Allow": ", ".join(methods)}
        title, code = status.phrase.capitalize(), status.name.lower()
        return _response(status, title, detail, code, headers)

    async def not_understood(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(invalid(error.errors()))

    app.add_exception_handler(ServiceError, service_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, not_understood)
    app.add_middleware(Unexpected)


def _methods(request: Request) -> list[str]:
    """All methods of the address; Starlette knows those of one of its routes."""
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


class Unexpected:
    """Ends what nobody foresaw: logged with its traceback, told without.

    Starlette's own handler raises again behind its answer, for a second traceback in the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app: Final = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and answer where that fails."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        def sending(message: Message) -> Awaitable[None]:
            # No coroutine function: of a stream's messages each would be one more to run.
            nonlocal has_started
            has_started = True
            return send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            _logger.exception("a request failed", extra=_about(scope))
            if not has_started:
                detail = "the server failed at this; its log says why. Try again"
                await _response(500, "Internal error", detail, "internal")(scope, receive, send)
            # Else the connection is closed in the middle, which a client takes for what it is.


def tell_run(request: Request, *, thread_id: str, run_id: str) -> None:
    """What a request is about, for the log; where its address does not say so."""
    request.scope[_ABOUT] = {"thread_id": thread_id, "run_id": run_id}


def _about(scope: Scope) -> dict[str, Any]:
    ids = scope.get(_ABOUT) or scope.get("path_params", {})
    return {
        "method": scope["method"],
        "thread_id": ids.get("thread_id"),
        "run_id": ids.get("run_id"),
    }
