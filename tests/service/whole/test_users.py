"""Two users of one service: another's thread, run or message is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.scripted import Scripted
from tests.support.scripted_wire import Gate, Text
from tests.support.service import Service
from tests.support.service_client import Client, Refused, new_id, run_input, text_of

ANN, BEN = "token-of-ann-0123456789", "token-of-ben-0123456789"


@pytest.fixture(scope="module")
def signed_process(
    scripted_server: Scripted, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with two users."""
    tokens = json.dumps({ANN: {"user": "ann"}, BEN: {"user": "ben"}})
    folder, base_url = (
        tmp_path_factory.mktemp("signed") / "data",
        scripted_server.base_url("openai"),
    )
    with Service(folder, base_url, SERVICE__SIGN_IN="token", SERVICE__TOKENS=tokens) as service:
        yield service


@pytest.fixture
def signed(signed_process: Service, provider: Scripted) -> Service:
    """The same, with a provider that has nothing to say yet."""
    return signed_process


async def test_what_is_anothers_is_not_there(signed: Service, provider: Scripted):
    """Every way to another's thread or run answers 404, and harms nothing."""
    provider.say(Text("secret of ann"), gate := Gate(), Text("!"))
    body = run_input(thread_id := new_id("t"), "my secret")
    run_id = body["runId"]
    async with (
        Client(signed.address, ANN) as ann,
        Client(signed.address, BEN) as ben,
        ann.post(body) as stream,
    ):
        await stream.until("TEXT_MESSAGE_CONTENT")
        thread, run = f"/api/threads/{thread_id}", f"/api/threads/{thread_id}/runs/{run_id}"
        for method, path, content in (
            ("GET", thread, None),
            ("PATCH", thread, {"title": "mine"}),
            ("DELETE", thread, None),
            ("POST", f"{thread}/restore", {}),
            ("GET", f"{thread}/messages", None),
            ("GET", f"{thread}/export", None),
            ("GET", f"{thread}/runs", None),
            ("GET", run, None),
            ("GET", f"{run}/stream", None),
            ("POST", f"{run}/cancel", {}),
        ):
            answer = await ben.http.request(method, path, json=content)
            assert answer.status_code == 404, f"{method} {path}: {answer.text}"
            assert answer.headers["content-type"] == "application/problem+json"
            assert "secret" not in answer.text
        assert await ben.threads() == []
        assert await ben.threads(q="secret") == []
        gate.opened.set()
        assert text_of(await stream.rest()) == "!"


async def test_anothers_ids_are_free(signed: Service, provider: Scripted):
    """The same thread and run id of two users are two conversations."""
    provider.say(Text("for ann"))
    provider.say(Text("for ben"))
    body = run_input(new_id("t"), "hello")
    async with Client(signed.address, ANN) as ann, Client(signed.address, BEN) as ben:
        async with ann.post(body) as stream:
            assert text_of(await stream.rest()) == "for ann"
        async with ben.post(body) as stream:
            assert text_of(await stream.rest()) == "for ben"

        for user, said in ((ann, "for ann"), (ben, "for ben")):
            contents = [m["content"] for m in await user.messages(body["threadId"])]
            assert contents == ["hello", said]


async def test_nobody_is_let_in_without_a_token(signed: Service, provider: Scripted):
    """Every route of the interface wants one, and a wrong one is no better than none."""
    for token in (None, "wrong"):
        async with Client(signed.address, token) as stranger:
            with pytest.raises(Refused, match="401"):
                await stranger.ask(new_id("t"), "hello")
            for path in ("/api/me", "/api/threads", "/api/models", "/api/cache"):
                answer = await stranger.http.get(path)
                assert answer.status_code == 401
                assert answer.headers["content-type"] == "application/problem+json"
            assert (await stranger.http.get("/api/config")).status_code == 200
    assert provider.asked == []


async def test_a_token_is_nowhere_in_the_output(signed: Service, provider: Scripted):
    """Neither of one who is let in, nor of one who is not."""
    provider.say(Text("hi"))
    async with Client(signed.address, ANN) as ann:
        await ann.ask(new_id("t"), "hello")
    async with Client(signed.address, wrong := "wrong-token-0123456789") as stranger:
        await stranger.http.get("/api/me")

    for secret in (ANN, BEN, wrong, "not-a-key"):
        assert secret not in signed.output
