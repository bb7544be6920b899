"""`/api/cache`: what is kept, as it is, as it goes on, and dropped."""

from __future__ import annotations

import asyncio
import json

import httpx_sse
import pytest

from tests.service.api.application import TOKENS, Running
from tests.service.conftest import Start
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Gate, Text
from tests.support.service_client import Client, Refused, run_input


async def test_what_is_kept_is_told(client: Client, scripted: Scripted) -> None:
    """A row for the model that answers, leased while it does; figures that add up."""
    scripted.say(Text("Hel"), gate := Gate(), Text("lo"))
    async with client.post(run_input("t", "hi")) as stream:
        await gate.reached.come()
        now = await client.json("GET", "/api/cache")
        (row,) = (each for each in now["instances"] if each["cache"].startswith("models"))
        assert (row["state"], row["leases"], row["builds"]) == ("ready", 1, 1)
        assert "scripted" in row["label"]
        stats = now["stats"]
        assert stats["acquired"] == stats["hits"] + stats["built"] + stats["joined"]
        assert stats["leased"] == 1
        assert {"agents", "graphs", "sqlite"} <= {each["name"] for each in now["caches"]}
        gate.opened.set()
        await stream.rest()
    later = await client.json("GET", "/api/cache")
    assert later["stats"]["leased"] == 0
    assert later["latency"]["run"]["count"] == 1
    assert later["latency"]["first_token"]["seconds"] > 0
    assert later["latency"]["build"]["count"] == 1


async def test_it_is_told_again_and_again(client: Client) -> None:
    """The stream has the same, for as long as somebody listens."""
    async with client.http.stream("GET", "/api/cache/stream") as answer:
        assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
        looks = []
        async for event in httpx_sse.EventSource(answer).aiter_sse():
            looks.append(json.loads(event.data))
            if len(looks) == 2:
                break
    assert all(each.keys() >= {"stats", "caches", "instances"} for each in looks)


async def test_its_stream_ends_when_the_service_does(app: Running, client: Client) -> None:
    """Nobody who only watches keeps a server from ending."""
    async with client.http.stream("GET", "/api/cache/stream") as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        app.service.begin_drain()
        async with asyncio.timeout(20):
            _ = [line async for line in lines]


async def test_it_is_cleared(client: Client, scripted: Scripted) -> None:
    """The next answer has a model that was built anew; the one under way keeps its own."""
    scripted.say(Text("Hel"), gate := Gate(), Text("lo"))
    scripted.say(Text("again"))
    async with client.post(run_input("t", "hi")) as stream:
        await gate.reached.come()
        assert await client.json("POST", "/api/cache/clear", json={}) == {"cleared": 1}
        gate.opened.set()
        assert (await stream.rest())[-1].event["outcome"]["type"] == "success"
    await client.ask("t", "more")
    now = await client.json("GET", "/api/cache")
    (row,) = (each for each in now["instances"] if each["cache"].startswith("models"))
    assert row["builds"] == 2


async def test_the_keep_is_for_administrators(start: Start) -> None:
    """Others are refused, and nothing is shown or dropped."""
    ada_token, bob_token = TOKENS
    async with (
        start(sign_in="token", tokens=TOKENS) as app,
        Client(app.address, ada_token) as ada,
        Client(app.address, bob_token) as bob,
    ):
        for method, path in (("GET", ""), ("GET", "/stream"), ("POST", "/clear")):
            with pytest.raises(Refused) as error:
                await bob.json(method, f"/api/cache{path}", json={} if path == "/clear" else None)
            assert (error.value.status, error.value.problem["code"]) == (403, "forbidden")
        assert await ada.json("POST", "/api/cache/clear", json={}) == {"cleared": 0}
        assert await ada.json("GET", "/api/cache")
