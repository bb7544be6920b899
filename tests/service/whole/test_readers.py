"""Who reads a run harms neither it nor another reader."""

from __future__ import annotations

import asyncio
import json
import socket

from tests.support.scripted import Scripted
from tests.support.scripted_wire import Gate, Text
from tests.support.service import Service
from tests.support.service_client import Client, new_id, run_input, text_of


async def test_a_reader_that_does_not_read_is_dropped(
    client: Client, service: Service, provider: Scripted
):
    """Its connection is closed while the run goes on, and the others miss nothing."""
    piece = "x" * 50_000
    gate = Gate()
    provider.say(gate, *(Text(piece) for _ in range(400)))  # 20 MB: no socket holds that
    body = run_input(new_id("t"), "much", forwardedProps={"on_disconnect": "continue"})
    async with client.post(body) as stream:
        before = await stream.until("CUSTOM")
        with _silent_reader(service, body["threadId"], body["runId"]) as silent:
            gate.opened.set()
            told = before + await stream.rest()
            assert len(text_of(told)) == 400 * len(piece)
            assert await asyncio.to_thread(_all_that_comes, silent) < 400 * len(piece)


async def test_the_run_goes_on_when_nobody_reads(client: Client, provider: Scripted):
    """With on_disconnect=continue it ends by itself, and can be read afterwards."""
    provider.say(Text("a"), gate := Gate(), Text("b"))
    body = run_input(new_id("t"), "go")
    async with client.post(body, on_disconnect="continue") as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
    gate.opened.set()

    assert text_of(await client.replay(body["threadId"], body["runId"])) == "ab"


async def test_the_run_is_cancelled_when_the_last_reader_leaves(client: Client, provider: Scripted):
    """With on_disconnect=cancel, the default; the provider's connection is gone, too."""
    provider.say(Text("a"), Gate())
    body = run_input(new_id("t"), "go")
    async with client.post(body) as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
        async with client.follow(body["threadId"], body["runId"]) as other:
            await other.until("TEXT_MESSAGE_CONTENT")

    await provider.asked[0].dropped.come()
    told = await client.replay(body["threadId"], body["runId"])
    assert told[-1].event["outcome"] == {"type": "cancelled"}


async def test_a_client_that_breaks_off_leaves_nothing(
    client: Client, service: Service, provider: Scripted
):
    """A connection that is reset in the middle ends the run like one that is closed."""
    provider.say(Text("a"), gate := Gate())
    body = run_input(new_id("t"), "go")
    with _connected(service, "POST", "/api/agent", body):
        await gate.reached.come()

    await provider.asked[0].dropped.come()
    async with asyncio.timeout(10):
        assert (await client.replay(body["threadId"], body["runId"]))[-1].is_terminal


def _silent_reader(service: Service, thread_id: str, run_id: str) -> socket.socket:
    """Asks for a run's events, and reads none."""
    return _connected(service, "GET", f"/api/threads/{thread_id}/runs/{run_id}/stream", None)


def _connected(service: Service, method: str, path: str, body: object) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", service.port))
    content = json.dumps(body).encode() if body else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def _all_that_comes(connection: socket.socket) -> int:
    """Bytes until the other side has closed it."""
    number = 0
    try:
        while found := connection.recv(2**20):
            number += len(found)
    except ConnectionError:
        pass
    return number
