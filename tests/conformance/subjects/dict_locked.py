"""A dict under one lock, the first thing that one writes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.conformance.functions import Functions, no_bound
from tests.conformance.subject import Bounds, Factory, Keeping, Subject


class Locked(Subject):
    """`with lock: if key not in kept: kept[key] = build(key)`."""

    name = "dict under a lock"
    about = "a dict with a `threading.Lock`, and one with an `asyncio.Lock` for loops"
    distributions = ()
    modules = ("asyncio",)

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A dict per face."""
        no_bound(bounds.ttl, "has no expiry")
        no_bound(bounds.most, "has no bound")
        kept: dict[str, Any] = {}
        akept: dict[str, Any] = {}
        lock, alock = threading.Lock(), asyncio.Lock()

        def get(key: str) -> Any:
            with lock:
                if key not in kept:
                    kept[key] = factory.build(key)
                return kept[key]

        async def aget(key: str) -> Any:
            async with alock:
                if key not in akept:
                    akept[key] = await factory.on_loop(key)
                return akept[key]

        def forget(key: str) -> None:
            kept.pop(key, None)
            akept.pop(key, None)

        def clear() -> None:
            kept.clear()
            akept.clear()

        return Functions(get, aget, forget=forget, clear=clear)


SUBJECT = Locked()
