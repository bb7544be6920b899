"""The explorer finds faults: each that is built into the core, with a seed that shows it again."""

from __future__ import annotations

import pytest

from tests.schedules.explorer import explore, read_seed, replay, write_seed
from tests.schedules.faults import FAULTS, MOST, Broken
from tests.schedules.scheduler import Choice

EVERY = pytest.mark.parametrize("broken", FAULTS, ids=lambda each: each.name)


@EVERY
def test_a_fault_is_found_and_its_seed_replays_it(
    broken: Broken, capfd: pytest.CaptureFixture[str]
) -> None:
    """With so few preemptions; the same seed on the core as it is shows nothing."""
    with broken.built_in():
        found = explore(broken.scenario, broken.preemptions, most=MOST).fault
        assert found is not None
        again = replay(broken.scenario, found.seed)

    assert again is not None
    assert again.steps == found.steps
    assert replay(broken.scenario, found.seed) is None


@EVERY
def test_a_kept_seed_shows_its_fault(broken: Broken, capfd: pytest.CaptureFixture[str]) -> None:
    """With the fault it does, without it does not: what was found once is looked at every time."""
    with broken.built_in():
        shown = replay(broken.scenario, broken.seed)

    assert shown is not None, "`python -m tests.schedules --faults` tells the seed of now"
    assert replay(broken.scenario, broken.seed) is None


def test_a_seed_is_a_plan() -> None:
    """What is written is read."""
    plan = {3: Choice("b"), 12: Choice("c", late=True), 40: Choice("(27)")}

    assert write_seed(plan) == "3b.12c!.40(27)"
    assert read_seed("3b.12c!.40(27)") == plan
    assert read_seed("-") == {}
    with pytest.raises(ValueError, match="not a seed"):
        read_seed("3b..x")
