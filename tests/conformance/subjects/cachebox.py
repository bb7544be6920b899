"""cachebox's `cached`, which locks per key."""

from __future__ import annotations

from typing import Any

from tests.conformance.functions import Functions
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Boxed(Subject):
    """`cached(LRUCache(n))` of both faces."""

    name = "cachebox"
    about = "`cached(LRUCache(n))(build)`, and the same around the asynchronous factory"
    distributions = ("cachebox",)
    modules = ("cachebox", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """Wrapped factories over one cache."""
        from cachebox import LRUCache, TTLCache, cached

        most = bounds.most or 256
        kept: Any = LRUCache(most) if bounds.ttl is None else TTLCache(most, bounds.ttl)
        get: Any = cached(kept)(factory.build)
        aget: Any = cached(kept)(factory.on_loop)
        return Functions(get, aget, clear=kept.clear)


SUBJECT = Boxed()
