"""`POST /api/agent`: a run from the request to its last event, and what is refused."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx_sse
import pytest

from llmkeep.service.records import Run
from llmkeep.service.runs import Runs
from tests.service.api.application import Running
from tests.service.conftest import Start
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Call, Gate, Text
from tests.support.service_client import Client, Refused, kinds, new_id, run_input, text_of

CALLED = [Call(0, "c1", "calculator", '{"expression": "2+2"}')]


async def test_an_answer_is_streamed(client: Client, scripted: Scripted) -> None:
    """A message is answered, event by event, each with its number, up to one terminal event."""
    scripted.say(Text("Hel"), Text("lo"))
    async with client.post(run_input("t", "hi", run_id="r")) as stream:
        told = await stream.rest()
        headers = stream.answer.headers
    assert kinds(told)[:2] == ["RUN_STARTED", "CUSTOM"]
    assert told[1].event["name"] == "run_input"
    assert text_of(told) == "Hello"
    assert told[-1].event["outcome"]["type"] == "success"
    assert [each.number for each in told] == list(range(1, len(told) + 1))
    assert headers["cache-control"] == "no-store"
    assert (await client.run("t", "r"))["status"] == "success"
    roles = [(each["role"], each["content"]) for each in await client.messages("t")]
    assert roles == [("user", "hi"), ("assistant", "Hello")]


async def test_a_tool_is_called(client: Client, scripted: Scripted) -> None:
    """A call's result is told with its status, and the answer goes on."""
    scripted.say(*CALLED)
    scripted.say(Text("It is 4."))
    told = await client.ask("t", "how much is 2+2?")
    (result,) = (each.event for each in told if each.kind == "TOOL_CALL_RESULT")
    assert result["content"] == "4"
    assert result["metadata"]["status"] == "success"
    assert text_of(told) == "It is 4."


async def test_leaving_cancels_the_run_and_the_providers_connection(
    client: Client, scripted: Scripted
) -> None:
    """A client whose stop button only closes its connection stops the model, too."""
    scripted.say(Text("Hel"), Gate(), Text("lo"))
    async with client.post(run_input("t", "hi", run_id="r")) as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
    await scripted.asked[0].dropped.come()
    run = await client.cancel("t", "r")
    assert run["status"] == "cancelled"
    assert [each["content"] for each in await client.messages("t")] == ["hi", "Hel"]


async def test_leaving_a_run_that_goes_on(client: Client, scripted: Scripted) -> None:
    """With on_disconnect=continue the run goes on, and is read from the next event on."""
    scripted.say(Text("Hel"), gate := Gate(), Text("lo"))
    body = run_input("t", "hi", run_id="r")
    async with client.post(body, on_disconnect="continue") as stream:
        seen = await stream.until("TEXT_MESSAGE_CONTENT")
    gate.opened.set()
    rest = await client.replay("t", "r", after=seen[-1].number)
    assert text_of([*seen, *rest]) == "Hello"
    assert (await client.run("t", "r"))["on_disconnect"] == "continue"


async def test_the_same_body_joins_the_run(client: Client, scripted: Scripted) -> None:
    """Asked for again with the same body, a run is told from its first event, and made once."""
    scripted.say(Text("Hel"), gate := Gate(), Text("lo"))
    body = run_input("t", "hi")
    async with client.post(body) as one, client.post(body) as other:
        await one.until("TEXT_MESSAGE_CONTENT")
        await other.until("TEXT_MESSAGE_CONTENT")
        gate.opened.set()
        assert [await one.rest(), "end"] == [await other.rest(), "end"]
    assert len(scripted.asked) == 1
    async with client.post(body) as again:
        assert text_of(await again.rest()) == "Hello"


async def test_another_body_is_a_conflict(client: Client, scripted: Scripted) -> None:
    """A run's id with another body is refused, and the run is left alone."""
    scripted.say(Text("Hello"))
    await client.ask("t", "hi", run_id="r")
    problem = await refused(client, run_input("t", "something else", run_id="r"))
    assert (problem["status"], problem["code"]) == (409, "run_exists")


async def test_a_thread_that_is_busy_rejects(client: Client, scripted: Scripted) -> None:
    """With multitask_strategy=reject a second message is refused, naming the run under way."""
    scripted.say(gate := Gate(), Text("Hello"))
    async with client.post(run_input("t", "hi", run_id="r")) as stream:
        await stream.next()
        problem = await refused(client, run_input("t", "you there?"), multitask_strategy="reject")
        assert (problem["status"], problem["code"], problem["run_id"]) == (409, "thread_busy", "r")
        gate.opened.set()
        await stream.rest()


async def test_nothing_to_answer(client: Client, scripted: Scripted) -> None:
    """Without a new message, and the last one answered, there is nothing to do."""
    scripted.say(Text("Hello"))
    body = run_input("t", "hi")
    async with client.post(body) as stream:
        await stream.rest()
    problem = await refused(client, {**body, "runId": new_id("r")})
    assert (problem["status"], problem["code"]) == (409, "nothing_to_answer")


async def test_a_parent_that_is_not_there(client: Client) -> None:
    """A run hangs under a message of its thread, or is refused."""
    props = {"parent_message_id": "nowhere"}
    problem = await refused(client, run_input("t", "hi", forwardedProps=props))
    assert (problem["status"], problem["code"]) == (404, "parent_unknown")


async def test_a_model_that_is_not_configured(client: Client) -> None:
    """A client chooses among the configured models alone."""
    props = {"model": "openai:somebody-elses"}
    problem = await refused(client, run_input("t", "hi", forwardedProps=props))
    assert (problem["status"], problem["code"]) == (422, "invalid_model")


@pytest.mark.parametrize("query", ["on_disconnect=stay", "multitask_strategy=rollback"])
async def test_other_choices_in_the_address(client: Client, query: str) -> None:
    """Values that mean nothing here are refused."""
    answer = await client.http.post(f"/api/agent?{query}", json=run_input("t", "hi"))
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"


async def test_pictures_are_refused_and_forgiven(client: Client, scripted: Scripted) -> None:
    """A new message with other parts than text is refused; one that was there already is not."""
    picture = {"type": "binary", "mimeType": "image/png", "data": "AAAA"}
    message = {"id": "m1", "role": "user", "content": [picture]}
    problem = await refused(client, run_input("t", messages=[message]))
    assert (problem["status"], problem["code"]) == (422, "invalid_content")
    scripted.say(Text("Hello"))
    await client.ask("t", messages=[{"id": "m1", "role": "user", "content": "hi"}])
    scripted.say(Text("Again"))
    told = await client.ask("t", "more", messages=[message])
    assert text_of(told) == "Again"


async def test_limits_are_kept(start: Start, scripted: Scripted) -> None:
    """Too many requests and runs, and too long messages, have their answers; joining has none."""
    limits = {"requests_per_minute": 6, "concurrent_runs": 1, "message_characters": 10}
    scripted.say(gate := Gate(), Text("Hello"))
    body = run_input("t", "hi")
    async with start(**limits) as app, Client(app.address) as client:
        async with client.post(body) as stream:
            await stream.next()
            problem = await refused(client, run_input("u", "hi"))
            assert (problem["status"], problem["code"]) == (429, "too_many_runs")
            async with client.post(body) as joined:
                await joined.next()
            gate.opened.set()
            await stream.rest()
        problem = await refused(client, run_input("t", "x" * 11))
        assert (problem["status"], problem["code"]) == (413, "too_large")
        for _ in range(2):
            await refused(client, run_input("t"))
        answer = await client.http.post("/api/agent", json=run_input("t", "hi"))
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert int(answer.headers["retry-after"]) > 0


async def test_a_long_message_that_is_there_already(start: Start, scripted: Scripted) -> None:
    """A limit that was lowered does not end the conversations from before."""
    scripted.say(Text("Hello"))
    scripted.say(Text("Again"))
    long = {"id": "m1", "role": "user", "content": "x" * 20}
    async with start() as app, Client(app.address) as client:
        await client.ask("t", messages=[long])
        app.service.settings.message_characters = 10
        assert text_of(await client.ask("t", "more", messages=[long])) == "Again"


async def test_an_older_client_is_told_of_a_stop_in_its_own_way(
    client: Client, scripted: Scripted
) -> None:
    """Below protocol 1.0 a stopped run is a custom event, and a finish without an outcome."""
    for number, protocol in enumerate((None, "0.9", "1.0", "2.0")):
        scripted.say(Text("Hel"), gate := Gate(), Text("lo"))
        thread, run = f"t{number}", f"r{number}"
        body = run_input(thread, "hi", run_id=run, protocol=protocol)
        async with client.http.stream("POST", "/api/agent", json=body) as answer:
            await gate.reached.come()
            stopping = asyncio.create_task(client.cancel(thread, run))
            lines = [line async for line in answer.aiter_lines()]
            await stopping
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        finish, names = events[-1], [each.get("name") for each in events]
        assert finish["type"] == "RUN_FINISHED"
        if number < 2:
            assert "outcome" not in finish
            assert "run_cancelled" in names
        else:
            assert finish["outcome"]["type"] == "cancelled"
            assert "run_cancelled" not in names


async def test_threads_are_answered_side_by_side(app: Running, scripted: Scripted) -> None:
    """Two threads of one user are answered side by side."""
    scripted.say(one := Gate(), Text("one"))
    scripted.say(other := Gate(), Text("other"))
    async with Client(app.address) as client, client.post(run_input("a", "hi")) as first:
        await one.reached.come()
        async with client.post(run_input("b", "hi")) as second:
            await other.reached.come()
            other.opened.set()
            assert text_of(await second.rest()) == "other"
            one.opened.set()
            assert text_of(await first.rest()) == "one"


class Broken:
    """Runs whose events cannot be read on after the second."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runs, name)

    @asynccontextmanager
    async def read(self, run: Run, **more: Any) -> AsyncIterator[AsyncIterator[Any]]:
        async def each(reader: Any) -> AsyncIterator[Any]:
            yield (await anext(reader))[:2]
            raise OSError("the disk is on fire")

        async with self._runs.read(run, **more) as reader:
            yield each(reader)


async def test_a_stream_that_fails_is_told_to(
    app: Running, client: Client, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends in one error event, which is none of the run's; the log has the reason."""
    scripted.say(Text("Hello"))
    runs = app.service.runs
    app.service.runs = cast("Runs", Broken(runs))
    async with client.http.stream("POST", "/api/agent", json=run_input("t", "hi")) as answer:
        events = [each async for each in httpx_sse.EventSource(answer).aiter_sse() if each.data]
    app.service.runs = runs
    last = json.loads(events[-1].data)
    assert (last["type"], last["code"]) == ("RUN_ERROR", "internal")
    assert "fire" not in last["message"]
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == [
        "a run could not be read"
    ]


async def refused(client: Client, body: dict[str, Any], **query: Any) -> dict[str, Any]:
    """The problem that is answered."""
    with pytest.raises(Refused) as error:
        async with client.post(body, **query):
            pass
    assert error.value.answer.headers["content-type"] == "application/problem+json"
    return error.value.problem
