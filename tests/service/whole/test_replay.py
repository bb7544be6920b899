"""A reload or a second tab shows the same answer: without a gap, without a doubled event."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from tests.support.scripted import Scripted
from tests.support.scripted_wire import Args, Call, Gate, Text
from tests.support.service import Service
from tests.support.service_client import Client, Told, kinds, new_id, run_input, text_of
from tests.support.service_fixtures import StartService


def say_a_whole_turn(provider: Scripted) -> None:
    """Text, two calls with arguments in pieces, and text again."""
    provider.say(
        Text("Let "),
        Text("me see."),
        Call(0, "c0", "calculator", '{"expre'),
        Call(1, "c1", "calculator", '{"expression": "2+2"}'),
        Args(0, 'ssion": "1+1"}'),
    )
    provider.say(Text("2 "), Text("and "), Text("4."))


async def test_an_ended_run_is_told_from_any_point(client: Client, provider: Scripted):
    """From behind event n come exactly the events that follow it, for every n."""
    say_a_whole_turn(provider)
    body = run_input(new_id("t"), "both")
    async with client.post(body) as stream:
        told = await stream.rest()
    thread_id, run_id = body["threadId"], body["runId"]
    assert len(told) > 15

    for after in range(len(told)):
        assert await client.replay(thread_id, run_id, after) == told[after:]


async def test_a_running_run_is_told_from_any_point(client: Client, provider: Scripted):
    """Readers that come at any time and from any point see one and the same run."""
    gates = [Gate() for _ in range(4)]
    steps = [Text(f"{number} ") for number in range(12)]
    for number, gate in enumerate(gates):
        steps.insert(number * 4, gate)  # type: ignore[arg-type]
    provider.say(*steps)
    body = run_input(new_id("t"), "count")
    thread_id, run_id = body["threadId"], body["runId"]
    chance = random.Random(4)
    readers: list[asyncio.Task[tuple[int, list[Told]]]] = []

    async def read(after: int) -> tuple[int, list[Told]]:
        return after, await client.replay(thread_id, run_id, after)

    async with client.post(body) as stream:
        first = await stream.until("CUSTOM")
        for gate in gates:
            await gate.reached.come()
            last = (await client.run(thread_id, run_id))["last_event_id"]
            points = {0, last, *(chance.randint(0, last) for _ in range(6))}
            readers += [asyncio.create_task(read(after)) for after in points]
            gate.opened.set()
        told = first + await stream.rest()

    for after, rest in await asyncio.gather(*readers):
        assert rest == told[after:]
    assert text_of(told) == "".join(f"{number} " for number in range(12))


async def test_a_reload_in_the_middle_loses_nothing(client: Client, provider: Scripted):
    """A page that leaves and comes back, again and again, has the whole answer in the end."""
    gates = [Gate() for _ in range(5)]
    provider.say(*(step for gate in gates for step in (Text("a"), gate, Text("b"))))
    body = run_input(new_id("t"), "go", forwardedProps={"on_disconnect": "continue"})
    seen: list[Told] = []
    async with client.post(body) as stream:
        seen += await stream.until("TEXT_MESSAGE_CONTENT")
    for gate in gates:
        await gate.reached.come()
        gate.opened.set()
        async with client.follow(body["threadId"], body["runId"], seen[-1].number) as stream:
            seen.append(await stream.next())
    seen += await client.replay(body["threadId"], body["runId"], seen[-1].number)

    assert [told.number for told in seen] == list(range(1, len(seen) + 1))
    assert text_of(seen) == "ab" * 5
    assert seen[-1].kind == "RUN_FINISHED"


async def test_what_was_told_is_told_again_after_a_restart(
    start_service: StartService, provider: Scripted
):
    """The log outlives the process, also one that is killed."""
    service = start_service()
    say_a_whole_turn(provider)
    body = run_input(new_id("t"), "both")
    async with Client(service.address) as client, client.post(body) as stream:
        told = await stream.rest()

    service.restart()

    async with Client(service.address) as client:
        assert await client.replay(body["threadId"], body["runId"]) == told
        assert await client.replay(body["threadId"], body["runId"], 7) == told[7:]


async def test_a_log_that_is_gone_leaves_what_was_said(
    start_service: StartService, provider: Scripted
):
    """Once compacted, a run is its start, a snapshot of the messages, and its end."""
    service = start_service(SERVICE__LOG_KEEP_SECONDS="0")
    provider.say(Text("Hel"), Text("lo"))
    body = run_input(new_id("t"), "hi")
    async with Client(service.address) as client:
        async with client.post(body) as stream:
            told = await stream.rest()
        service.restart()  # what is old is looked for at start, too
        async with asyncio.timeout(30):
            while len(again := await _events(client, body)) == len(told):
                await asyncio.sleep(0.05)

        assert [each["type"] for each in again] == [
            "RUN_STARTED",
            "MESSAGES_SNAPSHOT",
            "RUN_FINISHED",
        ]
        contents = [(m["role"], m["content"]) for m in again[1]["messages"]]
        assert contents == [("user", "hi"), ("assistant", "Hello")]
        assert [m["content"] for m in await client.messages(body["threadId"])] == ["hi", "Hello"]


async def _events(client: Client, body: dict[str, str]) -> list[dict[str, Any]]:
    """As they come, whatever their numbers: those of a compacted log leave some out."""
    path = f"/api/threads/{body['threadId']}/runs/{body['runId']}/stream"
    answer = await client.http.get(path, params={"protocol_version": "1.0"})
    lines = answer.text.split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


async def test_two_tabs_see_the_same(client: Client, service: Service, provider: Scripted):
    """Both are told every event, and either may leave without harm to the other."""
    provider.say(Text("a"), first := Gate(), Text("b"), second := Gate(), Text("c"))
    body = run_input(new_id("t"), "go")
    async with (
        Client(service.address) as other,
        client.post(body) as mine,
    ):
        before = await mine.until("TEXT_MESSAGE_CONTENT")
        async with other.follow(body["threadId"], body["runId"]) as theirs:
            told = await theirs.until("TEXT_MESSAGE_CONTENT")
            assert told == before
            first.opened.set()
            before += await mine.until("TEXT_MESSAGE_CONTENT")
            told += await theirs.until("TEXT_MESSAGE_CONTENT")
        second.opened.set()
        before += await mine.rest()

    assert told == before[: len(told)]
    assert text_of(before) == "abc"


async def test_frames_are_as_readers_expect_them(client: Client, provider: Scripted):
    """LF alone, a number and one line of data each, and a comment at once for proxies."""
    provider.say(Text("line one\nline two\r\n\u2028end"))
    body = run_input(new_id("t"), "go")

    answer = await client.http.post("/api/agent", json=body)

    raw = answer.content
    assert b"\r" not in raw
    frames = raw.decode().split("\n\n")
    assert frames.pop() == ""
    assert frames[0].startswith(":")
    numbers = []
    for frame in frames:
        if frame.startswith(":"):
            continue
        lines = dict(line.split(": ", 1) for line in frame.split("\n"))
        assert lines.keys() == {"id", "data"}
        assert json.loads(lines["data"])["type"]
        numbers.append(int(lines["id"]))
    assert numbers == list(range(1, len(numbers) + 1))
    assert answer.headers["cache-control"].startswith("no-")


async def test_nothing_of_the_graph_is_told(client: Client, provider: Scripted):
    """No RAW events, which show the graph's insides."""
    say_a_whole_turn(provider)

    told = await client.ask(new_id("t"), "both")

    assert "RAW" not in kinds(told)
    assert "not-a-key" not in str(told)
    custom = {each.event["name"] for each in told if each.kind == "CUSTOM"}
    assert custom <= {"run_input", "model_loading", "thread_title"}
    assert (told[0].kind, told[1].kind) == ("RUN_STARTED", "CUSTOM")
    assert told[1].event["name"] == "run_input"


async def test_a_point_that_is_none_is_refused(client: Client, provider: Scripted):
    """Behind the end there is nothing, and a number that is none is an error to act on."""
    provider.say(Text("hi"))
    body = run_input(new_id("t"), "go")
    async with client.post(body) as stream:
        told = await stream.rest()
    path = f"/api/threads/{body['threadId']}/runs/{body['runId']}/stream"

    for point in ("-1", "one", "1.5"):
        answer = await client.http.get(path, headers={"Last-Event-ID": point})
        assert answer.status_code == 422, point
        assert answer.headers["content-type"] == "application/problem+json"
    async with client.follow(body["threadId"], body["runId"], len(told)) as stream:
        assert [each async for each in stream] == []
