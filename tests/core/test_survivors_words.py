"""What mutation testing of what a cache tells, and takes for granted, found unproved."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from llmkeep import ClientCache
from tests.core.conftest import MakeCache
from tests.core.tools import Client, Gate, lease, resource_warning


def test_i3_a_warning_of_a_dropped_cache_names_the_line_that_dropped_it() -> None:
    """Whoever reads it finds their own file, not ours and not their caller's."""
    cache: ClientCache[Any, Any] = ClientCache(
        lambda spec: Client(spec, 0), close=lambda client: None
    )
    lease(cache)

    with resource_warning("was dropped with 1 instances open") as warned:
        del cache

    assert [each.filename for each in warned] == [__file__]


def test_i3_a_warning_of_a_broken_lease_names_the_line_that_closed(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """The place where the lease was taken is in the text; the warning's own is the `close`."""
    cache = make_cache()
    leased = cache.lease("k")
    leased.__enter__()

    with resource_warning("was closed while 1 leases were out") as warned:
        cache.close(timeout=0)

    assert [each.filename for each in warned] == [__file__]
    leased.__exit__(None, None, None)


def test_i13_figures_cannot_be_changed(make_cache: MakeCache, open_gate: Gate) -> None:
    """What was true when it was asked for stays as it was."""
    cache = make_cache()
    lease(cache)

    for shown in (cache.stats(), *cache.snapshot()):
        name = next(iter(vars(shown)))
        with pytest.raises(FrozenInstanceError):
            setattr(shown, name, 0)


def test_i10_a_cache_of_which_nothing_is_said_is_bounded() -> None:
    """By how many may be idle, for how long, and by how long a close may take."""
    defaults = {
        name: each.default for name, each in inspect.signature(ClientCache).parameters.items()
    }

    assert defaults["max_idle"] == 256
    assert defaults["idle_ttl"] == 600.0
    assert defaults["close_timeout"] == 10.0
    assert defaults["failure_backoff"] == 0.0
    assert defaults["keep_unclaimed"] is True
    for close in (ClientCache.close, ClientCache.aclose):
        assert inspect.signature(close).parameters["timeout"].default == 30.0
