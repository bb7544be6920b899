"""`/api/threads/{t}/runs`: answers read again, from anywhere, and stopped."""

from __future__ import annotations

import asyncio

from tests.service.api.application import Running, refusal
from tests.support.scripted import Scripted
from tests.support.scripted_signal import PATIENCE
from tests.support.scripted_wire import Gate, Text
from tests.support.service_client import Client, run_input, text_of


async def test_runs_are_listed(client: Client, scripted: Scripted) -> None:
    """Newest first, each as it is told alone."""
    for number in range(3):
        scripted.say(Text("Hello"))
        await client.ask("t", "hi", run_id=f"r{number}")
    runs = await client.runs("t")
    assert [each["run_id"] for each in runs] == ["r2", "r1", "r0"]
    assert runs[0] == await client.run("t", "r2")
    assert len((await client.json("GET", "/api/threads/t/runs?limit=2"))["runs"]) == 2
    assert (await refusal(client, "GET", "/api/threads/t/runs?limit=0"))[0] == 422


async def test_a_run_tells_what_it_was(client: Client, scripted: Scripted) -> None:
    """Its status, model, tokens, times and the number of its last event."""
    scripted.say(Text("Hello"))
    told = await client.ask("t", "hi", run_id="r")
    run = await client.run("t", "r")
    assert (run["status"], run["code"], run["error"]) == ("success", None, None)
    assert (run["model"], run["last_event_id"]) == ("openai:scripted", told[-1].number)
    assert run["usage"]["input_tokens"] == 10
    assert run["usage"]["output_tokens"] == 5
    assert run["created_at"] <= run["started_at"] <= run["ended_at"]
    assert run["interrupts"] == []
    assert await refusal(client, "GET", "/api/threads/t/runs/none") == (404, "not_found")


async def test_a_run_is_read_from_any_event_on(client: Client, scripted: Scripted) -> None:
    """From each number come exactly the events behind it, by header or by address."""
    scripted.say(Text("Hel"), Text("lo"))
    told = await client.ask("t", "hi", run_id="r")
    path = "/api/threads/t/runs/r/stream"
    for after in range(len(told) + 1):
        if after < len(told):
            assert await client.replay("t", "r", after) == told[after:]
        query = f"?last_event_id={after}&protocol_version=1.0"
        answer = await client.http.get(path + query, headers={"Last-Event-ID": "1"})
        assert answer.text.count("data: ") == len(told) - after
    for wrong in (
        "?last_event_id=-1",
        "?last_event_id=" + "9" * 30,
        "?last_event_id=x",
        "?protocol_version=" + "1" * 17,
    ):
        assert (await refusal(client, "GET", path + wrong))[0] == 422


async def test_an_event_that_was_never_told(client: Client, scripted: Scripted) -> None:
    """Who says to have more events than there are is refused, while the run lives and after it."""
    scripted.say(Text("Hel"), gate := Gate(), Text("lo"))
    async with client.post(run_input("t", "hi", run_id="r")) as stream:
        seen = await stream.until("TEXT_MESSAGE_CONTENT")
        for _ in ("alive", "ended"):
            query = f"?last_event_id={seen[-1].number + 1}"
            got = await refusal(client, "GET", f"/api/threads/t/runs/r/stream{query}")
            assert got == (422, "invalid_last_event_id")
            gate.opened.set()
            seen += await stream.rest()


async def test_a_second_reader_hinders_nothing(client: Client, scripted: Scripted) -> None:
    """With on_disconnect=cancel the run goes on while anybody reads, and no longer."""
    scripted.say(Text("Hel"), Gate(), Text("lo"))
    async with client.post(run_input("t", "hi", run_id="r")) as starter:
        await starter.until("TEXT_MESSAGE_CONTENT")
        async with client.follow("t", "r") as other:
            await other.until("TEXT_MESSAGE_CONTENT")
            await starter.answer.aclose()
            assert (await client.run("t", "r"))["status"] == "running"
            assert not scripted.asked[0].dropped.is_set()
    await scripted.asked[0].dropped.come()
    assert (await client.cancel("t", "r"))["status"] == "cancelled"


async def test_a_run_is_stopped(client: Client, scripted: Scripted) -> None:
    """When the answer to `cancel` comes, the run has ended, and what it said is kept."""
    scripted.say(Text("Hel"), Gate(), Text("lo"))
    async with client.post(run_input("t", "hi", run_id="r")) as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
        run = await client.cancel("t", "r")
        assert run["status"] == "cancelled"
        assert run["ended_at"] is not None
        assert (await stream.rest())[-1].event["outcome"]["type"] == "cancelled"
    assert [each["content"] for each in await client.messages("t")] == ["hi", "Hel"]
    assert await client.cancel("t", "r") == run
    path = "/api/threads/t/runs/none/cancel"
    assert await refusal(client, "POST", path, json={}) == (404, "not_found")


async def test_a_run_is_stopped_without_waiting(client: Client, scripted: Scripted) -> None:
    """With wait=false the answer does not wait for the end."""
    scripted.say(Text("Hel"), Gate(), Text("lo"))
    async with client.post(run_input("t", "hi", run_id="r")) as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
        run = await client.cancel("t", "r", wait=False)
        assert run["run_id"] == "r"
        await stream.rest()


async def test_cancel_wants_no_body(client: Client, scripted: Scripted) -> None:
    """A POST without anything in it is one."""
    scripted.say(Text("Hello"))
    await client.ask("t", "hi", run_id="r")
    answer = await client.http.post("/api/threads/t/runs/r/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "success")


async def test_a_reader_that_does_not_read_slows_nobody(app: Running, scripted: Scripted) -> None:
    """While one never reads, the others have the whole answer."""
    text = "x" * 1000
    scripted.say(gate := Gate(), *[Text(text)] * 300)
    async with Client(app.address) as client:
        async with client.post(run_input("t", "hi", run_id="r")) as stream:
            await gate.reached.come()
            host, port = app.address.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port), limit=1)
            writer.write(
                b"GET /api/threads/t/runs/r/stream HTTP/1.1\r\nHost: "
                + f"{host}:{port}".encode()
                + b"\r\n\r\n"
            )
            gate.opened.set()
            told = await asyncio.wait_for(stream.rest(), PATIENCE)
        assert text_of(told) == text * 300
        writer.transport.abort()
