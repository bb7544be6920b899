"""A request's body, read before the application runs: JSON alone, and no more than allowed.

The application gets it as one message, and after it what the server tells: that the client is
gone. So a body that is too large is refused in one place, whatever reads it, and while it comes.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from llmkeep.service.errors import TooLarge, TooSlow, UnsupportedMediaType

_JSON: Final = "application/json"

#: Seconds that a body may take to come: whoever sends it may be nobody we know.
TIMEOUT: Final = 30.0

#: Methods that need no body; any other may have one without saying so.
BODYLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Gone(Exception):
    """The client left before its request was whole."""


def is_announced(headers: Headers) -> bool:
    """Whether a body comes, by the headers."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


async def read(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The body, of at most `limit` bytes.

    Raises TooLarge, TooSlow, UnsupportedMediaType and Gone.
    """
    types = headers.getlist("content-type")
    is_json = len(types) == 1 and types[0].partition(";")[0].strip().lower() == _JSON
    if types and not is_json:
        raise _not_json()
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _gathered(receive, limit, is_json=is_json)
    except TimeoutError:
        raise TooSlow(
            f"the request did not come within {TIMEOUT:g} seconds: send it again",
            headers={"Connection": "close"},
        ) from None


async def _gathered(receive: Receive, limit: int, *, is_json: bool) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if size and not is_json:
            raise _not_json()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """What gives the body first, and then what `receive` gives."""
    is_first = True

    async def replay() -> Message:
        nonlocal is_first
        if is_first:
            is_first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"a request has at most {limit:,} bytes (SERVICE__MAX_BODY_BYTES): send less of the "
        "conversation, its newest message is enough"
    )


def _not_json() -> UnsupportedMediaType:
    return UnsupportedMediaType(f"send JSON, with the header Content-Type: {_JSON}")
