"""Every schedule of the scenarios, up to a few preemptions.

`python -m tests.schedules` goes deeper. Here is what a run of all tests can afford.
"""

from __future__ import annotations

import pytest

from tests.schedules.explorer import Scenario, explore, replay
from tests.schedules.scenarios import (
    THREE,
    TWO,
    cancelled_turn,
    cancelled_turn_with_a_thread,
    dropped,
    failing_then_invalidated,
    forked,
    invalidated_while_leased,
    thread_and_loop,
    two_threads,
)

#: Schedules tried per scenario: if there are more, a sample, the same one every time.
MOST = 200
#: Of those that fork: each is a process.
MOST_FORKS = 30

#: Schedules that have shown a fault, if only a hand-made one (see `faults`), and which.
SEEDS = (
    (cancelled_turn, "45c.48a", "word was left for nobody"),
    (thread_and_loop, "0b.39c", "word that came during a section was not read"),
    (two_threads, "33b.39a", "a lease that came back during a section was forgotten"),
    (failing_then_invalidated, "18b.30c", "a build was given to a caller who slept"),
    (cancelled_turn_with_a_thread, "40d", "a cancelled waiter kept its turn"),
    (invalidated_while_leased, "18b", "an invalidated build was published"),
    (invalidated_while_leased, "39b.91c", "a leased instance was closed"),
    (dropped, "125d", "an instance was closed twice"),
)


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


@pytest.mark.parametrize(("scenario", "seed", "what"), SEEDS, ids=[each[1] for each in SEEDS])
def test_schedules_that_showed_a_fault_show_none(scenario: Scenario, seed: str, what: str) -> None:
    """What was found once is looked at every time."""
    fault = replay(scenario, seed)

    assert fault is None, f"{what}, or something like it: {fault}"
