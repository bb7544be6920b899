"""llmkeep's core: `ClientCache`."""

from __future__ import annotations

from typing import Any

from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Kept:
    """A cache and its leases."""

    def __init__(self, factory: Factory, bounds: Bounds) -> None:
        from llmkeep import ClientCache, Scope

        self.cache: Any = ClientCache(
            factory.build,
            abuild=factory.abuild,
            scope=Scope.LOOP if bounds.per_loop else Scope.PROCESS,
            close=factory.close,
            max_idle=bounds.most or 256,
            max_age=bounds.ttl,
            build_timeout=bounds.build_timeout,
            close_timeout=bounds.close_timeout,
        )
        self.use = self.cache.lease
        self.ause = self.cache.lease
        self.clear = self.cache.clear

    def forget(self, key: str) -> None:
        """Invalidate it."""
        self.cache.invalidate(key)

    def shut(self) -> None:
        """Close it."""
        self.cache.close(timeout=5)


class Cache(Subject):
    """One instance per key, leased while in use."""

    name = "llmkeep ClientCache"
    ours = True
    about = "`with cache.lease(key) as client`"
    distributions = ("llmkeep",)
    modules = ("llmkeep", "asyncio")
    process_threads = ("llmkeep-housekeeper", "llmkeep-idle")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A cache."""
        return Kept(factory, bounds)


SUBJECT = Cache()
