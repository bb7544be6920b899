"""`/healthz`, `/readyz`, `/metrics`: what is told to whoever runs it."""

from __future__ import annotations

import pytest

from tests.service.api.application import TOKENS, Running
from tests.service.conftest import Start
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Text
from tests.support.service_client import Client


async def test_it_is_alive_and_ready(client: Client, scripted: Scripted) -> None:
    """Both answer without a provider having been asked."""
    assert await client.json("GET", "/healthz") == {"status": "ok"}
    ready = await client.json("GET", "/readyz")
    assert ready["status"] == "ok"
    assert {name: each["status"] for name, each in ready["checks"].items()} == {
        "store": "ok",
        "migrations": "ok",
        "memory": "ok",
        "model": "ok",
        "provider": "unknown",
    }
    assert scripted.asked == []


async def test_a_provider_that_is_away_takes_nobody_out(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and the service stays ready: it has more to offer than answers."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    async with start() as app, Client(app.address) as client:
        await client.ask("t", "hi")
        ready = await client.json("GET", "/readyz")
    assert (ready["status"], ready["checks"]["provider"]["status"]) == ("ok", "unreachable")


async def test_a_provider_that_answered_is_ok(client: Client, scripted: Scripted) -> None:
    """The last run tells."""
    scripted.say(Text("Hello"))
    await client.ask("t", "hi")
    ready = await client.json("GET", "/readyz")
    assert ready["checks"]["provider"]["status"] == "ok"


async def test_a_model_that_cannot_be_made(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing should be sent here, and it is told what to change, without a traceback."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    async with start() as app, Client(app.address) as client:
        answer = await client.http.get("/readyz")
        assert await client.json("GET", "/healthz") == {"status": "ok"}
    assert (answer.status_code, answer.json()["status"]) == (503, "failed")
    check = answer.json()["checks"]["model"]
    assert check["status"] == "failed"
    assert "OPENAI_API_KEY" in check["detail"]


async def test_a_store_that_cannot_be_used(app: Running, client: Client) -> None:
    """The same for the store."""
    await app.service.store.close()
    answer = await client.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["store"]["status"] == "failed"


async def test_a_memory_that_cannot_be_used(app: Running, client: Client) -> None:
    """The file that the models remember by belongs to the store, and is named."""
    await app.service.handlers.memory.aclose()
    answer = await client.http.get("/readyz")
    assert answer.status_code == 503
    assert "memory.sqlite3" in answer.json()["checks"]["store"]["detail"]


async def test_a_server_that_ends_is_not_ready(app: Running, client: Client) -> None:
    """From the signal on nothing should be sent here."""
    app.service.begin_drain()
    answer = await client.http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    refused = await client.http.post(
        "/api/agent",
        json={
            "threadId": "t",
            "runId": "r",
            "messages": [{"id": "m", "role": "user", "content": "hi"}],
        },
    )
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")


async def test_figures_for_prometheus(client: Client, scripted: Scripted) -> None:
    """Requests by the templates of their routes, and runs."""
    scripted.say(Text("Hello"))
    await client.ask("a-secret-thread", "hi")
    await client.json("GET", "/api/threads/a-secret-thread")
    answer = await client.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'route="/api/threads/{thread_id}"' in answer.text
    assert "a-secret-thread" not in answer.text
    assert "llmkeep_cache_hits" in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_no_user_is_wanted(start: Start, path: str) -> None:
    """A probe does not sign in."""
    async with start(sign_in="token", tokens=TOKENS) as app, Client(app.address) as client:
        assert (await client.http.get(path)).status_code == 200
