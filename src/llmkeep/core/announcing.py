"""Telling subscribers, and the log, what happened to instances. Always outside the lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, final

from . import events
from .fork import on_fork_in_child
from .housekeeper import housekeeper
from .sites import describe
from .workers import workers

Callback: TypeAlias = "Callable[[events.Event], object]"

#: What is worth a line in the log although nobody subscribed.
_TROUBLE: Final = frozenset(
    {"BuildAbandoned", "CloseFailed", "Dropped", "LeasedTooLong", "LeaseBroken"}
)


@final
class Announcer:
    """The subscribers of one cache; outlives it as long as something is still being closed.

    One thread tells at a time, so that events come in order and a subscriber that uses the cache
    does not call itself.
    """

    def __init__(self, cache_name: str) -> None:
        self._cache_name: Final = cache_name
        self._callbacks: Final[list[Callback]] = []
        self._start_over()
        on_fork_in_child(self, "_start_over")

    def _start_over(self) -> None:
        #: Bounded, for the case that a subscriber never returns: then the oldest are lost.
        self._news: deque[events.Event] = deque(maxlen=10_000)
        self._telling = threading.Lock()
        self._thread_called = False

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call `callback` with every event; returns what ends that."""
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unsubscribe

    def announce(self, kind: str, instance: str, label: str, *details: object) -> None:
        """Tell everybody; a subscriber that raises is logged and harms nobody."""
        if not self._callbacks and kind not in _TROUBLE:
            return
        # A place is described here, outside the lock: that reads files.
        shown = [describe(each) if isinstance(each, tuple) else each for each in details]
        self._news.append(getattr(events, kind)(self._cache_name, instance, label, *shown))
        if not housekeeper.is_this_thread():
            self._tell()
        elif not self._thread_called:
            # A slow subscriber must not hold up the housekeeping of all caches.
            self._thread_called = True
            workers.run("events", self._tell)

    def _tell(self) -> None:
        self._thread_called = False
        while self._news and self._telling.acquire(blocking=False):
            try:
                while self._news:
                    self._deliver(self._news.popleft())
            finally:
                self._telling.release()

    def _deliver(self, event: events.Event) -> None:
        if type(event).__name__ in _TROUBLE:
            _log("%s", event)
        for callback in list(self._callbacks):
            try:
                callback(event)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                _log("a subscriber of cache %r raised %s", self._cache_name, type(error).__name__)


def _log(message: str, *details: object) -> None:
    import logging  # not before there is something to say

    logging.getLogger("llmkeep").warning(message, *details)
