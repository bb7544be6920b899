"""cashews' memory backend: `cache(ttl=...)` around the asynchronous factory."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conformance.functions import Functions
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Cashews(Subject):
    """`cache(ttl=..., key=...)(abuild)`."""

    name = "cashews"
    about = "`cache(ttl=..., key=...)(abuild)` over `mem://`; on a thread `asyncio.run` around it"
    distributions = ("cashews",)
    modules = ("cashews", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A wrapped factory."""
        from cashews import Cache

        cache = Cache()
        cache.setup("mem://", size=bounds.most or 256, check_interval=0.05)
        aget: Any = cache(ttl=bounds.ttl or 600, key="{key}")(_named(factory))

        def forget(key: str) -> None:
            asyncio.run(_finish(cache.delete(key)))

        def clear() -> None:
            asyncio.run(_finish(cache.clear()))

        return Functions(None, aget, forget=forget, clear=clear)


async def _finish(work: Any) -> None:
    await work


def _named(factory: Factory) -> Any:
    async def make(key: str) -> Any:  # a plain function: keys are made of its signature
        return await factory.on_loop(key)

    return make


SUBJECT = Cashews()
