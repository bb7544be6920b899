"""cachetools with `condition=`, its protection against many builds of one key."""

from __future__ import annotations

import threading
from typing import Any

from tests.conformance.functions import Functions
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Conditioned(Subject):
    """`cached(LRUCache(n), condition=Condition())`."""

    name = "cachetools (condition)"
    about = "`cached(LRUCache(n), condition=Condition())(build)`"
    distributions = ("cachetools",)
    modules = ("cachetools", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A wrapped factory."""
        from cachetools import Cache, LRUCache, TTLCache, cached
        from cachetools.keys import hashkey

        most = bounds.most or 256
        kept: Cache[Any, Any] = LRUCache(most) if bounds.ttl is None else TTLCache(most, bounds.ttl)
        condition = threading.Condition()
        get: Any = cached(kept, condition=condition)(factory.build)

        def forget(key: str) -> None:
            with condition:
                kept.pop(hashkey(key), None)

        return Functions(get, forget=forget, clear=get.cache_clear)


SUBJECT = Conditioned()
