"""HTTP clients, watched: which loop opened one, where it was made and used, whether it was closed.

What is watched is the transport: whatever SDK is in front, its requests go through one. For the
length of a test the public methods of httpx's and httpx2's own transports are wrapped (those of
llmkeep's as well, to see whether they are closed). Not here: what a test is told, and when.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, final

import pytest

from llmkeep.core.fork import on_fork_in_child
from llmkeep.transports import AsyncLoopTransport, ForkSafeTransport
from llmkeep.transports.libraries import LIBRARIES

from .places import Place, modules_here, place_here

#: Makes the pools that llmkeep's own transports look after.
_POOL_MAKER: Final = "llmkeep.transports.recipe"


class Client:
    """What is known of one transport; lives as long as it, or as the test that made it."""

    def __init__(self, transport: Any, made: Place | None) -> None:
        self.kind: Final = (
            f"{type(transport).__module__.partition('.')[0]}.{type(transport).__name__}"
        )
        #: None if that happened where nobody watched.
        self.made: Final = made
        self.opened: Place | None = None
        self.closed = False
        self._transport: Final = weakref.ref(transport)
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
        self._requests = 0
        self._connected = False

    @property
    def is_leaked(self) -> bool:
        """Whether it has opened something, and is gone without having been closed."""
        return self._connected and not self.closed and self._transport() is None

    @property
    def may_be_leaked(self) -> bool:
        """Whether it would be leaked if nobody held it any more."""
        return self._connected and not self.closed and self._transport() is not None

    @property
    def loop_state(self) -> str:
        """What has become of the loop that opened it."""
        loop = None if self._loop is None else self._loop()
        if loop is None or loop.is_closed():
            return "a loop that has been closed since"
        return "a loop that is running" if loop.is_running() else "a loop that is not running"

    def begin(self, loop: asyncio.AbstractEventLoop | None, where: Place) -> bool:
        """A request begins; whether it may: on the loop that opened what there is."""
        with known.lock:
            self._requests += 1
            self.opened = self.opened or where
            if loop is not None and self._loop is None:
                self._loop = weakref.ref(loop)
            return not self.is_foreign_to(loop)

    def end(self, *, connected: bool) -> None:
        """A request has got its response, or failed; if nothing was opened, no loop owns it."""
        with known.lock:
            self._requests -= 1
            self._connected = self._connected or connected
            if not self._connected and not self._requests:
                self._loop = self.opened = None

    def is_foreign_to(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether something is open that another loop opened."""
        return loop is not None and self._loop is not None and self._loop() is not loop

    def close(self) -> None:
        """It was closed: nothing is open, and nobody owns it."""
        self.closed = True
        self._connected = False
        self._loop = self.opened = None


@final
class _Known:
    """All transports that were seen, in this test or an earlier one."""

    def __init__(self) -> None:
        self._clients: Final[weakref.WeakKeyDictionary[Any, Client]] = weakref.WeakKeyDictionary()
        self._unlock()
        on_fork_in_child(self, "_unlock")

    def _unlock(self) -> None:
        self.lock = threading.RLock()  # the collector may come in between

    def add(self, transport: Any, made: Place | None) -> Client:
        client = Client(transport, made)
        with self.lock:
            self._clients[transport] = client
        return client

    def of(self, transport: Any) -> Client:
        with self.lock:
            return self._clients.get(transport) or self.add(transport, None)


known: Final = _Known()


class ClientWatch:
    """Watches every HTTP transport from `begin` to `end`; lives as long as a test.

    `on_misuse` is called with a client, and the line that uses it on a loop that did not open it.
    """

    def __init__(self, on_misuse: Callable[[Client, Place, str], object]) -> None:
        #: The clients made here.
        self.made: Final[list[Client]] = []
        self._on_misuse: Final = on_misuse
        self._patches: Final = pytest.MonkeyPatch()

    def begin(self) -> None:
        """Wrap the transports' public methods."""
        for library in map(import_module, filter(find_spec, LIBRARIES)):
            self._watch_asynchronous(library.AsyncHTTPTransport, self._guarded)
            self._watch_synchronous(library.HTTPTransport)
        # Its loops' pools are transports of the library: there the guard sees what it does.
        self._watch_asynchronous(AsyncLoopTransport, self._counted)
        self._watch_synchronous(ForkSafeTransport)

    def end(self) -> None:
        """Put the methods back."""
        self._patches.undo()

    def leaked(self) -> Iterator[Client]:
        """The clients made here that are gone without having been closed."""
        return (client for client in self.made if client.is_leaked)

    # -- what takes the place of the methods -------------------------------------------------------

    def _watch_asynchronous(self, kind: type, requesting: Callable[[Any], Any]) -> None:
        self._wrap(kind, "__init__", self._making)
        self._wrap(kind, "handle_async_request", requesting)
        self._wrap(kind, "aclose", self._closing_asynchronously)
        self._wrap(kind, "__aexit__", self._closing_asynchronously)

    def _watch_synchronous(self, kind: type) -> None:
        self._wrap(kind, "__init__", self._making)
        self._wrap(kind, "handle_request", self._requesting)
        self._wrap(kind, "close", self._closing)
        self._wrap(kind, "__exit__", self._closing)

    def _wrap(self, kind: type, name: str, wrapping: Callable[[Any], Any]) -> None:
        original = getattr(kind, name)
        self._patches.setattr(kind, name, functools.wraps(original)(wrapping(original)))

    def _making(self, original: Any) -> Any:
        def make(transport: Any, *args: Any, **kwargs: Any) -> None:
            original(transport, *args, **kwargs)
            self._add(transport)

        return make

    def _guarded(self, original: Any) -> Any:
        async def handle_async_request(transport: Any, request: Any) -> Any:
            with self._request(transport, _running_loop()):
                return await original(transport, request)

        return handle_async_request

    def _counted(self, original: Any) -> Any:
        async def handle_async_request(transport: Any, request: Any) -> Any:
            with self._request(transport, None):
                return await original(transport, request)

        return handle_async_request

    def _requesting(self, original: Any) -> Any:
        def handle_request(transport: Any, request: Any) -> Any:
            with self._request(transport, None):
                return original(transport, request)

        return handle_request

    @contextmanager
    def _request(self, transport: Any, loop: asyncio.AbstractEventLoop | None) -> Iterator[None]:
        client, where = known.of(transport), place_here()
        connected = False
        try:
            if not client.begin(loop, where):
                self._on_misuse(client, where, "used")
            yield
            connected = True
        finally:
            client.end(connected=connected)

    def _closing_asynchronously(self, original: Any) -> Any:
        async def aclose(transport: Any, *args: Any) -> Any:
            client = known.of(transport)
            if client.is_foreign_to(_running_loop()):
                self._on_misuse(client, place_here(), "closed")
            try:
                return await original(transport, *args)
            finally:
                client.close()

        return aclose

    def _closing(self, original: Any) -> Any:
        def close(transport: Any, *args: Any) -> Any:
            try:
                return original(transport, *args)
            finally:
                known.of(transport).close()

        return close

    def _add(self, transport: Any) -> None:
        client = known.add(transport, place_here())
        if _POOL_MAKER not in modules_here():
            self.made.append(client)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None  # trio's
