"""Telling subscribers, and the log, what happened to instances. Always outside the lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeAlias, final

from . import events

Callback: TypeAlias = "Callable[[events.Event], object]"

#: What is worth a line in the log although nobody subscribed.
_TROUBLE: Final = frozenset(
    {"BuildAbandoned", "CloseFailed", "Dropped", "LeasedTooLong", "LeaseBroken"}
)


@final
class Announcer:
    """The subscribers of one cache; outlives it as long as something is still being closed."""

    def __init__(self, cache_name: str) -> None:
        self._cache_name: Final = cache_name
        self._callbacks: tuple[Callback, ...] = ()
        self._changing: Final = threading.Lock()

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call `callback` with every event; returns what ends that."""
        with self._changing:
            self._callbacks = (*self._callbacks, callback)

        def unsubscribe() -> None:
            with self._changing:
                self._callbacks = tuple(each for each in self._callbacks if each is not callback)

        return unsubscribe

    def announce(self, kind: str, instance: str, label: str, *details: object) -> None:
        """Tell everybody; a subscriber that raises is logged and harms nobody."""
        if not self._callbacks and kind not in _TROUBLE:
            return
        shown = [detail if isinstance(detail, float) else str(detail) for detail in details]
        event: events.Event = getattr(events, kind)(self._cache_name, instance, label, *shown)
        if kind in _TROUBLE:
            _log("%s", event)
        for callback in self._callbacks:
            try:
                callback(event)
            except Exception as error:  # a subscriber's own fault
                _log("a subscriber of cache %r raised %s", self._cache_name, type(error).__name__)


def _log(message: str, *details: object) -> None:
    import logging  # not before there is something to say

    logging.getLogger("llmkeep").warning(message, *details)
