"""The caches that llmkeep stands beside, each behind one face: make or get the client of a key.

Each is used as its own documentation shows it, with the protection against duplicate builds that it
offers. `get` is for threads and `aget` for coroutines; where a library has only one of them, the
other is what its users have to do: `asyncio.to_thread(get)`, or `asyncio.run(aget)`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

Build = Callable[[str], object]
AsyncBuild = Callable[[str], Coroutine[Any, Any, object]]


class Faces(NamedTuple):
    """One cache with one factory."""

    get: Build
    aget: AsyncBuild


@dataclass(frozen=True)
class Peer:
    """A way to keep clients."""

    name: str
    package: str | None
    open: Callable[[Build, AsyncBuild], Faces]

    @property
    def is_installed(self) -> bool:
        """Whether it can be measured here."""
        return self.package is None or importlib.util.find_spec(self.package) is not None


def _on_thread(get: Build) -> AsyncBuild:
    async def aget(key: str) -> object:
        return await asyncio.to_thread(get, key)

    return aget


def _on_own_loop(aget: AsyncBuild) -> Build:
    async def one(key: str) -> object:
        return await aget(key)

    return lambda key: asyncio.run(one(key))


def _llmkeep(build: Build, abuild: AsyncBuild) -> Faces:
    from llmkeep import ClientCache

    cache: ClientCache[str, object] = ClientCache(build, abuild=abuild)

    def get(key: str) -> object:
        with cache.lease(key) as client:
            return client

    async def aget(key: str) -> object:
        async with cache.lease(key) as client:
            return client

    return Faces(get, aget)


def _bare_dict(build: Build, abuild: AsyncBuild) -> Faces:
    kept: dict[str, object] = {}

    def get(key: str) -> object:
        if key not in kept:
            kept[key] = build(key)
        return kept[key]

    async def aget(key: str) -> object:
        if key not in kept:
            kept[key] = await abuild(key)
        return kept[key]

    return Faces(get, aget)


def _locked_dict(build: Build, abuild: AsyncBuild) -> Faces:
    kept: dict[str, object] = {}
    lock, alock = threading.Lock(), asyncio.Lock()

    def get(key: str) -> object:
        with lock:
            if key not in kept:
                kept[key] = build(key)
            return kept[key]

    async def aget(key: str) -> object:
        async with alock:
            if key not in kept:
                kept[key] = await abuild(key)
            return kept[key]

    return Faces(get, aget)


def _lru_cache(build: Build, abuild: AsyncBuild) -> Faces:
    get: Any = lru_cache(maxsize=256)(build)
    return Faces(get, _on_thread(get))


def _cachetools_lock(build: Build, abuild: AsyncBuild) -> Faces:
    from cachetools import LRUCache, cached

    get: Any = cached(LRUCache(256), lock=threading.Lock())(build)
    return Faces(get, _on_thread(get))


def _cachetools_condition(build: Build, abuild: AsyncBuild) -> Faces:
    from cachetools import LRUCache, cached

    get: Any = cached(LRUCache(256), condition=threading.Condition())(build)
    return Faces(get, _on_thread(get))


def _cachebox(build: Build, abuild: AsyncBuild) -> Faces:
    from cachebox import LRUCache, cached

    kept: Any = LRUCache(256)
    return Faces(cached(kept)(build), cached(kept)(abuild))


def _dogpile(build: Build, abuild: AsyncBuild) -> Faces:
    from dogpile.cache import make_region

    region = make_region().configure("dogpile.cache.memory")

    def get(key: str) -> object:
        return region.get_or_create(key, build, creator_args=((key,), {}))

    return Faces(get, _on_thread(get))


def _async_lru(build: Build, abuild: AsyncBuild) -> Faces:
    from async_lru import alru_cache

    aget: Any = alru_cache(maxsize=256)(abuild)
    return Faces(_on_own_loop(aget), aget)


def _cashews(build: Build, abuild: AsyncBuild) -> Faces:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")
    aget: Any = cache(ttl="10m", key="{key}")(abuild)
    return Faces(_on_own_loop(aget), aget)


def _litellm(build: Build, abuild: AsyncBuild) -> Faces:
    # Or its import asks the network for prices.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm.caching.llm_caching_handler import LLMClientCache

    cache: Any = LLMClientCache()

    def get(key: str) -> object:
        client = cache.get_cache(key)
        if client is None:
            client = build(key)
            cache.set_cache(key, client, litellm_owned_client=True)
        return client

    async def aget(key: str) -> object:
        return get(key)  # as litellm does: its clients are built on the loop, which stands still

    return Faces(get, aget)


PEERS = (
    Peer("llmkeep", None, _llmkeep),
    Peer("bare dict", None, _bare_dict),
    Peer("dict under a lock", None, _locked_dict),
    Peer("lru_cache", None, _lru_cache),
    Peer("cachetools (lock)", "cachetools", _cachetools_lock),
    Peer("cachetools (condition)", "cachetools", _cachetools_condition),
    Peer("cachebox", "cachebox", _cachebox),
    Peer("dogpile.cache", "dogpile", _dogpile),
    Peer("async_lru", "async_lru", _async_lru),
    Peer("cashews", "cashews", _cashews),
    Peer("litellm's client cache", "litellm", _litellm),
)


def installed() -> list[Peer]:
    """The peers that can be measured here."""
    return [peer for peer in PEERS if peer.is_installed]


def by_name(name: str) -> Peer:
    """The peer of that name."""
    return next(peer for peer in PEERS if peer.name == name)
