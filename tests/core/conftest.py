"""A factory under control, held or open, and caches whose books are looked at in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from llmkeep import ClientCache
from tests.core.books import check, check_at_rest
from tests.core.tools import Gate, until

MakeCache = Callable[..., ClientCache[Any, Any]]


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A factory whose calls wait until the test lets them; open in the end."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def open_gate(gate: Gate) -> Gate:
    """The same, open from the beginning."""
    gate.open()
    return gate


@pytest.fixture
def make_cache(gate: Gate) -> Iterator[MakeCache]:
    """Make caches that build and close through `gate`, if not told otherwise.

    In the end their books have to add up, and everything is closed, once each.
    """
    made: list[ClientCache[Any, Any]] = []

    def make(build: Any = gate.build, **options: Any) -> ClientCache[Any, Any]:
        cache: ClientCache[Any, Any] = ClientCache(build, **{"close": gate.close, **options})
        made.append(cache)
        return cache

    yield make
    gate.open()
    for cache in made:
        until(partial(_no_builds, cache), f"the end of the builds of {cache!r}")
        check_at_rest(cache)
        cache.close(timeout=5)
        check(cache)
        figures = cache.stats()
        assert figures.live == 0, f"{cache!r} is closed"
    assert all(client.closes == 1 for client in gate.closed), gate.closed


def _no_builds(cache: ClientCache[Any, Any]) -> bool:
    return not cache._ledger.flights
