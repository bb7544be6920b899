"""The log and the metrics of requests, over a real socket."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llmkeep.service.api.problems import add_problems
from llmkeep.service.observability import Metrics, add_observability, configure_logging
from llmkeep.service.records import Principal
from llmkeep.service.security import add_security
from llmkeep.service.users import make_sign_in, signed_in
from llmkeep.settings import ServiceSettings
from tests.support.served import PATIENCE, Served, served

ANNA = "anna-anna-anna-anna"


class Told(io.StringIO):
    """A log, of which one can wait for lines: a request's comes after its answer."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def write(self, text: str) -> int:
        with self._changed:
            self._changed.notify_all()
            return super().write(text)

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """Lines of ours; waits until there are as many as named, which they have to be."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._own()) >= len(events), PATIENCE)
            told = self._own()
        assert [line["event"] for line in told] == list(events)
        return told

    def _own(self) -> list[dict[str, Any]]:
        told = [json.loads(line) for line in self.getvalue().splitlines()]
        return [line for line in told if line["logger"].startswith("llmkeep.")]


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    """The page's files, which have no routes."""
    if scope["path"] != "/theme.js":
        raise HTTPException(404)
    await Response()(scope, receive, send)


class Watching:
    """An application with all that the service has around it."""

    def __init__(self) -> None:
        self.settings = ServiceSettings.model_validate(
            {"sign_in": "token", "tokens": {ANNA: {"user": "anna"}}}
        )
        self.metrics = Metrics()
        self.log = Told()
        self.app = FastAPI()
        self.app.state.sign_in = make_sign_in(self.settings)

        @self.app.get("/api/threads/{thread_id}")
        async def thread(
            thread_id: str, who: Annotated[Principal, Depends(signed_in)]
        ) -> dict[str, str]:
            logging.getLogger("llmkeep.service.test").info("within")
            return {"thread": thread_id}

        @self.app.get("/api/broken")
        async def broken() -> None:
            raise RuntimeError("broken")

        @self.app.get("/api/stream")
        async def stream() -> StreamingResponse:
            return StreamingResponse(iter([b"one", b"two"]))

        @self.app.get("/healthz")
        async def health() -> dict[str, str]:
            return {}

        self.app.router.default = _page
        add_problems(self.app)
        add_security(self.app, self.settings)
        add_observability(self.app, self.metrics)

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        text = self.metrics.exposition()[0].decode()
        return {
            tuple(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.fixture
def server(watching: Watching) -> Iterator[Served]:
    configure_logging(watching.settings, watching.log)
    with served(watching.app) as server:
        yield server


def test_a_request_is_told_by_its_route_without_ids_and_query(watching: Watching, server: Served):
    """With its user, who is also in all that is logged on the way."""
    path = "/api/threads/secret-thread?token=secret-query"
    assert server.get(path, Authorization=f"Bearer {ANNA}").status == 200
    within, request = watching.log.lines("within", "request")
    assert within["user"] == "anna"
    seconds = request.pop("seconds")
    del request["time"]
    assert request == {
        "event": "request",
        "level": "info",
        "logger": "llmkeep.service.requests",
        "method": "GET",
        "route": "/api/threads/{thread_id}",
        "status": 200,
        "user": "anna",
    }
    assert 0 <= seconds < 60
    assert "secret" not in watching.log.getvalue()


def test_a_user_is_not_told_of_the_next_request(watching: Watching, server: Served):
    """On the same connection, too."""
    with server.connect() as connection:
        for line in (f"Authorization: Bearer {ANNA}", "X: y"):
            connection.sendall(
                f"GET /api/threads/t HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n".encode()
            )
            connection.recv(65536)
    told = watching.log.lines("within", "request", "request")
    assert [line.get("user") for line in told] == ["anna", "anna", None]


def test_refusals_and_failures_are_told_too(watching: Watching, server: Served):
    """By their status; what the guard refuses has no route."""
    server.get("/api/threads/t")
    server.get("/api/nothing/there")
    server.get("/api/broken")
    server.ask("GET /api/stream HTTP/1.1", "Host: evil.example.org")
    server.get("/api/stream")
    told = [
        line
        for line in watching.log.lines(
            *("request", "request", "a request failed", "request", "request", "request")
        )
        if line["event"] == "request"
    ]
    assert [(line["route"], line["status"]) for line in told] == [
        ("/api/threads/{thread_id}", 401),
        ("(none)", 404),
        ("/api/broken", 500),
        ("(none)", 403),
        ("/api/stream", 200),
    ]
    assert watching.samples("llmkeep_http_requests_total") == {
        ("GET", "/api/threads/{thread_id}", "401"): 1,
        ("GET", "(none)", "404"): 1,
        ("GET", "/api/broken", "500"): 1,
        ("GET", "(none)", "403"): 1,
        ("GET", "/api/stream", "200"): 1,
    }


def test_probes_and_the_pages_files_are_not_told_each_time(watching: Watching, server: Served):
    """They would hide the others; a failure is told."""
    server.get("/healthz")
    server.get("/theme.js")
    server.get("/missing.js")
    server.get("/api/stream")
    told = watching.log.lines("request", "request")
    assert [line["route"] for line in told] == ["(none)", "/api/stream"]
    assert watching.samples("llmkeep_http_requests_total") == {
        ("GET", "/healthz", "200"): 1,
        ("GET", "(none)", "200"): 1,
        ("GET", "(none)", "404"): 1,
        ("GET", "/api/stream", "200"): 1,
    }


def test_labels_are_bounded_whatever_is_sent(watching: Watching, server: Served):
    """Addresses and methods that somebody makes up are one."""
    for number in range(50):
        server.get(f"/made/up/{number}")
        server.get(f"/api/threads/{number}", Authorization=f"Bearer {ANNA}")
    for method in ("PROPFIND", "SEARCH", "MKCOL", "TRACE", "PUT"):
        server.ask(f"{method} / HTTP/1.1", "Host: localhost")
    assert set(watching.samples("llmkeep_http_requests_total")) == {
        ("GET", "(none)", "404"),
        ("GET", "/api/threads/{thread_id}", "200"),
        ("other", "(none)", "404"),
    }
    text = watching.metrics.exposition()[0].decode()
    assert "anna" not in text
    assert "PROPFIND" not in text
