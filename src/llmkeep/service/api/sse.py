"""Server-sent events: how a run's frames get to one reader, and when that is given up.

Lines end in LF. A reader that is quiet gets a comment now and then, since proxies cut connections
that are silent; one that does not read is dropped. What is sent is decided by `runs`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, final

import anyio
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmkeep.service.records import Frame

#: Seconds after which a quiet reader gets a comment, and that it has to take it.
HEARTBEAT: Final = 10.0
PATIENCE: Final = 20.0

#: About how much is handed to the server at once: what it holds for a slow reader is not bounded
#: by its own limit alone.
CHUNK: Final = 64 * 1024

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}

_logger: Final = logging.getLogger(__name__)

Batches = AbstractAsyncContextManager[AsyncIterable[Iterable[bytes]]]


def encoded(frames: Iterable[Frame]) -> Iterator[bytes]:
    """Each frame as an event, made when it is sent."""
    return (format_sse_event(data_str=each.data, id=str(each.number)) for each in frames)


@final
class EventStream(Response):
    """An answer that goes on as long as its events do, or its reader.

    The events are entered first of all and left last, outside of any cancellation: whoever counts
    readers learns of each that came and of each that went. Disconnects are listened for whatever
    the server's version of ASGI is, so they are noticed where nothing is being sent, too.

    Args:
        batches: encoded events, some at a time.
        drop: closes the connection of a client at once; gives whether it could.
        heartbeat: seconds without anything sent after which there is a comment.
        patience: seconds that a comment may wait to be sent, behind what comes before it; then the
            reader is dropped.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        batches: Batches,
        *,
        drop: Callable[[Any], bool] = lambda _client: False,
        heartbeat: float = HEARTBEAT,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]  # nobody knows
        self._batches: Final = batches
        self._drop: Final = drop
        self._heartbeat: Final = heartbeat
        self._patience: Final = patience
        self._sending = anyio.Lock(fast_acquire=True)
        #: When something was last begun to be sent, or came to its end.
        self._moved = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        async with self._batches as batches, anyio.create_task_group() as tasks:
            self._moved = anyio.current_time()
            tasks.start_soon(_until_disconnect, receive, tasks.cancel_scope)
            tasks.start_soon(self._watch, scope, send, tasks.cancel_scope)
            try:
                await self._send_all(send, batches)
            except OSError:
                pass  # ASGI 2.4: the client has gone
            tasks.cancel_scope.cancel()

    async def _send_all(self, send: Send, batches: AsyncIterable[Iterable[bytes]]) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        await self._send(send, KEEPALIVE_COMMENT)  # so that the client knows it is answered
        async for batch in batches:
            for chunk in _chunks(batch):
                await self._send(send, chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, chunk: bytes) -> None:
        async with self._sending:
            self._moved = anyio.current_time()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self._moved = anyio.current_time()

    async def _watch(self, scope: Scope, send: Send, scope_of_all: anyio.CancelScope) -> None:
        """Send comments while it is quiet, and give up on a reader that takes nothing."""
        while True:
            if (wait := self._moved + self._heartbeat - anyio.current_time()) > 0:
                await anyio.sleep(wait)
            elif not await self._ping(send):
                _logger.info("a reader was dropped that does not read")
                if not self._drop(scope.get("client")):
                    scope_of_all.cancel()
                return

    async def _ping(self, send: Send) -> bool:
        """Whether a comment could be sent."""
        with anyio.move_on_after(self._patience) as within:
            try:
                await self._send(send, KEEPALIVE_COMMENT)
            except OSError:
                pass  # gone: said by the other tasks too
        return not within.cancelled_caught


async def _until_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _chunks(batch: Iterable[bytes]) -> Iterable[bytes]:
    """The events of a batch in as few pieces as are not large."""
    pieces: list[bytes] = []
    size = 0
    for event in batch:
        pieces.append(event)
        size += len(event)
        if size >= CHUNK:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)
