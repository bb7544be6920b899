"""A provider that says, chunk by chunk, what a test has written down, and notices who leaves.

It speaks the streamed formats of OpenAI and Anthropic over plain HTTP on a real loopback socket,
and refuses with 400 the histories that they refuse. Not here: what a model would say, and anything
that is not streamed.

    with Scripted() as provider:
        provider.say(Text("Hel"), gate := Gate(), Text("lo"))
        ... # a client with base_url=provider.base_url("openai") has read "Hel"
        gate.opened.set()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import uvicorn

from tests.support.scripted_history import REFUSALS
from tests.support.scripted_signal import PATIENCE, Signal
from tests.support.scripted_wire import WIRES, Answer, Broken, Chunk, Gate, Step, Wire

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


@dataclass(frozen=True)
class _Raw:
    """An answer that is not to be put into a wire format."""

    chunks: tuple[Chunk, ...]


class Asked:
    """One request as the provider saw it."""

    def __init__(self, wire: Wire, body: dict[str, Any]) -> None:
        self.wire = wire
        self.body = body
        #: All that was to be sent was sent.
        self.completed = False
        #: The client went away before that.
        self.dropped = Signal()
        #: The one, the other, or a connection broken by us.
        self.over = Signal()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body["messages"])


class Scripted:
    """The server, on a thread and a loop of its own; lives as long as its `with` block.

    Args:
        keep_alive: connections may be used for another request. Without it nothing is left open
            here by a client that keeps its connections.
    """

    def __init__(self, *, keep_alive: bool = True) -> None:
        self.port = 0
        self._headers = [(b"content-type", b"text/event-stream")]
        if not keep_alive:
            self._headers.append((b"connection", b"close"))
        self.reset()
        self._loop: asyncio.AbstractEventLoop
        self._server: uvicorn.Server
        self._started = Signal()
        self._thread = threading.Thread(target=self._run, name="scripted", daemon=True)

    def base_url(self, name: str) -> str:
        """What the SDK of this provider takes as its base address."""
        return f"http://127.0.0.1:{self.port}{'/v1' if name == 'openai' else ''}"

    # --- what it is to say ---

    def reset(self) -> None:
        """Forget what was written down and what was seen."""
        self.asked: list[Asked] = []
        #: Why requests were refused, for a test to look at.
        self.refused: list[str] = []
        #: Gives the answer to a request where nothing was written down with `say`.
        self.answers: Callable[[Asked], Answer] | None = None
        #: Holds back even the first byte of every answer.
        self.silence: Gate | None = None
        self._next: deque[Answer | _Raw] = deque()

    def say(self, *answer: Step) -> None:
        """Write down the answer to the next request that nothing is written down for yet."""
        self._next.append(answer)

    def say_raw(self, *chunks: Chunk) -> None:
        """The same, chunk by chunk as it goes over the socket."""
        self._next.append(_Raw(chunks))

    # --- what it saw ---

    async def all_over(self) -> None:
        """Wait until no answer is being sent any more."""
        for asked in self.asked:
            await asked.over.come()

    # --- its life ---

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(setattr, self._server, "should_exit", True)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the scripted provider did not stop"

    def _run(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, asyncio.Runner() as runner:
            # Inherited by the connections: else each chunk waits for the client's delayed ACK.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.port = listener.getsockname()[1]
            runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._application,
                interface="asgi3",
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._started.set()  # the listener takes connections into its backlog already
        await self._server.serve([listener])

    # --- one request ---

    async def _application(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        wire = next(wire for wire in WIRES.values() if wire.path == scope["path"])
        body = await _whole_body(receive)
        if body is None:
            return
        asked = Asked(wire, json.loads(body))
        self.asked.append(asked)
        try:
            refusal = REFUSALS[wire.name](asked.body)
            if refusal is None:
                await self._stream(asked, scope, receive, send)
            else:
                self.refused.append(refusal)
                await _refuse(send, wire.refusal(refusal))
        finally:
            asked.over.set()

    async def _stream(self, asked: Asked, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Send the answer, as long as the client is there."""
        sending = asyncio.create_task(self._send(asked, scope, send))
        leaving = asyncio.create_task(_left(receive))
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            asked.dropped.set()
            sending.cancel()
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        with suppress(asyncio.CancelledError):
            await leaving

    async def _send(self, asked: Asked, scope: _Message, send: _Send) -> None:
        if self.silence is not None:
            await self._hold(self.silence)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": self._headers,
            }
        )
        for chunk in self._chunks_for(asked):
            match chunk:
                case Gate():
                    await self._hold(chunk)
                case Broken():
                    self._break(scope["client"], chunk)
                    return
                case _:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        asked.completed = True
        await send({"type": "http.response.body", "body": b""})

    async def _hold(self, gate: Gate) -> None:
        gate.reached.set()
        await gate.opened.come(2 * PATIENCE)

    def _chunks_for(self, asked: Asked) -> Iterable[Chunk]:
        if self._next:
            answer = self._next.popleft()
        else:
            assert self.answers is not None, "nothing is written down for this request"
            answer = self.answers(asked)
        return answer.chunks if isinstance(answer, _Raw) else asked.wire.chunks(answer)

    def _break(self, client: tuple[str, int], how: Broken) -> None:
        connections: Iterable[Any] = self._server.server_state.connections
        transport = next(each.transport for each in connections if each.client == client)
        if how is Broken.RESET:
            linger = struct.pack("ii", 1, 0)  # close at once, and tell so by a reset
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        transport.abort()


async def _whole_body(receive: _Receive) -> bytes | None:
    """None, if the client left in the middle of it."""
    parts: list[bytes] = []
    while (message := await receive())["type"] != "http.disconnect":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
    return None


async def _left(receive: _Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: _Send, payload: dict[str, Any]) -> None:
    body = json.dumps(payload).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
