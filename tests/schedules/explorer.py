"""Every schedule of a scenario up to a bound of preemptions, and one schedule again by its seed.

A run is decided by its choices; by default whoever runs goes on, and the first in order follows who
cannot. Depth first, each run's last choices are changed first, so no run is done twice and none
within the bound is left out. A switch away from somebody who could go on counts as one preemption
(CHESS's measure: most faults need one or two), as does a time limit that runs out while somebody
could go on; a switch from somebody who waits or has ended is free, and all of those are tried.

A seed names a run by where it departs from the default: `12b.30c!` is: at the 12th choice b goes
on, at the 30th c, whose time limit has run out. The empty seed, `-`, departs nowhere.
"""

from __future__ import annotations

import gc
import random
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from tests.schedules.scheduler import Choice, Scheduler, Step
from tests.schedules.seams import Seams, replaced
from tests.schedules.world import World

#: What sets the cache and the actors of a scenario up.
Scenario = Callable[[World], None]
#: Who goes on at which choice; whoever it does not name follows by default.
Plan = dict[int, Choice]

#: Runs between two collections of what they leave; none happens within a run.
COLLECT_AFTER: Final = 100


@dataclass(frozen=True)
class Fault:
    """A schedule in which something that must hold did not."""

    scenario: str
    seed: str
    what: str
    steps: str

    def __str__(self) -> str:
        return f"{self.scenario}: {self.what}\n  seed {self.seed!r}, who went on: {self.steps}"


@dataclass(frozen=True)
class Result:
    """What came of exploring one scenario."""

    scenario: str
    schedules: int
    #: Choices in the longest run.
    choices: int
    seconds: float
    #: Whether every schedule within the bound was tried.
    complete: bool
    fault: Fault | None = None


def explore(
    scenario: Scenario, preemptions: int, *, most: int | None = None, fine: bool = False
) -> Result:
    """Try every schedule with so many preemptions, or a sample, until one shows a fault."""
    name, begun = scenario.__name__, time.perf_counter()
    schedules = choices = 0
    fault: Fault | None = None

    def run(plan: Plan) -> list[Step] | None:
        nonlocal schedules, choices, fault
        steps, fault = _run(seams, scenario, plan, fine=fine)
        schedules += 1
        choices = max(choices, len(steps))
        if schedules % COLLECT_AFTER == 0:
            gc.collect()
        return steps if fault is None else None

    with _undisturbed() as seams:
        complete = search(run, preemptions, most=most)
    return Result(name, schedules, choices, time.perf_counter() - begun, complete, fault)


def search(
    run: Callable[[Plan], list[Step] | None], preemptions: int, *, most: int | None = None
) -> bool:
    """Call `run` with each plan within the bound, once; whether all were tried.

    It returns the choices that the plan led to, or None to end the search. If there are more plans
    than `most`, it gets a sample of so many, the same one every time.
    """
    pick = random.Random(0)
    tried = 0
    todo: list[tuple[Plan, int, int]] = [({}, 0, 0)]
    while todo and (most is None or tried < most):
        if most is not None:
            chosen = pick.randrange(len(todo))
            todo[chosen], todo[-1] = todo[-1], todo[chosen]
        plan, fixed, spent = todo.pop()
        steps = run(plan)
        if steps is None:
            return False
        tried += 1
        for number in range(fixed, len(steps)):
            step = steps[number]
            todo.extend(
                ({**plan, number: option}, number + 1, spent + step.cost(option))
                for option in step.options
                if option != step.chosen and spent + step.cost(option) <= preemptions
            )
    return not todo


def replay(scenario: Scenario, seed: str, *, fine: bool = False) -> Fault | None:
    """Run one schedule; the fault it shows, if any."""
    plan = read_seed(seed)
    with _undisturbed() as seams:
        return _run(seams, scenario, plan, fine=fine)[1]


def write_seed(plan: Plan) -> str:
    """A plan as a short string."""
    return ".".join(f"{number}{choice}" for number, choice in sorted(plan.items())) or "-"


def read_seed(seed: str) -> Plan:
    """The plan that `write_seed` wrote. Raises ValueError for anything else."""
    plan = {}
    for each in [] if seed == "-" else seed.split("."):
        found = re.fullmatch(r"(\d+)([a-z]|\(\d+\))(!?)", each)
        if found is None:
            raise ValueError(f"not a seed: {seed!r}")
        plan[int(found[1])] = Choice(found[2], late=bool(found[3]))
    return plan


def _run(
    seams: Seams, scenario: Scenario, plan: Plan, *, fine: bool
) -> tuple[list[Step], Fault | None]:
    scheduler = Scheduler(plan)
    seams.scheduler = scheduler
    world = World(scheduler, fine=fine)
    try:
        scenario(world)
        scheduler.run(world.check)
        world.check_at_rest()
        scheduler.exploring = False
        scheduler.spawn(world.close_in_the_end)
        scheduler.run(world.check)
        world.check_at_rest()
        world.check_closed()
    except Exception as error:
        steps = " ".join(
            f"{who}*{len(list(times))}"
            for who, times in groupby(str(step.chosen) for step in scheduler.steps)
        )
        fault = Fault(scenario.__name__, write_seed(plan), _in_words(error), steps)
        scheduler.abort()
        world.abandon()
        return scheduler.steps, fault
    finally:
        seams.scheduler = None
    return scheduler.steps, None


def _in_words(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = str(error) or f"{last.name}: {last.line}"
    return what if isinstance(error, AssertionError) else f"{type(error).__name__}: {what}"


@contextmanager
def _undisturbed() -> Iterator[Seams]:
    """The core under the scheduler, and neither the collector nor a warning comes between."""
    was_enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        with replaced() as seams, warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield seams
            gc.collect()
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
