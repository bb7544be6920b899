"""Under everything at once nothing is lost, broken, left open or paid for twice.

`python -m tests.chaos` runs more of these, for as long as one likes.
"""

from __future__ import annotations

import pytest

from tests.chaos.plan import Fault
from tests.chaos.storm import Size, storm


# AnyIO's own, where a cancelled task's connection attempt has not started.
@pytest.mark.filterwarnings("ignore:coroutine .*try_connect' was never awaited:RuntimeWarning")
# CPython's own: see tests/transports/test_stress.py.
@pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored.*generator already executing"
    ":pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("seed", [1])
def test_i3_i4_i7_i9_i13_a_storm_breaks_nothing(seed: int) -> None:
    """200 streams at once, over an upstream that fails in every way, cost nobody else anything."""
    size = Size()
    assert size.streams == 200
    outcome = storm(seed, size)
    assert not outcome.violations, "\n".join(outcome.violations)
    # It was a storm: each fault was played, models were retired and built, the books looked at.
    assert set(outcome.faults) == {fault.name for fault in Fault}
    assert outcome.retirements > 10
    assert outcome.builds > 10
    assert min(outcome.stats.hits, outcome.stats.built, outcome.stats.joined) > 10
    assert outcome.samples > 50
