"""The standard library's `functools.lru_cache` around the factory."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tests.conformance.functions import Functions, no_bound
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Standard(Subject):
    """`lru_cache(maxsize=...)(build)`."""

    name = "functools.lru_cache"
    about = "`lru_cache(maxsize=n)(build)`; on a loop `asyncio.to_thread` around it"
    distributions = ()
    modules = ("asyncio",)

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A wrapped factory."""
        no_bound(bounds.ttl, "has no expiry")
        get: Any = lru_cache(maxsize=bounds.most or 256)(factory.build)
        return Functions(get, clear=get.cache_clear)


SUBJECT = Standard()
