"""HTTP/2 over one connection per loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmkeep.transports import async_client, client
from tests.support.sockets import connections_to
from tests.support.standin import StandIn
from tests.transports.conftest import openai_stream, plain


@pytest.fixture
def shared(http2_standin: StandIn, library: str) -> Iterator[Any]:
    made = async_client(library=library, verify=http2_standin.trust(), http2=True)
    yield made
    asyncio.run(made.aclose())


def test_i5_loops_multiplex_over_their_own_connection(
    run: Callable[[Any], Any], http2_standin: StandIn, shared: Any
) -> None:
    """Concurrent requests of a loop share its connection; it ends with the loop."""

    async def together() -> None:
        await asyncio.gather(*(plain(http2_standin, shared) for _ in range(5)))
        await openai_stream(http2_standin, shared)

    for done in range(1, 4):
        run(together())

        assert connections_to(http2_standin.port) == 0
        assert http2_standin.connections == done
    assert {request.http_version for request in http2_standin.requests} == {"2"}
    assert len(http2_standin.requests) == 18


def test_synchronous_http2(http2_standin: StandIn, library: str) -> None:
    """`client(http2=True)` speaks it too."""
    with client(library=library, verify=http2_standin.trust(), http2=True) as made:
        assert made.get(f"{http2_standin.url}/plain").http_version == "HTTP/2"
