"""The provider that is asked: the tests' stand-in, which also counts every prompt and waits.

A prompt that contains `hold` is answered up to its first piece, one that contains `late` not at
all, until somebody asks for `/control/release`. Everything is there a second time, under `/other`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from tests.support.standin import StandIn

_Send = Callable[[Any], Awaitable[None]]

#: The path of the second endpoint.
OTHER: Final = "/other"


class Received(NamedTuple):
    """One request: what it asked, with which key, over which connection."""

    prompt: str
    key: str
    client_port: int
    path: str
    #: How many messages of its user the conversation had.
    turns: int


class Upstream(StandIn):
    """A provider behind TLS."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Received] = []
        self._gate = asyncio.Event()
        self._waiting = 0

    def start_over(self) -> None:
        """Forget what was received; let go whoever is still held."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._gate.set)
        self.received = []
        self.reset()

    def times(self) -> Counter[str]:
        """How often each prompt was received."""
        return Counter(each.prompt for each in self.received)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._other(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        seen = _received(scope, body)
        self.received.append(seen)
        if "late" in seen.prompt:
            await self._wait()
        sender = self._held(send) if "hold" in seen.prompt else send
        inner = {**scope, "path": scope["path"].removeprefix(OTHER)}
        await super()._application(inner, _replay(body, receive), sender)

    async def _other(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if not path.startswith("/control/"):
            await super()._application(scope, receive, send)
            return
        if path == "/control/release":
            self._gate.set()
        elif path == "/control/hold":
            self._gate.clear()
        answer = {
            "waiting": self._waiting,
            "received": [each._asdict() for each in self.received],
        }
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def _held(self, send: _Send) -> _Send:
        pieces = 0

        async def held(message: Any) -> None:
            nonlocal pieces
            if message["type"] == "http.response.body" and message.get("body"):
                pieces += 1
                if pieces == 2:
                    await self._wait()
            await send(message)

        return held

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            await self._gate.wait()
        finally:
            self._waiting -= 1


class Address:
    """The upstream as the process of a scenario sees it."""

    def __init__(self, url: str, authority: str) -> None:
        self.url, self.authority = url, authority
        self.port = int(url.rpartition(":")[2])
        self._context: ssl.SSLContext | None = None

    @property
    def trust(self) -> ssl.SSLContext:
        """The context that scenarios' own clients share."""
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self.authority)
        return self._context

    def base_url(self, provider: str, prefix: str = "") -> str:
        """What an SDK takes as its base address."""
        return self.url + prefix + {"openai": "/v1", "anthropic": "/anthropic"}[provider]

    def control(self, what: str) -> Any:
        """Tell the upstream something; what it says."""
        address = f"{self.url}/control/{what}"
        with urllib.request.urlopen(address, context=self.trust, timeout=20) as answer:
            return json.load(answer)


def _received(scope: Any, body: bytes) -> Received:
    headers = dict(scope["headers"])
    key = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    try:
        users = [each for each in json.loads(body)["messages"] if each["role"] == "user"]
        said = users[-1]["content"]
    except (ValueError, KeyError, IndexError):
        users, said = [], "?"
    prompt = said if isinstance(said, str) else said[-1].get("text", "?")
    port = (scope["client"] or ("", 0))[1]
    return Received(prompt, key.decode(), port, scope["path"], len(users))


def _replay(body: bytes, receive: Any) -> Any:
    told = False

    async def again() -> Any:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
