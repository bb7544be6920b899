"""The synchronous transport that all threads and forked children may share.

httpx's own is safe for threads already; what is added is that TLS contexts are shared and that a
forked child has a pool of its own. Not here: a client; see `client()`.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn, Self, Unpack

from llmkeep.core.fork import keep_forever, on_fork_in_child

from .recipe import PoolRecipe, TransportOptions

# Both libraries take any object with these methods, but neither has a protocol for its type.
_AnyTransport: Any = object


class ForkSafeTransport(_AnyTransport):  # type: ignore[misc]
    """One connection pool per process, behind one transport; lives until `close()`.

    Where nobody calls that, idle connections are closed with it, or at the interpreter's end.

    `library` and the options are those of `client()`.
    """

    def __init__(self, *, library: str | None = None, **options: Unpack[TransportOptions]) -> None:
        self._start_over()
        self._recipe = PoolRecipe(library, options)
        self._stream = stream_kind(self._recipe.library)
        self._closed = False
        self._pool: Any = None
        self._finalizer: weakref.finalize[..., Self] | None = None
        on_fork_in_child(self, "_forget_parent")

    def _start_over(self) -> None:
        self._lock = threading.Lock()
        self.streams: weakref.WeakSet[PoolStream] = weakref.WeakSet()

    def handle_request(self, request: Any) -> Any:
        """Send `request` over this process's pool. Raises RuntimeError after `close()`."""
        if self._closed:
            raise RuntimeError("this transport has been closed: make another client")
        pool = self._pool or self._make_pool()
        stream = self._stream(self, pool)
        # Before the answer is there: the pool is in use while somebody waits for one.
        self.streams.add(stream)
        try:
            response = pool.handle_request(request)
        except BaseException:
            self.streams.discard(stream)
            raise
        stream.begin(response.stream)
        response.stream = stream
        return response

    def close(self) -> None:
        """Close the pool, and refuse requests from then on."""
        self._closed = True
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self.streams)} open"
        return f"<{type(self).__name__} {self._recipe.library.__name__}: {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled: make another")

    def is_of_this_process(self, pool: Any) -> bool:
        """Whether `pool` was opened here, and not by the parent of a forked child."""
        return pool is self._pool

    def _make_pool(self) -> Any:
        pool = self._recipe.make("HTTPTransport")
        with self._lock:
            if self._pool is None:
                self._finalizer = weakref.finalize(self, _close_idle, pool, self.streams)
                self._pool = pool
        return self._pool

    def _forget_parent(self) -> None:
        """In a forked child: what the parent opened stays the parent's."""
        if self._finalizer is not None:
            self._finalizer.detach()
        keep_forever((self._pool, list(self.streams)))
        self._pool = None
        self._recipe.forget_parent()
        self._start_over()


def _close_idle(pool: Any, streams: weakref.WeakSet[PoolStream]) -> None:
    """Close `pool`, unless somebody waits or reads over it while the interpreter ends."""
    if not streams:
        pool.close()


class PoolStream:
    """The body of one response; made with the request, lives as long as the response.

    It hands the parts through, and does nothing in a forked child of the process that sent the
    request.
    """

    def __init__(self, transport: ForkSafeTransport, pool: Any) -> None:
        self._transport = transport
        self._pool = pool
        self._stream: Any = None
        self._parts: Iterator[bytes] | None = None

    def begin(self, stream: Any) -> None:
        """Its response has come, with `stream` for a body."""
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        if not self._transport.is_of_this_process(self._pool):
            raise RuntimeError("this response belongs to the parent process: read it there")
        # Kept, and not delegated to by `yield from`: closing this generator must not reach the
        # connection in a forked child. `close()` does in the process itself.
        self._parts = iter(self._stream)
        for part in self._parts:  # noqa: UP028 - see above
            yield part

    def close(self) -> None:
        """Close the response."""
        if self._transport.is_of_this_process(self._pool):
            self._transport.streams.discard(self)
            self._stream.close()


@functools.cache
def stream_kind(library: Any) -> type[PoolStream]:
    """`PoolStream` as the library's own kind of stream: its client insists on that."""
    return type("PoolStream", (PoolStream, library.SyncByteStream), {})
