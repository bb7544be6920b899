"""dogpile.cache's memory backend, which locks per key."""

from __future__ import annotations

from typing import Any

from tests.conformance.functions import Functions, no_bound
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Region(Subject):
    """A region's `get_or_create`."""

    name = "dogpile.cache"
    about = "`make_region().configure(memory).get_or_create(key, build)`"
    distributions = ("dogpile.cache",)
    modules = ("dogpile.cache", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A region."""
        from dogpile.cache import make_region

        no_bound(bounds.most, "the memory backend has no bound")
        region: Any = make_region().configure("dogpile.cache.memory", expiration_time=bounds.ttl)

        def get(key: str) -> Any:
            return region.get_or_create(key, factory.build, creator_args=((key,), {}))

        return Functions(get, forget=region.delete, clear=region.invalidate)


SUBJECT = Region()
