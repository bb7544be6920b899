"""Caches that hand out and do not lease: what they have in common as something that keeps.

A `with` block gets the client and, at its end, does nothing: that is all there is. Where a library
has only one face, the other is what its users have to do: `asyncio.to_thread(get)`, or
`asyncio.run(aget)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from .outcome import DoesNotApply


class Functions:
    """Get, forget and clear, as functions; at least one of `get` and `aget`."""

    def __init__(
        self,
        get: Callable[[str], Any] | None = None,
        aget: Callable[[str], Awaitable[Any]] | None = None,
        *,
        forget: Callable[[str], object] | None = None,
        clear: Callable[[], object] | None = None,
    ) -> None:
        assert get or aget
        self._get, self._aget, self._forget, self._clear = get, aget, forget, clear

    @contextmanager
    def use(self, key: str) -> Iterator[Any]:
        """The client of `key`."""
        if self._get is not None:
            yield self._get(key)
            return
        assert self._aget is not None
        yield asyncio.run(_awaited(self._aget, key))

    @asynccontextmanager
    async def ause(self, key: str) -> AsyncIterator[Any]:
        """The client of `key`, on a loop."""
        if self._aget is not None:
            yield await self._aget(key)
            return
        assert self._get is not None
        yield await asyncio.to_thread(self._get, key)

    def forget(self, key: str) -> None:
        """Let go the client of `key`."""
        if self._forget is None:
            raise DoesNotApply("cannot let go one key")
        self._forget(key)

    def clear(self) -> None:
        """Let go all clients."""
        if self._clear is None:
            raise DoesNotApply("cannot be emptied")
        self._clear()

    def shut(self) -> None:
        """Let go all clients: there is no close."""
        if self._clear is not None:
            self._clear()


async def _awaited(aget: Callable[[str], Awaitable[Any]], key: str) -> Any:
    return await aget(key)


def no_bound(wanted: object, what: str) -> None:
    """Say that there is no such bound, if a scenario wants it."""
    if wanted is not None:
        raise DoesNotApply(what)
