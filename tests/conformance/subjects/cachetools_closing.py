"""cachetools with the recipe that closes what it evicts: `popitem` overridden."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

from tests.conformance.functions import Functions
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Closing(Subject):
    """An `LRUCache` whose `popitem` closes."""

    name = "cachetools (closing on eviction)"
    about = "`LRUCache` with a `popitem` that closes, under `condition=`"
    distributions = ("cachetools",)
    modules = ("cachetools", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A wrapped factory; what leaves is closed on the spot."""
        from cachetools import Cache, LRUCache, TTLCache, cached
        from cachetools.keys import hashkey

        kind: Any = LRUCache if bounds.ttl is None else TTLCache

        tasks: list[asyncio.Task[None]] = []

        def close(client: Any) -> None:
            closing = factory.close(client)
            if inspect.isawaitable(closing):
                try:
                    tasks.append(asyncio.get_running_loop().create_task(_finish(closing)))
                except RuntimeError:
                    asyncio.run(_finish(closing))

        class Closes(kind):  # type: ignore[misc]
            def popitem(self) -> Any:
                key, client = super().popitem()
                close(client)
                return key, client

            def expire(self, time: Any = None) -> Any:
                gone = super().expire(time)
                for _, client in gone:
                    close(client)
                return gone

        most = bounds.most or 256
        kept: Cache[Any, Any] = Closes(most) if bounds.ttl is None else Closes(most, bounds.ttl)
        condition = threading.Condition()
        get: Any = cached(kept, condition=condition)(factory.build)

        def forget(key: str) -> None:
            with condition:
                client = kept.pop(hashkey(key), None)
            if client is not None:
                close(client)

        def clear() -> None:
            with condition:
                while kept:
                    kept.popitem()

        return Functions(get, forget=forget, clear=clear)


async def _finish(work: Any) -> None:
    await work


SUBJECT = Closing()
