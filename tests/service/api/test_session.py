"""`/api/config`, `/api/me`, `/api/models`, and who is let in at all."""

from __future__ import annotations

import llmkeep
from tests.service.api.application import TOKENS
from tests.service.conftest import Start
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Text
from tests.support.service_client import Client

ROUTES = [
    ("GET", "/api/me"),
    ("GET", "/api/models"),
    ("POST", "/api/agent"),
    ("POST", "/api/threads"),
    ("GET", "/api/threads"),
    ("GET", "/api/threads/t"),
    ("PATCH", "/api/threads/t"),
    ("DELETE", "/api/threads/t"),
    ("POST", "/api/threads/t/restore"),
    ("GET", "/api/threads/t/messages"),
    ("GET", "/api/threads/t/export"),
    ("GET", "/api/threads/t/runs"),
    ("GET", "/api/threads/t/runs/r"),
    ("GET", "/api/threads/t/runs/r/stream"),
    ("POST", "/api/threads/t/runs/r/cancel"),
    ("GET", "/api/cache"),
    ("GET", "/api/cache/stream"),
    ("POST", "/api/cache/clear"),
]


async def test_the_configuration_is_for_everybody(start: Start) -> None:
    """It tells how to sign in, to whoever asks."""
    async with start(sign_in="token", tokens=TOKENS) as app, Client(app.address) as client:
        config = await client.json("GET", "/api/config")
    assert config == {"version": llmkeep.__version__, "protocol": "1.0", "sign_in": "token"}


async def test_nobody_is_let_in_without_a_token(start: Start) -> None:
    """Every other route wants a user, before it looks at anything else."""
    async with start(sign_in="token", tokens=TOKENS) as app, Client(app.address) as client:
        for method, path in ROUTES:
            answer = await client.http.request(method, path, json=None if method == "GET" else {})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_who_one_is(start: Start, scripted: Scripted) -> None:
    """Name, rights, limits, and what has been used of them."""
    ada_token, bob_token = TOKENS
    scripted.say(Text("Hello"))
    async with (
        start(sign_in="token", tokens=TOKENS, tokens_per_day=1000, requests_per_minute=7) as app,
        Client(app.address, ada_token) as ada,
        Client(app.address, bob_token) as bob,
    ):
        await bob.ask("t", "hi")
        assert await ada.json("GET", "/api/me") == {
            "user": "ada",
            "administrator": True,
            "limits": {
                "requests_per_minute": 7,
                "concurrent_runs": 4,
                "message_characters": 32000,
                "tokens_per_day": 1000,
            },
            "tokens_today": 0,
        }
        me = await bob.json("GET", "/api/me")
        assert (me["user"], me["administrator"], me["tokens_today"]) == ("bob", False, 15)


async def test_models_to_choose_from(start: Start, scripted: Scripted) -> None:
    """Those that are configured, and a run may take any of them."""
    scripted.say(Text("Hello"))
    async with start(models=["openai:one", "openai:two"]) as app, Client(app.address) as client:
        models = (await client.json("GET", "/api/models"))["models"]
        await client.ask("t", "hi", run_id="r", forwardedProps={"model": "openai:two"})
        run = await client.run("t", "r")
    assert [(each["id"], each["default"]) for each in models] == [
        ("openai:one", True),
        ("openai:two", False),
    ]
    assert models[1] == {
        "id": "openai:two",
        "provider": "openai",
        "name": "two",
        "default": False,
        "demonstration": False,
    }
    assert run["model"] == "openai:two"
    assert scripted.asked[0].body["model"] == "two"
