"""The faults of `patches` still fit the package, and the tests that have to find them are there.

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
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
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
def test_its_test_is_there_and_carries_its_number(patch: Patch) -> None:
    """It is a test of the invariant that the fault breaks."""
    path, _, name = patch.test.partition("::")

    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, FUNCTION)}
    assert name.startswith(f"test_i{patch.invariant}_")


@pytest.mark.parametrize("invariant", [4, 13])
def test_the_fault_is_found(invariant: int) -> None:
    """The test, which passes in this very run, fails with it."""
    patch = next(each for each in PATCHES if each.invariant == invariant)

    outcome = trial([patch.test], patch)

    assert outcome.returned == FAILED, outcome.output
