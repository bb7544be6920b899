"""One stand-in per test run, and the ways in which SDKs use a shared client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from llmkeep.transports import async_client
from tests.support.sockets import connections_to
from tests.support.standin import StandIn

#: How long, in seconds, a test waits for what must happen. Nobody waits so long if it happens.
PATIENCE = 20.0

QUESTION = {"model": "any-model", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="session")
def _standin() -> Iterator[StandIn]:
    with StandIn() as standin:
        yield standin


@pytest.fixture
def standin(_standin: StandIn) -> Iterator[StandIn]:
    """The stand-in over HTTP/1.1, with nothing seen and nothing scripted."""
    _standin.reset()
    yield _standin
    _standin.release()


@pytest.fixture(scope="session")
def _http2_standin() -> Iterator[StandIn]:
    with StandIn(http2=True) as standin:
        yield standin


@pytest.fixture
def http2_standin(_http2_standin: StandIn) -> StandIn:
    """The stand-in that speaks HTTP/2 as well."""
    _http2_standin.reset()
    return _http2_standin


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """`asyncio.run` on either kind of loop, with an end."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    async def in_time(coroutine: Any) -> Any:
        async with asyncio.timeout(2 * PATIENCE):
            return await coroutine

    def run(coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(in_time(coroutine))

    return run


@pytest.fixture(params=["httpx2", "httpx"])
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def connections(standin: StandIn) -> Callable[[], int]:
    """How many connections this process has open to the stand-in."""
    return lambda: connections_to(standin.port)


@pytest.fixture
def shared(standin: StandIn, library: str) -> Iterator[Any]:
    """The client under test, closed after the test."""
    client = async_client(library=library, verify=standin.trust())
    yield client
    asyncio.run(client.aclose())


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def plain(standin: StandIn, client: Any) -> None:
    response = await client.get(f"{standin.url}/plain")
    assert response.json() == {"plain": True}


async def openai(standin: StandIn, client: Any) -> None:
    from openai import AsyncOpenAI

    sdk = AsyncOpenAI(base_url=standin.base_url("openai"), api_key="key", http_client=client)
    answer = await sdk.chat.completions.create(**QUESTION)  # type: ignore[call-overload]
    assert answer.choices[0].message.content


async def openai_stream(standin: StandIn, client: Any) -> None:
    from openai import AsyncOpenAI

    sdk = AsyncOpenAI(base_url=standin.base_url("openai"), api_key="key", http_client=client)
    stream = await sdk.chat.completions.create(**QUESTION, stream=True)  # type: ignore[call-overload]
    assert [chunk async for chunk in stream]


async def anthropic(standin: StandIn, client: Any) -> None:
    from anthropic import AsyncAnthropic

    sdk = AsyncAnthropic(base_url=standin.base_url("anthropic"), api_key="key", http_client=client)
    answer = await sdk.messages.create(**QUESTION, max_tokens=10)  # type: ignore[call-overload]
    assert answer.content


async def pydantic_ai(standin: StandIn, client: Any) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(
        base_url=standin.base_url("openai"), api_key="key", http_client=client
    )
    result = await Agent(OpenAIChatModel("any-model", provider=provider)).run("hello")
    assert result.output


#: Every way of asking: what it is called, the HTTP library, and a call that makes one request.
ASKS = [
    pytest.param("httpx2", plain, id="httpx2"),
    pytest.param("httpx", plain, id="httpx"),
    pytest.param("httpx2", openai, id="openai-httpx2"),
    pytest.param("httpx", openai, id="openai-httpx"),
    pytest.param("httpx2", openai_stream, id="openai-stream"),
    pytest.param("httpx2", anthropic, id="anthropic"),
    pytest.param("httpx2", pydantic_ai, id="pydantic-ai"),
]
