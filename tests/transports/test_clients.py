"""The clients are the libraries' own, with all their options; wrong ones are told at once."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from llmkeep.transports import (
    AsyncLoopTransport,
    ForkSafeTransport,
    TransportOptions,
    async_client,
    client,
)
from tests.support.sockets import connections_to
from tests.support.standin import StandIn
from tests.transports.conftest import PATIENCE, QUESTION, plain


def test_real_clients_of_either_library() -> None:
    """The default is httpx2, which the SDKs of today insist on."""
    assert type(async_client()) is httpx2.AsyncClient
    assert type(client()) is httpx2.Client
    assert type(async_client(library="httpx")) is httpx.AsyncClient
    assert type(client(library="httpx")) is httpx.Client


def test_options_of_the_client_arrive(library: str) -> None:
    """Everything that is not the transport's goes to the library's client as it is."""
    made = async_client(
        library=library,
        base_url="https://example.com/v1",
        headers={"x-one": "1"},
        timeout=7.0,
        follow_redirects=True,
        trust_env=False,
    )

    assert str(made.base_url) == "https://example.com/v1/"
    assert made.headers["x-one"] == "1"
    assert made.timeout.read == 7.0
    assert made.follow_redirects
    assert not made.trust_env


def test_options_are_those_of_the_library(library: str) -> None:
    """Our list of transport options names every one that the library has, and no other."""
    module: Any = {"httpx": httpx, "httpx2": httpx2}[library]
    for kind in (module.AsyncHTTPTransport, module.HTTPTransport):
        known = inspect.signature(kind).parameters
        assert TransportOptions.__annotations__.keys() == known.keys()


def test_options_of_the_transport_arrive(
    standin: StandIn, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pool is made with the options as they were given."""
    module: Any = {"httpx": httpx, "httpx2": httpx2}[library]
    made: list[dict[str, Any]] = []

    class Recording(module.AsyncHTTPTransport):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            made.append(options)
            super().__init__(**options)

    monkeypatch.setattr(module, "AsyncHTTPTransport", Recording)
    context = standin.trust()
    options = {
        "http1": True,
        "http2": True,
        "limits": module.Limits(max_connections=3),
        "local_address": "127.0.0.1",
        "retries": 2,
        "uds": None,
    }
    options_of_sockets = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) for _ in range(1))

    async def ask() -> None:
        await plain(standin, shared)

    shared = async_client(
        library=library, verify=context, socket_options=options_of_sockets, **options
    )
    asyncio.run(ask())
    asyncio.run(ask())
    asyncio.run(shared.aclose())

    expected = {
        **options,
        "verify": context,
        "socket_options": [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
        "proxy": None,
    }
    assert made == [expected, expected]


def test_unix_socket(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`uds` leads to a server without a port, whatever proxies the environment names."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    address = str(tmp_path / "socket")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> str:
        async with (
            await asyncio.start_unix_server(answer, address),
            async_client(library=library, uds=address) as made,
        ):
            text: str = (await made.get("http://localhost/")).text
            return text

    assert asyncio.run(main()) == "hi"


@pytest.mark.parametrize("make", [async_client, client])
def test_wrong_options_are_told_at_once(make: Callable[..., Any], library: str) -> None:
    """Each mistake is one line that names what to change."""
    module: Any = {"httpx": httpx, "httpx2": httpx2}[library]
    with pytest.raises(TypeError, match="'nonsense'"):
        make(library=library, nonsense=1)
    with pytest.raises(TypeError, match=r"makes its transport: give it retries="):
        make(library=library, transport=module.AsyncHTTPTransport(verify=False))
    with pytest.raises(TypeError, match=r"mounted at 'all://one' cannot be shared"):
        make(library=library, mounts={"all://one": module.HTTPTransport(verify=False)})
    with pytest.raises(ValueError, match=r"library must be one of \('httpx2', 'httpx'\) or None"):
        make(library="requests")
    with pytest.raises(ValueError, match="scheme"):
        make(library=library, proxy="ftp://localhost")


@pytest.mark.parametrize("kind", [AsyncLoopTransport, ForkSafeTransport])
def test_transport_knows_its_options(kind: Any) -> None:
    """The transports refuse what the library's do not know."""
    with pytest.raises(TypeError, match="unknown transport options: nonsense"):
        kind(nonsense=1)


def test_missing_library_is_told() -> None:
    """Without httpx2 the other is taken; without both the line says what to install."""
    program = (
        "import sys\n"
        "from llmkeep.transports import async_client\n"
        "sys.modules['httpx2'] = None\n"
        "print(type(async_client(library='httpx')).__module__)\n"
        "try: async_client(library='httpx2')\n"
        "except ImportError as error: print(error)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert output == ["httpx", "llmkeep.transports needs httpx2: pip install httpx2"]


@pytest.mark.parametrize("kind", [AsyncLoopTransport, ForkSafeTransport])
def test_i12_transport_shows_no_secret_and_is_not_copied(kind: Any) -> None:
    """Neither repr, nor pickle, nor a copy carries the proxy's password."""
    transport = kind(proxy="http://user:s3cret@localhost:1")

    assert "s3cret" not in repr(transport)
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be copied or pickled") as refused:
            duplicate(transport)
        assert "s3cret" not in str(refused.value)


def test_transport_in_a_client_of_the_sdk(standin: StandIn) -> None:
    """The public transport serves where an SDK's own client keeps its own defaults."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    sdk = AsyncOpenAI(
        base_url=standin.base_url("openai"),
        api_key="key",
        http_client=DefaultAsyncHttpxClient(
            transport=AsyncLoopTransport(verify=standin.trust())  # the SDK's limits are wider
        ),
    )

    async def ask() -> None:
        await sdk.chat.completions.create(**QUESTION)  # type: ignore[call-overload]

    for _ in range(3):
        asyncio.run(ask())
    asyncio.run(sdk.close())

    assert len(standin.requests) == standin.connections == 3


# --- synchronous ---------------------------------------------------------------------------------


def test_synchronous_sdks_share_a_client(standin: StandIn, library: str) -> None:
    """OpenAI's and, over httpx2, Anthropic's synchronous clients take ours."""
    from anthropic import Anthropic
    from openai import OpenAI

    with client(library=library, verify=standin.trust()) as made:
        sdk = OpenAI(base_url=standin.base_url("openai"), api_key="key", http_client=made)
        assert sdk.chat.completions.create(**QUESTION).choices  # type: ignore[call-overload]
        assert list(sdk.chat.completions.create(**QUESTION, stream=True))  # type: ignore[call-overload]
        if library == "httpx2":
            other = Anthropic(
                base_url=standin.base_url("anthropic"), api_key="key", http_client=made
            )
            assert other.messages.create(**QUESTION, max_tokens=10).content  # type: ignore[call-overload]

    assert connections_to(standin.port) == 0


def test_synchronous_transport_closes_and_refuses(standin: StandIn, library: str) -> None:
    """After `close()` nothing is open, and the transport says what to do."""
    made = client(library=library, verify=standin.trust())
    made.get(f"{standin.url}/plain")
    assert "0 open>" in repr(made._transport)
    assert connections_to(standin.port) == 1

    made.close()

    assert connections_to(standin.port) == 0
    with pytest.raises(RuntimeError, match="make another client"):
        made._transport.handle_request(made.build_request("GET", f"{standin.url}/plain"))


def test_synchronous_body_left_in_the_middle(standin: StandIn, library: str) -> None:
    """A stream that is left early closes its connection."""
    with client(library=library, verify=standin.trust()) as made:
        with made.stream("GET", f"{standin.url}/drip") as response:
            assert next(response.iter_raw()) == b"first"
        assert standin.gone.acquire(timeout=PATIENCE)
        assert connections_to(standin.port) == 0
