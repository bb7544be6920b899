"""cachetools with `lock=`, as its documentation shows for threads."""

from __future__ import annotations

import threading
from typing import Any

from tests.conformance.functions import Functions
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Locked(Subject):
    """`cached(LRUCache(n), lock=Lock())`."""

    name = "cachetools (lock)"
    about = "`cached(LRUCache(n), lock=Lock())(build)`; on a loop `asyncio.to_thread` around it"
    distributions = ("cachetools",)
    modules = ("cachetools", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A wrapped factory."""
        from cachetools import Cache, LRUCache, TTLCache, cached
        from cachetools.keys import hashkey

        most = bounds.most or 256
        kept: Cache[Any, Any] = LRUCache(most) if bounds.ttl is None else TTLCache(most, bounds.ttl)
        lock = threading.Lock()
        get: Any = cached(kept, lock=lock)(factory.build)

        def forget(key: str) -> None:
            with lock:
                kept.pop(hashkey(key), None)

        return Functions(get, forget=forget, clear=get.cache_clear)


SUBJECT = Locked()
