"""The guard before the application, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from llmkeep.service.security import add_security, bodies
from llmkeep.settings import ServiceSettings
from tests.support.served import Answer, Served, answer_from, served, written

LIMIT = 4096


def application(**settings: Any) -> FastAPI:
    """One that says how much it was sent."""
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def page() -> dict[str, str]:
        return {"page": "yes"}

    @app.api_route("/api/echo", methods=["GET", "POST", "DELETE"])
    async def echo(request: Request) -> JSONResponse:
        return JSONResponse({"bytes": len(await request.body())})

    add_security(app, ServiceSettings(max_body_bytes=LIMIT, **settings))
    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """The service as it is without settings: for this machine."""
    with served(application()) as server:
        yield server


def code(answer: Answer) -> str:
    """Of a problem, which repeats nothing."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status
    return str(problem["code"])


# --- from where ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost:3000", "LOCALHOST", "[::1]:80", "app.localhost:1"],
)
def test_this_machines_own_names_are_let_in(server: Served, host: str) -> None:
    """With any port: who forwards one chooses it."""
    assert server.ask("GET / HTTP/1.1", f"Host: {host}").status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.org",
        "evil.example.org:8000",
        "localhost.evil.example.org",
        "notlocalhost",
        "127.0.0.1.evil.example.org",
        "127.0.0.1@evil.example.org",
        "192.0.2.7:8000",
        "0.0.0.0",
        "[2001:db8::1]",
        "[::1",
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused(server: Served, host: str) -> None:
    """DNS rebinding: the page's own name stands in Host, whatever address it has now."""
    answer = server.ask("GET /api/echo HTTP/1.1", f"Host: {host}")
    assert (answer.status, code(answer)) == (403, "host_not_allowed")
    assert b"evil" not in answer.body


def test_a_request_has_one_host(server: Served) -> None:
    """Two readers could otherwise see two."""
    two = server.ask("GET / HTTP/1.1", "Host: localhost", "Host: evil.example.org")
    assert two.status in (400, 422)
    assert server.ask("GET / HTTP/1.0").status == 422


def test_names_of_the_settings_are_let_in() -> None:
    """A name, a name with all below it; and beyond this machine any address, as a probe has it."""
    app = application(allowed_hosts=("Chat.example.org", "*.example.net"), host="0.0.0.0")
    with served(app) as server:
        for host, status in {
            "chat.example.org": 200,
            "chat.example.org:8443": 200,
            "chat.example.org.": 200,
            "a.example.net": 200,
            "example.net": 403,
            "aexample.net": 403,
            "example.org": 403,
            "192.0.2.7:8000": 200,
            "[2001:db8::1]": 200,
        }.items():
            assert server.ask("GET / HTTP/1.1", f"Host: {host}").status == status, host


def test_any_name_can_be_let_in() -> None:
    """Where something before the service checks it."""
    with served(application(allowed_hosts=("*",))) as server:
        assert server.ask("GET / HTTP/1.1", "Host: whatever.example.org").status == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://evil.example.org"),
        ("localhost:8000", "http://localhost:3000"),
        ("localhost:8000", "http://127.0.0.1:8000"),
        ("localhost:8000", "http://localhost"),
        ("localhost:8000", "null"),
        ("localhost:8000", ""),
        ("localhost:8000", "file://"),
        ("localhost:8000", "localhost:8000"),
        ("localhost:8000", "http://localhost:8000.evil.example.org"),
        ("localhost:8000", "http://localhost:8000@evil.example.org"),
        ("localhost:8000", "chrome-extension://localhost:8000"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_another_page_is_refused(server: Served, method: str, host: str, origin: str) -> None:
    """`null` included, which is what a sandboxed frame and a local file send."""
    answer = server.ask(f"{method} /api/echo HTTP/1.1", f"Host: {host}", f"Origin: {origin}")
    assert (answer.status, code(answer)) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


def test_two_origins_are_none(server: Served) -> None:
    """One of them would be the wrong one."""
    answer = server.get("/api/echo", Origin=server.address)
    assert answer.status == 200
    twice = server.ask(
        "GET /api/echo HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Origin: {server.address}",
        "Origin: http://evil.example.org",
    )
    assert twice.status == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "https://localhost"),
        ("localhost:443", "https://localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_services_own_page_is_let_in(server: Served, host: str, origin: str) -> None:
    """Behind a proxy that speaks TLS, too."""
    answer = server.ask("POST /api/echo HTTP/1.1", f"Host: {host}", f"Origin: {origin}")
    assert answer.status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_page_loads_as_a_picture_is_refused(server: Served, site: str) -> None:
    """It has no Origin; a link from there has none either, and may be followed."""
    assert server.get("/api/echo", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 403
    assert server.get("/api/echo", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status == 200
    assert server.get("/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status == 200
    assert server.get("/api/echo", Sec_Fetch_Site="same-origin").status == 200
    assert server.get("/api/echo", Sec_Fetch_Site="none").status == 200


def test_a_page_of_the_settings_may_ask_and_read() -> None:
    """It is answered as browsers want it, and no other is."""
    own = "https://app.example.org"
    with served(application(allowed_origins=(own,))) as server:
        preflight = server.ask(
            "OPTIONS /api/echo HTTP/1.1",
            "Host: localhost",
            f"Origin: {own}",
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: authorization,content-type",
        )
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == own
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        answer = server.get("/api/echo", Origin=own)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == own
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
        assert server.get("/api/echo", Origin="https://evil.example.org").status == 403
        assert server.get("/api/echo", Origin="http://app.example.org").status == 403


# --- what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-seq",
        "text/plain; application/json",
        "",
    ],
)
def test_a_body_is_json_or_nothing(server: Served, kind: str) -> None:
    """What a form of another page could send without asking is not JSON."""
    lines = ["POST /api/echo HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"]
    answer = server.ask(*lines, "Content-Length: 2", body=b"{}")
    assert (answer.status, code(answer)) == (415, "not_json")


def test_a_body_of_no_kind_is_refused(server: Served) -> None:
    """Announced or in chunks; and the same for methods that are not POST."""
    for method in ("POST", "DELETE", "GET"):
        head = (f"{method} /api/echo HTTP/1.1", "Host: localhost")
        assert server.ask(*head, "Content-Length: 2", body=b"{}").status == 415
        chunked = server.ask(*head, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")
        assert chunked.status == 415
        assert server.ask(*head).status == 200


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_reaches_the_application_whole(server: Served, kind: str) -> None:
    """In one piece, in chunks, up to the last byte that is allowed."""
    head = ("POST /api/echo HTTP/1.1", "Host: localhost", f"Content-Type: {kind}")
    body = b"x" * LIMIT
    answer = server.ask(*head, f"Content-Length: {LIMIT}", body=body)
    assert json.loads(answer.body) == {"bytes": LIMIT}
    chunks = b"".join(b"400\r\n%b\r\n" % (b"x" * 1024) for _ in range(4)) + b"0\r\n\r\n"
    answer = server.ask(*head, "Transfer-Encoding: chunked", body=chunks)
    assert json.loads(answer.body) == {"bytes": LIMIT}


def test_a_body_that_is_announced_as_too_large_is_not_waited_for(server: Served) -> None:
    """The answer comes before the first byte of it."""
    head = ("POST /api/echo HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    answer = server.ask(*head, f"Content-Length: {LIMIT + 1}")
    assert (answer.status, code(answer)) == (413, "too_large")
    assert b"SERVICE__MAX_BODY_BYTES" in answer.body


def test_a_body_in_chunks_is_refused_when_it_becomes_too_large(server: Served) -> None:
    """The answer comes while it is still being sent: its end is never seen."""
    with server.connect() as connection:
        head = ("POST /api/echo HTTP/1.1", "Host: localhost", "Content-Type: application/json")
        connection.sendall(written(*head, "Transfer-Encoding: chunked"))
        for _ in range(LIMIT // 1024):
            connection.sendall(b"400\r\n%b\r\n" % (b"x" * 1024))
        connection.sendall(b"1\r\nx\r\n")
        answer = answer_from(connection)
    assert (answer.status, code(answer)) == (413, "too_large")
    assert answer.headers["connection"] == "close"


def test_a_body_that_does_not_come_is_not_waited_for_without_end(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends half a request gets an answer, and the connection is given up."""
    monkeypatch.setattr(bodies, "TIMEOUT", 0.05)
    with server.connect() as connection:
        head = ("POST /api/echo HTTP/1.1", "Host: localhost", "Content-Type: application/json")
        connection.sendall(written(*head, "Content-Length: 10") + b"{")
        answer = answer_from(connection)
    assert (answer.status, code(answer)) == (408, "too_slow")
    assert answer.headers["connection"] == "close"


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten() -> None:
    """The application never hears of it."""
    is_asked = False

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal is_asked
        is_asked = True

    guarded = _guarded(app)
    told = iter([{"type": "http.request", "body": b"{", "more_body": True}, _GONE])
    sent: list[Any] = []
    json = (b"content-type", b"application/json")
    await guarded(_scope("POST", json), _receiving(told), _sending(sent))
    assert (is_asked, sent) == (False, [])


# --- what goes out -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/echo", "/api/missing"])
def test_every_answer_keeps_a_browser_strict(server: Served, path: str) -> None:
    """Refusals too."""
    for answer in (server.get(path), server.get(path, Origin="null")):
        policy = answer.headers["content-security-policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "unsafe" not in " ".join(policy)
        assert "http" not in " ".join(policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "referrer-policy" in answer.headers


def test_what_the_api_answers_is_stored_nowhere(server: Served) -> None:
    """Unless a route says otherwise; a page's files say it themselves."""
    assert server.get("/api/echo").headers["cache-control"] == "no-store"
    assert "cache-control" not in server.get("/").headers


async def test_the_api_is_known_under_a_prefix() -> None:
    """Where a proxy has the service under a path of its own."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    scope = {**_scope("GET"), "root_path": "/keep", "path": "/keep/api/x"}
    await _guarded(app)(scope, _receiving(iter([])), _sending(sent))
    assert (b"cache-control", b"no-store") in sent[0]["headers"]


async def test_a_stream_is_sent_on_by_no_coroutine_of_ours() -> None:
    """What the application awaits for a part of a stream is what the server gave."""
    given = object()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        start = send({"type": "http.response.start", "status": 200, "headers": []})
        assert start is given
        part = {"type": "http.response.body", "body": b"x", "more_body": True}
        assert send(part) is given
        assert part.keys() == {"type", "body", "more_body"}

    await _guarded(app)(_scope("GET"), _receiving(iter([])), lambda message: given)


async def test_the_application_sees_the_client_leave() -> None:
    """Behind the body stands the server's own `receive`: that is how a run is cancelled."""
    messages = iter([{"type": "http.request", "body": b"{}", "more_body": False}, _GONE])
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([await receive(), await receive()])

    headers = [(b"content-type", b"application/json")]
    await _guarded(app)(_scope("POST", *headers), _receiving(messages), _sending([]))
    assert [each["type"] for each in seen] == ["http.request", "http.disconnect"]
    assert seen[0]["body"] == b"{}"


def test_a_stream_is_passed_on_as_it_comes() -> None:
    """Its first part is read while the second does not exist yet."""
    app, goes_on = FastAPI(openapi_url=None), asyncio.Event()
    loop: list[asyncio.AbstractEventLoop] = []

    @app.get("/api/stream")
    async def stream() -> StreamingResponse:
        loop.append(asyncio.get_running_loop())

        async def parts() -> Any:
            yield b"one"
            await goes_on.wait()
            yield b"two"

        return StreamingResponse(parts(), media_type="text/event-stream")

    add_security(app, ServiceSettings())
    with served(app) as server, server.connect() as connection:
        connection.sendall(written("GET /api/stream HTTP/1.1", "Host: localhost"))
        came = b""
        while b"one" not in came:
            came += connection.recv(4096)
        assert b"two" not in came
        loop[0].call_soon_threadsafe(goes_on.set)
        while b"two" not in came:
            came += connection.recv(4096)


_GONE = {"type": "http.disconnect"}


def _guarded(app: Any) -> Any:
    from llmkeep.service.security import Guard

    return Guard(app, settings=ServiceSettings(max_body_bytes=LIMIT))


def _scope(method: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    host = (b"host", b"localhost")
    return {"type": "http", "method": method, "path": "/api/x", "headers": [host, *headers]}


def _receiving(messages: Iterator[Any]) -> Any:
    async def receive() -> Any:
        return next(messages)

    return receive


def _sending(sent: list[Any]) -> Any:
    async def send(message: Any) -> None:
        sent.append(message)

    return send
