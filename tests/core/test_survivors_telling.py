"""What mutation testing of the figures found unproved."""

from __future__ import annotations

from llmkeep.core.stats import InstanceInfo
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Gate, lease, start


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
