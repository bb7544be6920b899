"""Requests, as a way to sign in sees them."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from llmkeep.service.errors import Unauthorized
from llmkeep.service.users import SignIn


def connection(
    *headers: tuple[str, str], peer: str | None = "127.0.0.1", server: str = "127.0.0.1"
) -> HTTPConnection:
    """A request with these headers, from this address to that one."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    client = None if peer is None else (peer, 50000)
    scope: dict[str, Any] = {"type": "http", "headers": raw, "client": client}
    return HTTPConnection({**scope, "server": (server, 8000), "path": "/", "method": "GET"})


def bearer(token: str, **more: Any) -> HTTPConnection:
    """One with a bearer token."""
    return connection(("Authorization", f"Bearer {token}"), **more)


async def refusal(sign_in: SignIn, request: HTTPConnection) -> Unauthorized:
    """Why it signs nobody in; the refusal challenges the client and repeats nothing."""
    with pytest.raises(Unauthorized) as refused:
        await sign_in.user_of(request)
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer ")
    for value in request.headers.getlist("authorization"):
        sent = value.rpartition(" ")[2]
        assert len(sent) < 8 or sent not in refused.value.detail
    return refused.value
