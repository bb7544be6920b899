"""What the SDKs document of a client given to them, on their own default client and on ours.

Each scene runs twice over real sockets and has to come out the same: what the caller gets, and what
the server is sent. The SDKs' own tests of this run by a command: `sdk_suites`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import anthropic
import openai
import pytest

from llmkeep.transports import async_client, client
from tests.support.sockets import connections_to
from tests.transports.conftest import PATIENCE, QUESTION
from tests.transports.sdk_server import Server

Scene = Callable[["Stage"], Coroutine[Any, Any, Any]]


class Stage:
    """An SDK on one HTTP client, before one server, in either colour."""

    def __init__(self, sdk: str, colour: str, server: Server, *, ours: bool) -> None:
        self.module: Any = {"openai": openai, "anthropic": anthropic}[sdk]
        self.name, self.colour, self.server, self.ours = sdk, colour, server, ours

    def http_client(self, **options: Any) -> Any:
        """The SDK's own default client, or ours; where ours says no time limit, the SDK's holds."""
        if not self.ours:
            prefix = "Default" if self.colour == "sync" else "DefaultAsync"
            return getattr(self.module, f"{prefix}HttpxClient")(**options)
        return (client if self.colour == "sync" else async_client)(
            **{"library": "httpx2", "follow_redirects": True, **options}
        )

    @contextlib.asynccontextmanager
    async def sdk(self, http_client: Any = None, **options: Any) -> AsyncIterator[Any]:
        """The SDK's client, entered and left as its own context manager."""
        prefix = "" if self.colour == "sync" else "Async"
        base = self.server.url + ("/v1" if self.name == "openai" else "")
        kind = getattr(self.module, prefix + {"openai": "OpenAI"}.get(self.name, "Anthropic"))
        given = {"base_url": base, "api_key": "key", "max_retries": 0, **options}
        async with entered(kind(http_client=http_client or self.http_client(), **given)) as made:
            yield made

    def messages(self, sdk: Any) -> Any:
        """The resource that answers."""
        return sdk.chat.completions if self.name == "openai" else sdk.messages

    async def ask(self, sdk: Any, scene: str = "answer", **options: Any) -> Any:
        """One call."""
        return await settled(self.messages(sdk).create(**self.question(scene), **options))

    def question(self, scene: str) -> dict[str, Any]:
        """The arguments of a call, the server's part in them."""
        more = {} if self.name == "openai" else {"max_tokens": 10}
        return {**QUESTION, **more, "extra_headers": {"x-scene": scene}}

    def seen(self) -> list[tuple[Any, ...]]:
        """What arrived, without what differs from call to call."""
        return [
            (each.method, each.path, steady(each.headers), unmarked(each.body))
            for each in self.server.seen
        ]


async def settled(outcome: Any) -> Any:
    """The value, of either colour."""
    return await outcome if inspect.isawaitable(outcome) else outcome


@contextlib.asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """A context manager of either colour."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


async def parts(stream: Any) -> AsyncIterator[Any]:
    """An iterator of either colour."""
    if hasattr(stream, "__aiter__"):
        async for each in stream:
            yield each
    else:
        for each in stream:
            yield each


def steady(headers: dict[str, str]) -> dict[str, str]:
    changing = {"host", "idempotency-key", "x-stainless-idempotency-key", "content-type"}
    return {name: value for name, value in headers.items() if name not in changing}


def unmarked(body: bytes) -> bytes:
    """A form without the mark between its parts, which is drawn for each."""
    return re.sub(rb"--[0-9a-f]{32}", b"--mark", body)


async def raised(call: Any) -> tuple[str, str, str]:
    """What a call raises: its type, its text and the type of its cause."""
    with pytest.raises(Exception) as caught:
        await call
    error = caught.value
    return type(error).__name__, str(error), type(error.__cause__).__name__


# --- the scenes -----------------------------------------------------------------------------------


async def answers(stage: Stage) -> Any:
    """Calls one after the other share a connection."""
    async with stage.sdk() as sdk:
        told = [(await stage.ask(sdk)).model_dump() for _ in range(2)]
        return told, len(stage.server.connections)


async def time_limit_of_a_call(stage: Stage) -> Any:
    """A call's own time limit goes before the client's, and leaves no connection open."""
    async with stage.sdk() as sdk:
        told = await raised(stage.ask(sdk, "stall", timeout=0.1))
        return told, connections_to(stage.server.server_address[1])


async def retries(stage: Stage) -> Any:
    """A failed call is sent again as often as was said, over the same connection."""
    async with stage.sdk(max_retries=2) as sdk:
        told = (await stage.ask(sdk, "fail once")).model_dump()
        return told, await raised(stage.ask(sdk, "fail")), len(stage.server.connections)


async def options_of_a_copy(stage: Stage) -> Any:
    """`with_options` and `copy` use the same HTTP client, and close it."""
    async with stage.sdk(default_headers={"x-mine": "1"}, default_query={"q": "1"}) as sdk:
        other = sdk.with_options(timeout=5, max_retries=1, default_headers={"x-more": "2"})
        told = (await stage.ask(other, "fail once")).model_dump()
        copied = sdk.copy(base_url=stage.server.url + "/elsewhere/v1")
        if stage.name == "openai":
            told = told, (await stage.ask(copied)).model_dump()
        await settled(copied.close())
        return told, sdk.is_closed(), other.is_closed(), len(stage.server.connections)


async def streams(stage: Stage) -> Any:
    """A stream read to its end gives its connection back."""
    async with stage.sdk() as sdk:
        told = []
        for _ in range(2):
            stream = await stage.ask(sdk, "stream", stream=True)
            told.append([each.model_dump() async for each in parts(stream)])
        return told, len(stage.server.connections)


async def stream_closed_in_the_middle(stage: Stage) -> Any:
    """Closing a stream closes its connection: the server notices."""
    async with stage.sdk() as sdk:
        async with entered(await stage.ask(sdk, "endless", stream=True)) as stream:
            first = await anext(parts(stream))
        assert stage.server.gone.acquire(timeout=PATIENCE)
        return first.model_dump(), connections_to(stage.server.server_address[1])


async def raw_response(stage: Stage) -> Any:
    """`with_raw_response` has the status, the headers and the parsed answer."""
    async with stage.sdk() as sdk:
        raw = await settled(
            stage.messages(sdk).with_raw_response.create(**stage.question("answer"))
        )
        parsed = await settled(raw.parse())
        return raw.status_code, raw.headers["content-type"], parsed.model_dump(), raw.http_version


async def streamed_response(stage: Stage) -> Any:
    """`with_streaming_response` reads the body as it comes, and closes what was left of it."""
    async with stage.sdk() as sdk:
        resource = stage.messages(sdk).with_streaming_response
        async with entered(resource.create(**stage.question("endless"))) as response:
            line = await anext(parts(response.iter_lines()))
        assert stage.server.gone.acquire(timeout=PATIENCE)
        return line, response.is_closed, connections_to(stage.server.server_address[1])


async def upload(stage: Stage) -> Any:
    """A file goes up as a form."""
    async with stage.sdk() as sdk:
        file = ("a.txt", b"abc", "text/plain")
        if stage.name == "openai":
            return (await settled(sdk.files.create(file=file, purpose="assistants"))).id
        return (await settled(sdk.beta.files.upload(file=file))).id


async def redirects(stage: Stage) -> Any:
    """A redirect is followed with method and body."""
    async with stage.sdk() as sdk:
        return (await stage.ask(sdk, "redirect")).model_dump()


async def redirects_not_followed(stage: Stage) -> Any:
    """A client that follows none gives the redirect to the SDK, which raises."""
    async with stage.sdk(stage.http_client(follow_redirects=False)) as sdk:
        return await raised(stage.ask(sdk, "redirect"))


async def event_hooks(stage: Stage) -> Any:
    """The client's hooks see each request and response, retries and redirects included."""
    events: list[Any] = []

    def sent(request: Any) -> None:
        events.append((request.method, request.url.path))

    def came(response: Any) -> None:
        events.append(response.status_code)

    async def asent(request: Any) -> None:
        sent(request)

    async def acame(response: Any) -> None:
        came(response)

    hooks = (sent, came) if stage.colour == "sync" else (asent, acame)
    made = stage.http_client(event_hooks={"request": [hooks[0]], "response": [hooks[1]]})
    async with stage.sdk(made, max_retries=1) as sdk:
        await stage.ask(sdk, "fail once")
        await stage.ask(sdk, "redirect")
    return events


async def closed(stage: Stage) -> Any:
    """A closed client says so, closes twice in peace, and refuses."""
    async with stage.sdk() as sdk:
        await stage.ask(sdk)
        open_then = sdk.is_closed(), connections_to(stage.server.server_address[1])
    await settled(sdk.close())
    told = await raised(stage.ask(sdk))
    return open_then, sdk.is_closed(), told, connections_to(stage.server.server_address[1])


async def nobody_there(stage: Stage) -> Any:
    """Where nobody listens, the SDK raises its own error, over the library's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with stage.sdk(base_url=f"http://127.0.0.1:{port}/v1") as sdk:
        return await raised(stage.ask(sdk))


SCENES: tuple[Scene, ...] = (
    *(answers, time_limit_of_a_call, retries, options_of_a_copy, streams),
    *(stream_closed_in_the_middle, raw_response, streamed_response, upload, redirects),
    *(redirects_not_followed, event_hooks, closed, nobody_there),
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_it_comes_out_as_on_the_default_client(sdk: str, colour: str, scene: Scene) -> None:
    """What the caller gets and the server is sent does not depend on whose client it is."""
    outcomes = []
    for ours in (False, True):
        with Server() as server:
            stage = Stage(sdk, colour, server, ours=ours)
            told = asyncio.run(scene(stage))
            outcomes.append((told, stage.seen(), connections_to(server.server_address[1])))
    default, kept = outcomes
    assert kept == default
    assert kept[2] == 0
