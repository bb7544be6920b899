"""`/api/threads`: what a person does with conversations."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.service.api.application import TOKENS, refusal
from tests.service.conftest import Start
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Call, Gate, Text
from tests.support.service_client import Client, Refused, run_input


async def test_a_thread_is_made(client: Client) -> None:
    """It has the id and the title that were given, or an id of the server's."""
    answer = await client.http.post("/api/threads", json={"thread_id": "t", "title": " Primes "})
    assert answer.status_code == 201
    thread = answer.json()
    assert (thread["thread_id"], thread["title"], thread["status"]) == ("t", "Primes", "idle")
    assert thread["created_at"].endswith("Z")
    assert (thread["metadata"], thread["last_run_id"]) == ({}, None)
    other = await client.json("POST", "/api/threads", json={"metadata": {"a": [1]}})
    assert len(other["thread_id"]) > 30
    assert other["metadata"] == {"a": [1]}


async def test_a_thread_that_is_there(client: Client) -> None:
    """Making it again is a conflict, or nothing where that is asked for."""
    await client.json("POST", "/api/threads", json={"thread_id": "t", "title": "one"})
    again = {"thread_id": "t", "title": "other"}
    assert await refusal(client, "POST", "/api/threads", json=again) == (409, "thread_exists")
    answer = await client.http.post("/api/threads", json={**again, "if_exists": "do_nothing"})
    assert (answer.status_code, answer.json()["title"]) == (200, "one")


async def test_threads_are_listed_page_by_page(client: Client) -> None:
    """Newest activity first, each once, and the last page says that it is."""
    for number in range(5):
        await client.json("POST", "/api/threads", json={"thread_id": f"t{number}"})
    seen, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await client.json("GET", "/api/threads", params=query)
        seen += [each["thread_id"] for each in page["threads"]]
        if not (cursor := page["next_cursor"]):
            break
    assert seen == ["t4", "t3", "t2", "t1", "t0"]
    for wrong in ({"limit": 0}, {"limit": 101}, {"cursor": "nonsense"}, {"q": "x" * 201}):
        assert (await refusal(client, "GET", "/api/threads", params=wrong))[0] == 422


async def test_threads_are_searched(client: Client, scripted: Scripted) -> None:
    """Titles and messages are looked through."""
    scripted.say(Text("Zebras have stripes."))
    await client.ask("t", "tell me something")
    await client.json("POST", "/api/threads", json={"thread_id": "u", "title": "Giraffes"})
    assert [each["thread_id"] for each in await client.threads(q="stripes")] == ["t"]
    assert [each["thread_id"] for each in await client.threads(q="giraffe")] == ["u"]
    assert await client.threads(q="nothing of that") == []


async def test_a_thread_tells_what_runs_in_it(client: Client, scripted: Scripted) -> None:
    """While a run is under way the thread is busy, and names it."""
    scripted.say(gate := Gate(), Text("Hello"))
    async with client.post(run_input("t", "hi", run_id="r")) as stream:
        await gate.reached.come()
        thread = await client.json("GET", "/api/threads/t")
        assert (thread["status"], thread["active_run"]["run_id"]) == ("busy", "r")
        assert thread["active_run"]["status"] == "running"
        gate.opened.set()
        await stream.rest()
    thread = await client.json("GET", "/api/threads/t")
    assert (thread["status"], thread["active_run"], thread["last_run_id"]) == ("idle", None, "r")


async def test_a_thread_is_renamed(client: Client) -> None:
    """The new title is there at once; a title of nothing or without end is none."""
    await client.json("POST", "/api/threads", json={"thread_id": "t"})
    thread = await client.json("PATCH", "/api/threads/t", json={"title": " Primes "})
    assert thread["title"] == "Primes"
    assert (await client.json("GET", "/api/threads/t"))["title"] == "Primes"
    for title in ("", "  ", "x" * 201, None, 5):
        got = await refusal(client, "PATCH", "/api/threads/t", json={"title": title})
        assert got[0] == 422
    assert (await refusal(client, "PATCH", "/api/threads/u", json={"title": "x"}))[0] == 404


async def test_a_thread_is_deleted_and_restored(client: Client, scripted: Scripted) -> None:
    """It is gone from everywhere at once, and back with all that was in it."""
    scripted.say(Text("Hello"))
    await client.ask("t", "hi", run_id="r")
    gone = await client.json("DELETE", "/api/threads/t")
    assert datetime.fromisoformat(gone["restorable_until"]) > datetime.now(UTC)
    assert await client.threads() == []
    for path in ("", "/messages", "/runs", "/runs/r", "/runs/r/stream", "/export"):
        assert await refusal(client, "GET", f"/api/threads/t{path}") == (404, "not_found")
    assert await refusal(client, "DELETE", "/api/threads/t") == (404, "not_found")
    again = {"thread_id": "t", "if_exists": "do_nothing"}
    assert await refusal(client, "POST", "/api/threads", json=again) == (409, "thread_deleted")
    with pytest.raises(Refused) as error:
        async with client.post(run_input("t", "hi again")):
            pass
    assert (error.value.status, error.value.problem["code"]) == (409, "thread_deleted")
    thread = await client.json("POST", "/api/threads/t/restore", json={})
    assert thread["thread_id"] == "t"
    assert [each["content"] for each in await client.messages("t")] == ["hi", "Hello"]
    assert (await client.json("POST", "/api/threads/t/restore", json={}))["thread_id"] == "t"


async def test_deleting_stops_what_runs(client: Client, scripted: Scripted) -> None:
    """A deleted thread asks no provider any more."""
    scripted.say(Text("Hel"), Gate(), Text("lo"))
    async with client.post(run_input("t", "hi"), on_disconnect="continue") as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
        await client.json("DELETE", "/api/threads/t")
        assert (await stream.rest())[-1].event["outcome"]["type"] == "cancelled"
    await scripted.asked[0].dropped.come()


async def test_the_undo_time_ends(start: Start) -> None:
    """When it is over there is nothing to restore."""
    async with start(undo_seconds=0) as app, Client(app.address) as client:
        await client.json("POST", "/api/threads", json={"thread_id": "t"})
        await client.json("DELETE", "/api/threads/t")
        await app.service.janitor.run_once()
        got = await refusal(client, "POST", "/api/threads/t/restore", json={})
        assert got == (404, "not_found")


async def test_messages_are_told_whole(client: Client, scripted: Scripted) -> None:
    """Each under its parent, with calls, results, model and usage."""
    scripted.say(Call(0, "c1", "calculator", '{"expression": "2+2"}'))
    scripted.say(Text("4"))
    await client.ask("t", "2+2?", run_id="r")
    user, calling, result, answer = await client.messages("t")
    assert [each["role"] for each in (user, calling, result, answer)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert [each["parent_id"] for each in (user, calling, result, answer)] == [
        None,
        user["id"],
        calling["id"],
        result["id"],
    ]
    (call,) = calling["tool_calls"]
    assert (call["name"], json.loads(call["arguments"])) == ("calculator", {"expression": "2+2"})
    assert (result["tool_call_id"], result["status"]) == (call["id"], "success")
    assert result["duration"] >= 0
    assert answer["model"] == "openai:scripted"
    assert answer["usage"]["input_tokens"] > 0
    assert {each["run_id"] for each in (user, calling, result, answer)} == {"r"}


async def test_a_conversation_is_taken_along(client: Client, scripted: Scripted) -> None:
    """As Markdown for people and as JSON for programs, under a name that says what it is."""
    scripted.say(Call(0, "c1", "calculator", '{"expression": "2+2"}'))
    scripted.say(Text("It is ```4```."))
    await client.ask("t", "2+2?")
    await client.json("PATCH", "/api/threads/t", json={"title": "Summe/ der Zwei äöü"})
    markdown = await client.http.get("/api/threads/t/export")
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    disposition = markdown.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="conversation.md"; filename*=UTF-8')
    assert disposition.endswith("Summe-der-Zwei-%C3%A4%C3%B6%C3%BC.md")
    for part in ("# Summe/ der Zwei äöü", "2+2?", "`calculator`", "It is ```4```."):
        assert part in markdown.text
    whole = await client.json("GET", "/api/threads/t/export", params={"format": "json"})
    assert whole["thread"]["thread_id"] == "t"
    assert whole["messages"] == await client.messages("t")
    wrong = await refusal(client, "GET", "/api/threads/t/export", params={"format": "pdf"})
    assert wrong[0] == 422


async def test_an_id_may_have_any_printable_character(client: Client, scripted: Scripted) -> None:
    """A slash, a percent sign, a question mark and Chinese are characters like others."""
    scripted.say(Text("Hello"))
    name, run = "a/b%2F?#&;=+ 线程", "r/1"
    await client.ask(name, "hi", run_id=run)
    path = "a%2Fb%252F%3F%23%26%3B%3D%2B%20%E7%BA%BF%E7%A8%8B"
    assert (await client.json("GET", f"/api/threads/{path}"))["thread_id"] == name
    told = await client.json("GET", f"/api/threads/{path}/runs/r%2F1")
    assert (told["thread_id"], told["run_id"]) == (name, run)


async def test_half_a_character_is_refused(client: Client) -> None:
    """JSON can name one, a store cannot hold it: it is refused wherever it stands."""
    half = b'"\\ud800"'
    for body in (
        b'{"thread_id": %s}' % half,
        b'{"title": %s}' % half,
        b'{"metadata": {"a": %s}}' % half,
        b'{"metadata": {%s: 1}}' % half,
    ):
        answer = await client.http.post(
            "/api/threads", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, body


@pytest.mark.parametrize("path", ["%00", "a%0Ab", "x" * 129, "%2E%2e"])
async def test_what_is_no_id_is_refused(client: Client, path: str) -> None:
    """Whatever cannot be an id is told so."""
    assert await refusal(client, "GET", f"/api/threads/{path}/messages") == (422, "invalid_id")


async def test_others_threads_are_not_there(start: Start, scripted: Scripted) -> None:
    """Another user's thread, run and messages answer 404, and its ids are free."""
    scripted.say(Text("Hello, Ada"))
    scripted.say(Text("Hello, Bob"))
    ada_token, bob_token = TOKENS
    async with (
        start(sign_in="token", tokens=TOKENS) as app,
        Client(app.address, ada_token) as ada,
        Client(app.address, bob_token) as bob,
    ):
        await ada.ask("t", "I am Ada", run_id="r")
        for path in ("", "/messages", "/runs", "/runs/r", "/runs/r/stream", "/export"):
            assert await refusal(bob, "GET", f"/api/threads/t{path}") == (404, "not_found")
        for method, path in (
            ("DELETE", ""),
            ("PATCH", ""),
            ("POST", "/restore"),
            ("POST", "/runs/r/cancel"),
        ):
            body = {"title": "mine"} if method == "PATCH" else {}
            more = {} if method == "DELETE" else {"json": body}
            assert (await refusal(bob, method, f"/api/threads/t{path}", **more))[0] == 404
        assert await bob.threads() == []
        assert await bob.threads(q="Ada") == []
        await bob.ask("t", "I am Bob", run_id="r")
        assert [each["content"] for each in await ada.messages("t")] == ["I am Ada", "Hello, Ada"]
        assert [each["content"] for each in await bob.messages("t")] == ["I am Bob", "Hello, Bob"]
