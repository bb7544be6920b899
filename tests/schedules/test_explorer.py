"""The explorer itself, on programs of which it is known how many schedules they have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import comb

import pytest

from tests.schedules.explorer import Plan, search
from tests.schedules.scheduler import Choice, ScheduledSleep, Scheduler, Step, Violation


def schedules(
    program: Callable[[Scheduler], object], preemptions: int, most: int | None = None
) -> list[str]:
    """Every run of `program` within the bound, as who went on."""
    runs = []

    def run(plan: Plan) -> list[Step]:
        scheduler = Scheduler(plan)
        program(scheduler)
        scheduler.run(lambda: None)
        runs.append("".join(map(str, (step.chosen for step in scheduler.steps))))
        return scheduler.steps

    assert search(run, preemptions, most=most) is (most is None)
    return runs


def counting(scheduler: Scheduler, points: int) -> None:
    """Two actors that come to so many points each."""

    def work() -> None:
        for _ in range(points):
            scheduler.point()

    scheduler.spawn(work)
    scheduler.spawn(work)


@pytest.mark.parametrize("points", [1, 2, 3])
def test_without_a_bound_every_interleaving_is_tried_once(points: int) -> None:
    """Two actors of n + 1 steps each can follow in (2n + 2 over n + 1) ways."""
    runs = schedules(partial(counting, points=points), preemptions=100)

    assert len(runs) == len(set(runs)) == comb(2 * points + 2, points + 1)


def test_each_preemption_more_adds_schedules() -> None:
    """Without one: who begins. With one: two for each of the two points of either."""
    assert [len(schedules(partial(counting, points=2), bound)) for bound in range(3)] == [2, 6, 14]


def test_a_sample_is_the_same_every_time() -> None:
    """So many schedules, no one twice, all of them among those that there are."""
    program = partial(counting, points=3)

    runs = schedules(program, preemptions=100, most=20)

    assert len(set(runs)) == len(runs) == 20
    assert set(runs) < set(schedules(program, preemptions=100))
    assert schedules(program, preemptions=100, most=20) == runs


def test_a_time_limit_may_run_out_first() -> None:
    """What a sleeper waits for, and the end of its patience, are two choices."""
    ended = []

    def program(scheduler: Scheduler) -> None:
        sleep = ScheduledSleep(scheduler)
        sleep.acquire()
        scheduler.spawn(lambda: ended.append(sleep.acquire(timeout=1.0)))
        scheduler.spawn(sleep.release)

    schedules(program, preemptions=1)

    assert set(ended) == {True, False}


def test_who_is_never_woken_is_found() -> None:
    """Nobody can go on: that is a violation, and not the end."""
    scheduler = Scheduler({})
    sleep = ScheduledSleep(scheduler)
    sleep.acquire()
    scheduler.spawn(sleep.acquire)

    with pytest.raises(Violation, match="a will never be answered"):
        scheduler.run(lambda: None)
    scheduler.abort()


def test_a_plan_decides() -> None:
    """The choices of a plan are made, and what it does not name goes on as it is."""
    scheduler = Scheduler({1: Choice("b")})
    counting(scheduler, 2)

    scheduler.run(lambda: None)

    assert [step.chosen.actor for step in scheduler.steps[:3]] == ["a", "b", "b"]


def test_a_run_that_does_not_end_is_found() -> None:
    """Going round for ever is a violation too, also where there is nobody else."""
    scheduler = Scheduler({})

    def work() -> None:
        while True:
            scheduler.point()

    scheduler.spawn(work)

    with pytest.raises(Violation, match="does not end"):
        scheduler.run(lambda: None)
    scheduler.abort()
