"""Server-sent events: bytes, comments, and how a reader leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from llmkeep.service.api.sse import CHUNK, EventStream, encoded
from llmkeep.service.records import Frame
from tests.service.api.serving import address_of, connect, served
from tests.support.scripted_signal import PATIENCE

PING = b": ping\n\n"


class Source:
    """Batches for one reader, as a test lets them go, and what became of the reader."""

    def __init__(self, *batches: Sequence[bytes], forever: bool = False) -> None:
        self._batches = batches
        self._forever = forever
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.was_cancelled_in_leaving = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[Iterable[bytes]]]:
        self.entered.set()
        try:
            yield self._each()
        finally:
            try:
                await anyio.sleep(0)
            except asyncio.CancelledError:
                self.was_cancelled_in_leaving = True
            self.left.set()

    async def _each(self) -> AsyncIterator[Iterable[bytes]]:
        for batch in self._batches:
            yield batch
        if self._forever:
            await asyncio.Event().wait()


class Exchange:
    """One request as an ASGI server hands it on, of any version."""

    def __init__(self, version: str = "2.3") -> None:
        self.scope = {"type": "http", "asgi": {"spec_version": version}, "client": ("there", 1)}
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()

    @property
    def bodies(self) -> list[bytes]:
        return [each["body"] for each in self.sent if each["type"] == "http.response.body"]

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.gone.is_set():
            raise OSError("gone")
        self.sent.append(message)

    async def answer(self, stream: EventStream) -> None:
        await asyncio.wait_for(stream(self.scope, self.receive, self.send), PATIENCE)


def frames(*numbers: int) -> list[bytes]:
    return list(encoded([Frame(number, f'{{"n":{number}}}') for number in numbers]))


async def test_events_end_in_line_feeds_and_have_their_number() -> None:
    """What is on the wire is a comment at once, then each event with its id, in LF alone."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await EventStream(Source(frames(1, 2)).open())(scope, receive, send)

    async with served(app) as server, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(address_of(server))
    assert answer.content == (PING + b'data: {"n":1}\nid: 1\n\n' + b'data: {"n":2}\nid: 2\n\n')
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"


async def test_a_batch_is_one_piece() -> None:
    """The events of one batch are handed to the server together, whatever their number."""
    exchange = Exchange()
    await exchange.answer(EventStream(Source(frames(1, 2, 3), frames(4)).open()))
    assert exchange.bodies == [PING, b"".join(frames(1, 2, 3)), *frames(4), b""]


async def test_a_large_batch_is_parted() -> None:
    """No piece is much larger than a chunk, so that what waits for a slow reader is bounded."""
    exchange = Exchange()
    batch = [b"x" * (CHUNK // 2)] * 9
    await exchange.answer(EventStream(Source(batch).open()))
    assert max(map(len, exchange.bodies)) <= CHUNK + CHUNK // 2
    assert b"".join(exchange.bodies) == PING + b"".join(batch)


async def test_a_quiet_stream_has_comments() -> None:
    """Where no event comes, comments do."""
    exchange = Exchange()
    source = Source(frames(1), forever=True)
    answering = asyncio.create_task(exchange.answer(EventStream(source.open(), heartbeat=0.01)))
    while len(exchange.bodies) < 5:
        await asyncio.sleep(0.001)
    exchange.gone.set()
    await answering
    assert exchange.bodies[:5] == [PING, *frames(1), PING, PING, PING]


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_a_disconnect_is_noticed_where_nothing_is_sent(version: str) -> None:
    """A reader that goes is left at once, whatever ASGI the server speaks, and undisturbed."""
    exchange = Exchange(version)
    source = Source(frames(1), forever=True)
    answering = asyncio.create_task(exchange.answer(EventStream(source.open())))
    await source.entered.wait()
    exchange.gone.set()
    await answering
    assert source.left.is_set()
    assert not source.was_cancelled_in_leaving


async def test_who_was_gone_before_the_answer_began_is_left_too() -> None:
    """The reader is entered and left, so that whoever counts readers learns of it."""
    exchange = Exchange()
    exchange.gone.set()
    source = Source(forever=True)
    await exchange.answer(EventStream(source.open()))
    assert source.entered.is_set()
    assert source.left.is_set()


async def test_a_reader_that_takes_nothing_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """It is dropped when its patience ends; nothing is said of a failure, and its socket closes."""
    source = Source(*[[b"x" * CHUNK]] * 1000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        stream = EventStream(source.open(), drop=server.drop, heartbeat=0.01, patience=0.05)
        await stream(scope, receive, send)

    caplog.set_level(logging.INFO)
    async with served(app) as server:
        _reader, writer = await connect(server)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await asyncio.wait_for(source.left.wait(), PATIENCE)
        assert not server.server_state.connections
        writer.transport.abort()
    assert [each.levelname for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_a_server_without_dropping_is_left_all_the_same() -> None:
    """Where the connection cannot be closed from here, the stream ends without its end."""

    class Stuck(Exchange):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if len(self.sent) > 2:
                await asyncio.Event().wait()

    exchange, source = Stuck(), Source(frames(1), frames(2), forever=True)
    await exchange.answer(EventStream(source.open(), heartbeat=0.01, patience=0.02))
    assert source.left.is_set()
