"""async_lru: `alru_cache` around the asynchronous factory."""

from __future__ import annotations

from typing import Any

from tests.conformance.functions import Functions
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Alru(Subject):
    """`alru_cache(maxsize=...)(abuild)`."""

    name = "async_lru"
    about = "`alru_cache(maxsize=n, ttl=...)(abuild)`; on a thread `asyncio.run` around it"
    distributions = ("async_lru",)
    modules = ("async_lru", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A wrapped factory."""
        from async_lru import alru_cache

        aget: Any = alru_cache(maxsize=bounds.most or 256, ttl=bounds.ttl)(factory.on_loop)
        return Functions(None, aget, forget=aget.cache_invalidate, clear=aget.cache_clear)


SUBJECT = Alru()
