"""An application on a real socket, in the loop of the test, served as `llmkeep serve` does it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from llmkeep.cli.serve import Server, configuration, listening
from tests.support.scripted_signal import PATIENCE


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[Server]:
    """The server, which has ended behind the block."""
    started = asyncio.Event()
    with listening("127.0.0.1", 0) as listener:
        server = Server(configuration(app), started.set)
        serving = asyncio.create_task(server.serve([listener]))
        await asyncio.wait_for(started.wait(), PATIENCE)
        try:
            yield server
        finally:
            server.should_exit = True
            await serving


def address_of(server: Server) -> str:
    """Where it listens."""
    (listener,) = (each for every in server.servers for each in every.sockets)
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


async def connect(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A plain connection to it, whose receive buffer is as small as the system lets it be."""
    host, port = address_of(server).removeprefix("http://").split(":")
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
    return await asyncio.open_connection(sock=plain)
