"""A test's own caches: it finds them empty, and leaves nothing in them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from llmkeep.core import all_caches

if TYPE_CHECKING:
    from llmkeep.models import ModelCache

#: Seconds that closes get to end before the next test begins, or this one.
CLOSES: Final = 1.0


class OwnCaches:
    """From `begin` to `end` no instance is shared with other tests; lives as long as a test.

    The default cache of models is one of the test's own, closed after it. Every other cache
    belongs to somebody (a module, a wider fixture, the test): it is cleared before and after, and
    goes on. Leases that are out, of a wider fixture, keep what they have.
    """

    def __init__(self) -> None:
        self._set_aside: ModelCache | None = None

    def begin(self) -> None:
        """Start with nothing kept."""
        if (models := _models()) is not None:
            self._set_aside = models.exchange_default(None)
        _clear()

    def end(self, timeout: float) -> None:
        """Keep nothing, waiting up to `timeout` seconds for leases of the default cache."""
        if (models := _models()) is not None:
            try:
                models.close(timeout)
            finally:
                models.exchange_default(self._set_aside)
        _clear()


def _models() -> Any:
    """The module of the default cache, if anything has used it yet."""
    return sys.modules.get("llmkeep.models.caches")


def _clear() -> None:
    """Retire everything, and see the closes through that this brings about."""
    for cache in all_caches():
        cache.clear()
    deadline = time.monotonic() + CLOSES
    while _is_closing() and time.monotonic() < deadline:
        time.sleep(0.001)  # between two looks: closes run on a thread of llmkeep's own


def _is_closing() -> bool:
    return any(row.state == "closed" for cache in all_caches() for row in cache.snapshot())
