"""The asynchronous transport that all event loops, threads and forked children may share.

It cures every SDK that takes an HTTP client of the failure "one client, two event loops": a
connection is bound to the loop that opened it, so a client that a second `asyncio.run` reuses
fails, and the request is sent twice.

Not here: a client; see `async_client()`. asyncio and uvloop only, no trio.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from types import TracebackType
from typing import Any, NoReturn, Self, Unpack

from llmkeep.core.fork import on_fork_in_child

from .loop_home import LoopHome, exchange_kind, running_loop, until
from .recipe import PoolRecipe, TransportOptions

#: How long, in seconds, `aclose()` waits for the loops of other threads to close their part.
CLOSE_SECONDS = 5.0

# Both libraries take any object with these methods, but neither has a protocol for its type.
_AnyTransport: Any = object


class AsyncLoopTransport(_AnyTransport):  # type: ignore[misc]
    """One connection pool per running event loop, behind one transport; lives until `aclose()`.

    A loop's pool is made by its first request and closed when the loop ends in order, after the
    responses that are still being closed beside it. A request made on that loop later gets a
    connection that is closed with its response. A loop that is closed without ceremony drops its
    sockets, with Python's own ResourceWarning. In a forked child every loop starts afresh.

    `library` and the options are those of `async_client()`.
    """

    def __init__(self, *, library: str | None = None, **options: Unpack[TransportOptions]) -> None:
        self._start_over()
        self._recipe = PoolRecipe(library, options)
        self._exchange = exchange_kind(self._recipe.library)
        self._closed = False
        on_fork_in_child(self, "_forget_parent")

    def _start_over(self) -> None:
        self._lock = threading.RLock()  # a finalizer may come in between
        # Weak both ways: see loop_home. Written under the lock; a loop's own entry is read
        # without it, because nobody but the loop's thread writes that.
        self._homes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[LoopHome]] = (
            weakref.WeakKeyDictionary()
        )

    async def handle_async_request(self, request: Any) -> Any:
        """Send `request` over the running loop's pool.

        Raises RuntimeError after `aclose()` and where no asyncio loop runs.
        """
        loop = running_loop()
        if loop is None:
            raise RuntimeError(
                "llmkeep's asynchronous transport works on asyncio event loops, uvloop included; "
                "under trio use the HTTP library's own AsyncClient"
            )
        if self._recipe.context is None:
            await self._recipe.prepare()
        home = self._home(loop)
        return await home.exchange(self._exchange, self).send(request)

    async def aclose(self) -> None:
        """Close every loop's pool, each on its own loop, and refuse requests from then on.

        Waits for the running loops of other threads, `CLOSE_SECONDS` at most. What a stopped loop
        opened is closed when it runs again, or dropped with it.
        """
        with self._lock:
            self._closed = True
        homes = self._open_homes()
        for home in homes:
            home.on_loop(home.start_closing)
        await until(lambda: not any(map(_is_being_closed, homes)), CLOSE_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Nobody can use it any more, and no exchange is open: those hold it.
        for home in self._open_homes():
            home.on_loop(home.start_closing)

    def __repr__(self) -> str:
        homes = self._open_homes()
        state = "closed" if self._closed else f"{len(homes)} loops"
        exchanges = sum(len(home.exchanges) for home in homes)
        return f"<{type(self).__name__} {self._recipe.library.__name__}: {state}, {exchanges} open>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled: make another")

    def _home(self, loop: asyncio.AbstractEventLoop) -> LoopHome:
        reference = self._homes.get(loop)
        home = None if reference is None else reference()
        if home is None and not self._closed:
            # The recipe alone: a home that held the transport would keep it from being collected.
            home = LoopHome(loop, functools.partial(self._recipe.make, "AsyncHTTPTransport"))
            with self._lock:
                self._homes[loop] = weakref.ref(home)
        if self._closed:
            if home is not None:
                home.start_closing()
            raise RuntimeError("this transport has been closed: make another client")
        assert home is not None
        return home

    def _open_homes(self) -> list[LoopHome]:
        with self._lock:
            references = list(self._homes.values())
        return [home for at in references if (home := at()) is not None and not home.closed]

    def _forget_parent(self) -> None:
        """In a forked child: what the parent's loops own stays the parent's."""
        homes = [home for reference in self._homes.values() if (home := reference()) is not None]
        for home in homes:
            home.becomes_parents()
        self._recipe.forget_parent()
        self._start_over()


def _is_being_closed(home: LoopHome) -> bool:
    loop = home.loop()
    return not home.closed and loop is not None and loop.is_running()
