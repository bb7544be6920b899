"""What shows the caches of a process."""

from __future__ import annotations

import gc

from llmkeep import ClientCache
from llmkeep.core import all_caches


def test_all_caches_are_listed_as_long_as_somebody_holds_them() -> None:
    """What shows the caches of a process finds each by its name, and keeps none alive."""
    cache = ClientCache(str.upper, name="listed")
    assert [each.name for each in all_caches() if each is cache] == ["listed"]

    cache.close()
    del cache
    gc.collect()

    assert not [each for each in all_caches() if each.name == "listed"]
