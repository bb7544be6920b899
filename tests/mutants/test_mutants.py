"""The faults of `patches` still fit the package, and the tests that are to find them are there.

That they find them is run by hand, `python -m tests.mutants`; here only for two, which takes a few
seconds.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.patches import PATCHES, Patch
from tests.mutants.trials import FAILED, PACKAGE, applied, trial

TESTS = Path(__file__).parents[1]
EVERY = pytest.mark.parametrize("patch", PATCHES, ids=str)


def test_every_invariant_has_a_fault() -> None:
    """A test that cannot fail shows nothing."""
    assert {patch.invariant for patch in PATCHES} == set(range(1, 15))


@EVERY
def test_the_fault_fits(patch: Patch) -> None:
    """Its text is there exactly once, and what takes its place is Python and something else."""
    changed = applied(patch)

    original = (PACKAGE / patch.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(original))


@EVERY
def test_its_tests_are_there_and_carry_its_number(patch: Patch) -> None:
    """Each is a test of the invariant that the fault breaks."""
    for path, name in patch.tests:
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names
        assert name.startswith(f"test_i{patch.invariant}_")


@pytest.mark.parametrize("invariant", [4, 13])
def test_the_fault_is_found(invariant: int) -> None:
    """Its tests, which pass in this very run, fail with it, each of them."""
    patch = next(each for each in PATCHES if each.invariant == invariant)

    outcomes = [trial((test,), patch) for test in patch.tests]

    assert [outcome.returned for outcome in outcomes] == [FAILED] * len(patch.tests), outcomes
