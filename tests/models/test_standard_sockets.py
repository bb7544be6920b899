"""The sockets of a handle's clients are set up as those that the SDK's own clients open."""

from __future__ import annotations

import socket
from typing import Any

import anthropic

from llmkeep.models.providers import find

OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
]


def options_of(client: Any, url: str) -> list[int]:
    """What the kernel says of the socket that a request went over."""
    with client.stream("GET", f"{url}/plain") as response:
        connected = response.extensions["network_stream"].get_extra_info("socket")
        return [connected.getsockopt(*option) for option in OPTIONS]


def test_a_silent_peer_is_noticed_as_the_anthropic_sdk_does(standin):
    """Without these a connection that a router forgot is waited on for ten minutes."""
    with anthropic.DefaultHttpxClient() as default:
        expected = options_of(default, standin.url)
    adapter, model = find("anthropic:claude-haiku-4-5")
    ours, _ = adapter.construct({"model": model}).owned
    with ours:
        assert options_of(ours, standin.url) == expected
    assert expected[0] == 1


async def test_so_is_it_on_a_loop(standin):
    """The asynchronous client's sockets are set up the same."""
    async with anthropic.DefaultAsyncHttpxClient() as default:
        expected = await options_on_a_loop(default, standin.url)
    adapter, model = find("anthropic:claude-haiku-4-5")
    ours, ours_async = adapter.construct({"model": model}).owned
    ours.close()
    async with ours_async:
        assert await options_on_a_loop(ours_async, standin.url) == expected


async def options_on_a_loop(client: Any, url: str) -> list[int]:
    async with client.stream("GET", f"{url}/plain") as response:
        connected = response.extensions["network_stream"].get_extra_info("socket")
        return [connected.getsockopt(*option) for option in OPTIONS]
