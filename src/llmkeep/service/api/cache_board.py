"""What is told of all caches of the process: their figures, a row per instance, how long it took.

It reads, and listens for builds; nothing is kept by it but counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final
from weakref import WeakKeyDictionary

import llmkeep
from llmkeep.agents import ConversationHandler
from llmkeep.core import ClientCache
from llmkeep.core.events import Built, Event

from .schemas import Cache, CacheNow, Duration, Instance

if TYPE_CHECKING:
    from llmkeep.service.observability import Metrics


@final
class CacheBoard:
    """Lives as long as the application; `close` ends its listening."""

    def __init__(self, caches: Callable[[], list[ClientCache[Any, Any]]], metrics: Metrics) -> None:
        self._caches: Final = caches
        self._metrics: Final = metrics
        #: By name of the cache and label.
        self._builds: Final[Counter[tuple[str, str]]] = Counter()
        #: What ends the listening to each cache: new ones come with new models.
        self._listening: Final[WeakKeyDictionary[Any, Callable[[], None]]] = WeakKeyDictionary()
        self._listen()

    def now(self) -> CacheNow:
        """The caches at this moment."""
        caches = self._listen()
        return CacheNow(
            stats=vars(llmkeep.stats()),
            caches=[Cache(name=cache.name, stats=vars(cache.stats())) for cache in caches],
            instances=[
                Instance(
                    cache=cache.name,
                    builds=max(self._builds[cache.name, row.label], row.state != "building"),
                    **vars(row),
                )
                for cache in caches
                for row in cache.snapshot()
            ],
            latency={
                name: Duration(count=int(each["count"]), seconds=each["seconds"])
                for name, each in self._metrics.latency().items()
            },
        )

    def clear(self) -> int:
        """Retire every instance that agents use; gives how many. Calls under way go on."""
        before = llmkeep.stats()
        ConversationHandler.clear_llm_cache()  # which clears what `llmkeep.chat_model` keeps, too
        return before.leased + before.idle

    def close(self) -> None:
        """Listen no more."""
        for stop in list(self._listening.values()):
            stop()
        self._listening.clear()

    def _listen(self) -> list[ClientCache[Any, Any]]:
        caches = self._caches()
        for cache in caches:
            if cache not in self._listening:
                self._listening[cache] = cache.subscribe(self._noted)
        return caches

    def _noted(self, event: Event) -> None:
        # On any thread that uses the cache: a count and nothing else.
        if isinstance(event, Built):
            self._builds[event.cache, event.label] += 1
