"""Refusals and failures: one form, no echo, nothing of our own inside."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from llmkeep.service.api.problems import add_problems
from llmkeep.service.errors import Conflict, TooMany
from tests.service.api.serving import address_of, served

SECRET = "a word that must not come back"


class Body(BaseModel):
    number: int


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Of an application whose routes fail in their ways."""
    app = FastAPI(redirect_slashes=False)
    add_problems(app)

    @app.get("/conflict")
    async def conflict() -> None:
        raise Conflict("do something else", code="thread_busy", run_id="r")

    @app.get("/many")
    async def many() -> None:
        raise TooMany("wait", headers={"Retry-After": "7"})

    @app.get("/threads/{thread_id}")
    async def broken(thread_id: str) -> None:
        raise RuntimeError(SECRET)

    @app.patch("/threads/{thread_id}")
    async def another(thread_id: str) -> None:
        return None

    @app.post("/body")
    async def body(body: Body) -> None:
        return None

    async with (
        served(app) as server,
        httpx.AsyncClient(base_url=address_of(server), trust_env=False) as client,
    ):
        yield client


async def test_a_refusal_says_what_to_do(client: httpx.AsyncClient) -> None:
    """Status, title, detail, code, and what else there is to say."""
    answer = await client.get("/conflict")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "do something else",
        "code": "thread_busy",
        "run_id": "r",
    }
    assert (await client.get("/many")).headers["retry-after"] == "7"


async def test_what_is_unexpected_is_logged_and_not_told(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer has no word of it; the log has it once, with the thread it was about."""
    answer = await client.get("/threads/t1")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert SECRET not in answer.text
    (record,) = (each for each in caplog.records if each.levelno >= logging.ERROR)
    assert record.exc_info is not None
    assert vars(record)["thread_id"] == "t1"


async def test_what_came_is_not_repeated(client: httpx.AsyncClient) -> None:
    """A body that is not understood is told by its place and what is expected there."""
    answer = await client.post("/body", json={"number": SECRET})
    assert answer.status_code == 422
    assert SECRET not in answer.text
    assert answer.json()["detail"].startswith("number: ")
    for content in (b"{", b"[1]", b"\xff\xfe", SECRET.encode()):
        answer = await client.post(
            "/body", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert SECRET not in answer.text


async def test_unknown_addresses_and_methods(client: httpx.AsyncClient) -> None:
    """404 and 405 have the same form, and 405 tells the methods of all routes there."""
    for method, path, status in (("GET", "/nothing", 404), ("DELETE", "/body", 405)):
        answer = await client.request(method, path)
        assert answer.status_code == answer.json()["status"] == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.put("/threads/t")).headers["allow"] == "GET, PATCH"
