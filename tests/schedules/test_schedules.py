"""Every schedule of the scenarios, up to a few preemptions.

`python -m tests.schedules` goes deeper. Here is what a run of all tests can afford.
"""

from __future__ import annotations

import pytest

from tests.schedules.explorer import Scenario, explore
from tests.schedules.scenarios import THREE, TWO, forked

#: Schedules tried per scenario: if there are more, a sample, the same one every time.
MOST = 200
#: Of those that fork: each is a process.
MOST_FORKS = 30


@pytest.mark.parametrize("scenario", TWO, ids=lambda each: each.__name__)
def test_i1_i3_i4_i10_i13_hold_in_schedules_of_two(scenario: Scenario) -> None:
    """With one preemption nothing is broken at any step, and every waiter is answered."""
    most = MOST_FORKS if scenario is forked else MOST

    result = explore(scenario, preemptions=1, most=most)

    assert result.fault is None, str(result.fault)


@pytest.mark.parametrize("scenario", THREE, ids=lambda each: each.__name__)
def test_i1_i3_i4_i10_i13_hold_in_schedules_of_three(scenario: Scenario) -> None:
    """The same with three actors: without preemption, all orders in which they may follow."""
    result = explore(scenario, preemptions=0, most=MOST)

    assert result.fault is None, str(result.fault)
