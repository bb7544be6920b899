"""What one event loop owns of a shared transport: a connection pool and its open exchanges.

A home is held by its loop and by the exchanges that are under way, by nobody else: connections
refer to their loop, so any other strong reference would keep alive a loop that everybody dropped.
A loop that is closed without ceremony therefore drops its home, and what the home holds goes with
it, without a step of ours on the dead loop.

Not here: which loop has which home; that is the transport's.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

from llmkeep.core.fork import keep_forever
from llmkeep.core.loops import at_loop_end, hold_until_closed, unseen

from .handshakes import Handshake

Close = Callable[[], Coroutine[Any, Any, None]]

#: How long, in seconds, a loop that ends waits for responses that are being closed beside it.
DRAIN_SECONDS = 1.0


class Stage(enum.Enum):
    """A home is open, then ended; in a forked child it is the parent's."""

    OPEN = enum.auto()
    #: The loop or the transport is ending: a request now gets a connection of its own.
    ENDED = enum.auto()
    PARENTS = enum.auto()


class LoopHome:
    """One loop's pool; made on the loop, dies with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, make_pool: Callable[[], Any]) -> None:
        self.stage = Stage.OPEN
        self.loop = weakref.ref(loop)
        self.closed = False
        self.exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()
        #: Tasks that close something; a loop holds its tasks weakly.
        self.closing: set[asyncio.Task[None]] = set()
        #: What the pool has opened and not let go of yet.
        self.connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._left: list[Any] = []
        self._make_pool = make_pool
        self._pool = make_pool()
        self._end = at_loop_end(self._loop_ends)
        self._hold = hold_until_closed(loop, self)

    def exchange(self, kind: type[Exchange], transport: object) -> Exchange:
        """A new exchange: over the pool, or over a connection of its own once this has ended."""
        alone = self.stage is not Stage.OPEN
        exchange = kind(self, transport, self._make_pool() if alone else self._pool, alone)
        self.exchanges.add(exchange)
        return exchange

    def start_closing(self) -> None:
        """Close the pool at once, whatever is open; on the loop's thread."""
        if self.stage is Stage.OPEN:
            self.stage = Stage.ENDED
            _ = self.spawn(self._close_for_good)

    def on_loop(self, callback: Callable[[], object]) -> None:
        """Have `callback` called on the loop if it can be; from any thread, never waiting."""
        loop = self.loop()
        if loop is None or self.stage is Stage.PARENTS:
            return
        with suppress(RuntimeError):  # it is closed: what it opened goes with it
            loop.call_soon_threadsafe(callback)

    def spawn(self, close: Close) -> asyncio.Task[None]:
        """Run `close` in a task of its own, and again if it is cancelled; on the loop's thread.

        `asyncio.run` cancels all tasks, those that have not even started too, and then goes on
        to end the loop.
        """
        task = asyncio.get_running_loop().create_task(close())
        self.closing.add(task)
        task.add_done_callback(functools.partial(self._spawned, close))
        return task

    def _spawned(self, close: Close, task: asyncio.Task[None]) -> None:
        self.closing.discard(task)
        if task.cancelled():
            _ = self.spawn(close)

    def becomes_parents(self) -> None:
        """In a forked child: let nothing of this be used, closed or collected."""
        self.stage = Stage.PARENTS
        keep_forever((self, list(self.exchanges)))

    async def _loop_ends(self) -> None:
        # The loop closes all asynchronous generators side by side, and some of them are about to
        # close their responses. A response that nobody closes must not hold the loop up for long.
        self.stage = Stage.ENDED
        await until(lambda: not (self.exchanges or self.closing), DRAIN_SECONDS)
        left = [exchange.start_closing() for exchange in list(self.exchanges)]
        await asyncio.gather(*left, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        # A pool that is cancelled while it closes its connections has forgotten the others, and
        # this is tried again: they are held until all are closed.
        self._left = self._left or list(self.connections)
        await self._pool.aclose()
        for connection in list(self._left):
            await connection.aclose()
        self._left = []
        # asyncio closes a socket in the turn after the one in which its transport is closed.
        await asyncio.sleep(0)
        self.closed = True

    async def _close_for_good(self) -> None:
        await self._close()
        # Not before: a loop that ends meanwhile is to wait for it.
        self._end.cancel()
        self._hold.cancel()


class Exchange:
    """One request and its response, on one loop; lives until the response is closed or collected.

    As the response's stream it hands the parts through. It is closed in a task of its own, so that
    a caller who is cancelled, once or again and again, interrupts nothing.
    """

    def __init__(self, home: LoopHome, transport: object, pool: Any, owns_pool: bool) -> None:
        self._home = home
        self._transport = transport  # not to be collected while this is open
        self._pool = pool
        self._owns_pool = owns_pool
        self._sender: Callable[[], Any] = lambda: None
        self._stream: Any = None
        self._exhausted = False
        self._closing: asyncio.Task[None] | None = None

    async def send(self, request: Any) -> Any:
        """Send `request`; the response whose stream this becomes."""
        self._sender = weakref.ref(cast("asyncio.Task[Any]", asyncio.current_task()))
        extensions = request.extensions
        opened = _let_be if self._owns_pool else self._home.connections.add
        request.extensions = Handshake(extensions, self._home.spawn, opened).extensions
        try:
            response = await self._pool.handle_async_request(request)
        except BaseException:
            self._home.exchanges.discard(self)
            if self._owns_pool:
                await self._pool.aclose()
            raise
        finally:
            request.extensions = extensions
        self._stream, response.stream = response.stream, self
        return response

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        if not self._is_here():
            raise RuntimeError(
                "this response belongs to another event loop or process: "
                "read it where its request was sent"
            )
        # The loop knows this generator, and closes it at its end. It does not know the library's
        # below: it would close each of them beside the one that iterates over it, which is an
        # error. Closing the exchange closes what they read from.
        read = self._stream.__aiter__().__anext__
        try:
            part = await unseen(read)
            while True:
                yield part
                part = await read()
        except StopAsyncIteration:
            self._exhausted = True
        finally:
            if not self._exhausted:
                self._home.on_loop(self.start_closing)

    async def aclose(self) -> None:
        """Close the response; from another loop, have its own loop do it.

        The task that sent the request waits for that, and so does whoever has read the body to
        its end, since the next request may want the connection. Nobody else does: a loop that ends
        closes every generator in a task of its own, and httpx2's, which iterate over each other
        and close their response as they are closed, must not be closed twice at a time.
        """
        if not self._is_here():
            self._home.on_loop(self.start_closing)
            return
        closing = self.start_closing()
        if self._exhausted or self._sender() is asyncio.current_task():
            await asyncio.shield(closing)

    def __del__(self) -> None:
        # Dropped without being closed: give its place in the pool back. Once the home has ended
        # the pool is closed, and nothing is left to give.
        unclosed = self._stream is not None and self._closing is None
        if unclosed and (self._owns_pool or self._home.stage is Stage.OPEN):
            self._home.on_loop(self.start_closing)

    def _is_here(self) -> bool:
        return self._home.stage is not Stage.PARENTS and running_loop() is self._home.loop()

    def start_closing(self) -> asyncio.Task[None]:
        """Close the response, once; on the loop's thread."""
        if self._closing is None:
            self._closing = self._home.spawn(self._close)
        return self._closing

    async def _close(self) -> None:
        try:
            if self._stream is not None:
                await self._stream.aclose()
        finally:
            self._home.exchanges.discard(self)
            if self._owns_pool:
                await self._pool.aclose()


@functools.cache
def exchange_kind(library: Any) -> type[Exchange]:
    """`Exchange` as the library's own kind of stream: its client insists on that."""
    return type("Exchange", (Exchange, library.AsyncByteStream), {})


def _let_be(connection: object) -> None:
    """Do nothing: a pool of one exchange ends with it."""


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The asyncio loop that runs here, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until `condition()` holds, `seconds` at most.

    It is looked at, not signalled: what it depends on may happen in another thread, on another
    loop, or in the collector. Only ends wait like this.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = 0.0
    while not condition() and loop.time() < deadline:
        await asyncio.sleep(pause)
        pause = min(2 * pause + 0.0005, 0.02)
