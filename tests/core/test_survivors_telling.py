"""What mutation testing of the figures found unproved."""

from __future__ import annotations

import time

from llmkeep.core.stats import InstanceInfo
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Gate, lease, start, until_waiting


def test_i13_what_is_being_built_has_no_age_yet(make_cache: MakeCache, gate: Gate) -> None:
    """Nor a label, a weight, a lease or a time of idleness."""
    cache = make_cache(weigh=lambda client: 2.0)
    caller = start(lease, cache)
    gate.begun()

    (row,) = cache.snapshot()

    assert row == InstanceInfo(
        id=row.id, label="", scope="process", state="building", leases=0, age=0, idle=0, weight=0
    )
    gate.open()
    caller.result(WAIT)


def test_i13_a_line_counts_what_there_is(make_cache: MakeCache, gate: Gate) -> None:
    """Ready ones are the leased and the idle."""
    cache = make_cache(name="line")
    for number in (1, 2, 3):
        first = start(lease, cache, number)
        gate.begun(number).release()
        first.result(WAIT)
    kept = cache.lease(1)
    kept.__enter__()
    caller = start(lease, cache, 4)
    until_waiting(cache, 1)
    try:
        assert repr(cache) == (
            "<ClientCache 'line' process: 3 ready (1 leased), 1 building, 1 waiting, 0 retired, "
            "max_idle 256>"
        )
    finally:
        kept.__exit__(None, None, None)
        gate.open()
        caller.result(WAIT)


def test_i13_nothing_is_idle_for_longer_than_it_is_old(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """Nor older than the time since it was asked for."""
    began = time.monotonic()
    cache = make_cache()
    lease(cache)

    (row,) = cache.snapshot()

    assert 0 <= row.idle <= row.age <= time.monotonic() - began
