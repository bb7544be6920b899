"""Who reads a run harms neither it nor another reader."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from tests.support.scripted import Scripted
from tests.support.scripted_wire import Gate, Text
from tests.support.service import Service
from tests.support.service_client import Client, new_id, run_input, text_of
from tests.support.service_load import connected, megabytes, silent_reader


async def test_a_reader_that_does_not_read_holds_up_nobody(
    client: Client, service: Service, provider: Scripted
):
    """The run goes on, the others miss nothing, and little is held for it.

    That it is dropped in the end takes half a minute: `streams` looks at that.
    """
    piece = "x" * 50_000
    gate = Gate()
    provider.say(gate, *(Text(piece) for _ in range(100)))  # 5 MB: more than a socket holds
    body = run_input(new_id("t"), "much", forwardedProps={"on_disconnect": "continue"})
    async with client.post(body) as stream:
        before = await stream.until("CUSTOM")
        await gate.reached.come()
        with ExitStack() as stack:
            for _ in range(40):
                silent = stack.enter_context(silent_reader(service, body))
                assert silent.recv(16).startswith(b"HTTP/1.1 200")  # it is answered, and waits
            held = megabytes(service.pid)
            gate.opened.set()
            told = before + await stream.rest()
            held = megabytes(service.pid) - held

    assert len(text_of(told)) == 100 * len(piece)
    assert held < 40 * 5  # megabytes: less than the answer for each of them


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
    with connected(service, "POST", "/api/agent", body):
        await gate.reached.come()

    await provider.asked[0].dropped.come()
    async with asyncio.timeout(10):
        assert (await client.replay(body["threadId"], body["runId"]))[-1].is_terminal
