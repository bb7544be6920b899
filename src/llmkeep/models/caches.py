"""The default cache of models: one public thing over one `ClientCache` per scope that is in use."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final

from llmkeep.core import CacheClosed, ClientCache, Lease, Scope
from llmkeep.core.events import Event
from llmkeep.core.fork import on_fork_in_child
from llmkeep.core.stats import InstanceInfo, Stats

from .adapters import Kept

if TYPE_CHECKING:
    from .resolving import Resolved


@final
class ModelCache:
    """Every kept model of the process. Times are in seconds.

    Each scope has its own books; what is told here is their sum.
    """

    def __init__(self) -> None:
        self._caches: Final = {
            scope.name: _cache(scope) for scope in (Scope.PROCESS, Scope.LOOP, Scope.exclusive(1))
        }
        #: Each callback, by what ends its subscriptions.
        self._subscribers: Final[dict[contextlib.ExitStack, Callable[[Event], object]]] = {}
        self.closed = False

    def _all(self) -> list[ClientCache[Any, Kept]]:
        return list(self._caches.values())

    def of(self, resolved: Resolved) -> ClientCache[Any, Kept]:
        """The cache that keeps this model."""
        scope = resolved.adapter.scope
        return self._caches.get(scope.name) or self._add(scope)

    def _add(self, scope: Scope) -> ClientCache[Any, Kept]:
        new = _cache(scope)
        cache = self._caches.setdefault(scope.name, new)
        if cache is new:
            for subscriptions, callback in list(self._subscribers.items()):
                subscriptions.callback(new.subscribe(callback))
        return cache

    def clear(self) -> None:
        """Retire all models; does not wait for the leases that are out."""
        for cache in self._all():
            cache.clear()

    def stats(self) -> Stats:
        """Counters and gauges of all scopes together."""
        first, *others = (cache.stats() for cache in self._all())
        return sum(others, start=first)

    def snapshot(self) -> list[InstanceInfo]:
        """A row per kept model."""
        return [row for cache in self._all() for row in cache.snapshot()]

    def subscribe(self, callback: Callable[[Event], object]) -> Callable[[], None]:
        """Call `callback` with every event until the returned function is called."""
        subscriptions = contextlib.ExitStack()
        self._subscribers[subscriptions] = callback
        subscriptions.callback(self._subscribers.pop, subscriptions, None)
        for cache in self._all():
            subscriptions.callback(cache.subscribe(callback))
        return subscriptions.close

    def close(self, timeout: float | None = 30.0) -> None:
        """Close every model, waiting up to `timeout` for leases; final for this object."""
        self.closed = True
        deadline = None if timeout is None else time.monotonic() + timeout
        with contextlib.ExitStack() as stack:  # every one is closed, whatever another raises
            for cache in self._all():
                stack.callback(_close, cache, deadline)

    async def aclose(self, timeout: float | None = 30.0) -> None:  # noqa: ASYNC109
        """`close` without blocking the loop."""
        self.closed = True
        await asyncio.gather(*(cache.aclose(timeout) for cache in self._all()))

    def __repr__(self) -> str:
        figures = self.stats()
        return (
            f"<ModelCache: {figures.live} kept ({figures.leased} leased), "
            f"{figures.building} building>"
        )


@final
class _Default:
    """Which cache is the default one; lives as long as the process."""

    def __init__(self) -> None:
        self.cache: ModelCache | None = None
        self._unlock()
        on_fork_in_child(self, "_unlock")

    def _unlock(self) -> None:
        # In a forked child the lock may be held, by a thread that is not there.
        self._lock = threading.Lock()

    def open(self) -> ModelCache:
        cache = self.cache
        if cache is None or cache.closed:
            with self._lock:
                cache = self.cache
                if cache is None or cache.closed:
                    cache = self.cache = ModelCache()
        return cache

    def exchange(self, cache: ModelCache | None) -> ModelCache | None:
        with self._lock:
            cache, self.cache = self.cache, cache
        return cache


_default: Final = _Default()


def default_cache() -> ModelCache:
    """The cache that all handles lease from; a new one when the last one was closed."""
    return _default.open()


def exchange_default(cache: ModelCache | None) -> ModelCache | None:
    """Make `cache` the default one (None: a new one with the next use); returns the one before.

    For tests that want one of their own for a while. The one before is neither closed nor cleared.
    """
    return _default.exchange(cache)


def stats() -> Stats:
    """Counters and gauges of the default cache."""
    return default_cache().stats()


def clear() -> None:
    """Retire all models of the default cache; does not wait for the leases that are out."""
    default_cache().clear()


def close(timeout: float | None = 30.0) -> None:
    """Close the default cache, waiting up to `timeout` seconds; the next use opens a new one."""
    cache = _default.exchange(None)
    if cache is not None:
        cache.close(timeout)


async def aclose(timeout: float | None = 30.0) -> None:  # noqa: ASYNC109
    """`close` without blocking the loop."""
    cache = _default.exchange(None)
    if cache is not None:
        await cache.aclose(timeout)


def lease(resolved: Resolved) -> Lease[Kept]:
    """The right to use the instance of a resolved configuration."""
    return default_cache().of(resolved).lease(resolved.spec)


def warm(resolved: Resolved) -> None:
    """Make the instance of a resolved configuration ready."""
    while True:
        cache = default_cache()
        try:
            return cache.of(resolved).warm(resolved.spec)
        except CacheClosed:
            if not cache.closed:
                raise


def _close(cache: ClientCache[Any, Kept], deadline: float | None) -> None:
    cache.close(None if deadline is None else max(deadline - time.monotonic(), 0.0))


def _cache(scope: Scope) -> ClientCache[Any, Kept]:
    return ClientCache(
        _build,
        # Made where it is used: some SDKs look for the running loop when they are constructed.
        abuild=_abuild if scope.per_loop else None,
        close=Kept.close,
        scope=scope,
        name=f"models ({scope.name})",
        label=_label,
    )


def _build(resolved: Resolved) -> Kept:
    return resolved.build()


async def _abuild(resolved: Resolved) -> Kept:
    return resolved.build_anew()


def _label(resolved: Resolved) -> str:
    return resolved.label
