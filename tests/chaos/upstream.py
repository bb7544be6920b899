"""A provider that fails in every way a network and a provider can, by plan.

    python -m tests.chaos.upstream SEED [steady]    prints its port, serves until its input ends

A process of its own: a child forked by the tests must not hold its sockets. It listens on
loopback, and plays to each attempt of a request the fault that `plan` says; unless it is to be
steady it closes its listener for a moment now and then, so that connections are refused. The
streamed formats and the error bodies are llmock's, an independent project; what it cannot do is on
the socket: resets, lengths that are no numbers, silence, connections that close as they are used
again. (It speaks through an ASGI server, which has no way to do that; Toxiproxy, which has some, is
no Python package, and knows bytes but neither chunks nor requests.) `GET /journal` tells what came.

Not here: anything that is not streamed; TLS; HTTP/2.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator

from llmock.completion import Completion
from llmock.simulation import build_error_response
from llmock.streaming import anthropic_events, openai_chat_chunks, sse

from tests.chaos.plan import MARK, RETRY_AFTER, STALL, Fault, answer, chance, fault_of

#: Seconds: how long the listener stays open, and closed.
OPEN, CLOSED = 0.4, 0.03

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class _Gone(Exception):
    """The connection is finished."""


class Upstream:
    """The server; lives as long as its process."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        #: For each request's number, its attempts: the fault, when it came, when it was answered.
        self.attempts: dict[int, list[list[str | float]]] = {}
        #: Who speaks: "sync", "async", or "new" before the first request.
        self.connections: dict[asyncio.Task[None], str] = {}

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        task = _this_task()
        self.connections[task] = "new"
        cut = False
        try:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                head, body = await _request(reader)
                path = head.split(b" ", 2)[1]
                if path == b"/journal":
                    await self._tell(writer)
                    continue
                # Both SDKs say which kind of client they are.
                is_async = b"\r\nx-stainless-async: async" in head.lower()
                self.connections[task] = "async" if is_async else "sync"
                cut = await self._play(path, body, writer, cut=cut)
        except (_Gone, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the process ends
        finally:
            writer.close()
            del self.connections[task]

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        others = [kind for task, kind in self.connections.items() if task is not _this_task()]
        journal = {"attempts": self.attempts, "connections": others}
        body = json.dumps(journal).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()

    async def _play(
        self, path: bytes, body: bytes, writer: asyncio.StreamWriter, *, cut: bool
    ) -> bool:
        """Answer, or not; whether the next request on this connection is to be cut."""
        mark = MARK.search(body)
        assert mark is not None, body
        number = int(mark[1])
        attempts = self.attempts.setdefault(number, [])
        before = sum(name != Fault.CUT.name for name, *_ in attempts)
        fault = Fault.CUT if cut else fault_of(self.seed, number, before + 1)
        attempt: list[str | float] = [fault.name, time.monotonic(), 0.0]
        attempts.append(attempt)
        draw = chance(self.seed, "play", number, len(attempts))
        match fault:
            case Fault.TOO_MANY | Fault.FAILED:
                attempt[2] = time.monotonic()
                writer.write(_refusal(path, 429 if fault is Fault.TOO_MANY else 500))
            case Fault.RESET_BEFORE | Fault.CUT:
                _reset(writer)
            case Fault.CLOSED_BEFORE:
                raise _Gone
            case _:
                async for part in _parts(path, number, fault, draw.randint(3, 6)):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(draw.choice((0, 0.001, 0.01)))
                if fault is Fault.RESET_AMID:
                    _reset(writer)
                if fault is Fault.CLOSED_AFTER:
                    await asyncio.sleep(draw.choice((0, 0.001, 0.005)))
                if fault in (Fault.CLOSED_AFTER, Fault.CLOSED_AMID, Fault.BROKEN_CHUNK):
                    raise _Gone
        await writer.drain()
        return fault is Fault.CUT_AT_REUSE


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    return head, await reader.readexactly(length)


def _reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)  # close at once, and tell so by a reset
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    raise _Gone


def _refusal(path: bytes, status: int) -> bytes:
    response = build_error_response(_llmock_path(path), status, retry_after=RETRY_AFTER)
    head = b"HTTP/1.1 %d Refused\r\n" % status
    for name, value in response.raw_headers:
        head += b"%b: %b\r\n" % (name, value)
    return head + b"\r\n" + bytes(response.body)


def _llmock_path(path: bytes) -> str:
    return ("/anthropic" if path.endswith(b"/messages") else "") + path.decode()


def _events(path: bytes, number: int) -> Iterator[bytes]:
    said = Completion(answer(number), (), "stop", 5, 9)
    if path.endswith(b"/messages"):
        return anthropic_events(said, message_id=f"msg_{number}", model="chaos")
    return openai_chat_chunks(said, completion_id=f"chatcmpl-{number}", model="chaos")


def _failure(path: bytes) -> bytes:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    if path.endswith(b"/messages"):
        return sse({"type": "error", "error": error}, event="error")
    return sse({"error": error})


async def _parts(path: bytes, number: int, fault: Fault, middle: int) -> AsyncIterator[bytes]:
    """What goes over the socket, up to where the fault ends it."""
    if fault is Fault.STALL_BEFORE:
        await asyncio.sleep(STALL)
    yield _HEAD
    if fault is Fault.SHREDDED:
        whole = b"".join(map(_chunk, _events(path, number))) + b"0\r\n\r\n"
        for start in range(0, len(whole), 53):
            yield whole[start : start + 53]
        return
    for index, event in enumerate(_events(path, number)):
        if index == middle:
            match fault:
                case Fault.STALL_AMID:
                    await asyncio.sleep(STALL)
                case Fault.RESET_AMID | Fault.CLOSED_AMID:
                    return
                case Fault.BROKEN_CHUNK:
                    yield b"length\r\n"
                    return
                case Fault.ENDS_EARLY:
                    break
                case Fault.BROKEN_EVENT:
                    yield _chunk(event[:-5] + b"\n\n")
                case Fault.SAYS_FAILURE:
                    yield _chunk(_failure(path))
        yield _chunk(event)
    yield b"0\r\n\r\n"


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


async def _serve(seed: int, *, refuses: bool) -> None:
    upstream = Upstream(seed)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    port = 0
    while not ended.done():
        # Its socket is made each time: only a closed listener refuses.
        server = await asyncio.start_server(
            upstream.connected, "127.0.0.1", port, backlog=512, reuse_address=True
        )
        if not port:
            port = server.sockets[0].getsockname()[1]
            print(port, flush=True)
        await asyncio.wait([ended], timeout=OPEN if refuses else None)
        server.close()
        await asyncio.wait([ended], timeout=CLOSED)
    for connection in list(upstream.connections):
        connection.cancel()
        await connection


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), refuses="steady" not in sys.argv))
