"""Tools for the agent of a service under test, and the doors at which they wait for the test.

The tools run in the service's process (`AGENTS__TOOLS`), the doors are in the test's: a tool that
stands at a door holds a connection open, so the test knows when one has come, and when it has left.

    with Doors() as doors:
        Service(..., **doors.variables)
        ... # the model calls wait_at(door="red")
        doors["red"].reached.wait()
        doors["red"].opened.set()
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections import defaultdict
from typing import Self

from langchain_core.tools import tool

from tests.support.scripted_signal import PATIENCE, Signal

_PORT = "LLMKEEP_TEST_DOORS"


@tool
async def wait_at(door: str) -> str:
    """Wait at a door until it is opened."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ[_PORT]))
    try:
        writer.write(f"{door}\n".encode())
        await reader.readline()
    finally:
        writer.close()
    return f"went through {door}"


@tool
def wait_blocking(door: str) -> str:
    """Wait at a door until it is opened, on a thread."""
    with socket.create_connection(("127.0.0.1", int(os.environ[_PORT]))) as connection:
        connection.sendall(f"{door}\n".encode())
        connection.recv(1)
    return f"went through {door}"


@tool
def break_down(reason: str) -> str:
    """Fail."""
    raise RuntimeError(reason)


@tool
def ask_first(text: str) -> str:
    """Say it, once a person has said yes."""
    return f"said {text}"


#: What a service gets so that its agent has them; `ask_first` needs approval.
VARIABLES = {
    "AGENTS__TOOLS": ",".join(
        f"{__name__}:{each}" for each in ("wait_at", "wait_blocking", "break_down", "ask_first")
    ),
    "AGENTS__APPROVE_TOOLS": "ask_first",
}


class Door:
    """One place to wait at; each signal is about whoever came first."""

    def __init__(self) -> None:
        self.reached = Signal()
        self.opened = Signal()
        #: Whoever waited has gone, let through or not.
        self.left = Signal()


class Doors:
    """All doors by name, on a thread and a loop of their own; live as long as their block."""

    def __init__(self) -> None:
        self._doors: defaultdict[str, Door] = defaultdict(Door)
        self._lock = threading.Lock()
        self._started, self._done = Signal(), Signal()
        self._port = 0
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="doors", daemon=True
        )

    def __getitem__(self, name: str) -> Door:
        with self._lock:
            return self._doors[name]

    @property
    def variables(self) -> dict[str, str]:
        """What the service must be started with."""
        return {**VARIABLES, _PORT: str(self._port)}

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the doors did not close"

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        async with server:
            await self._done.come(24 * 3600)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door = self[(await reader.readline()).decode().strip()]
        door.reached.set()
        opening = asyncio.ensure_future(door.opened.come(24 * 3600))
        leaving = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait({opening, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                writer.write(b"\n")
                await leaving
        except ConnectionError:
            pass
        finally:
            opening.cancel()
            leaving.cancel()
            door.left.set()
            writer.close()
