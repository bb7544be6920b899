"""Every invariant has tests that carry its number, and each such test states its rule."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
INVARIANTS = range(1, 15)


def named() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """The tests whose name carries an invariant."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                number = node.name.removeprefix("test_i").partition("_")[0]
                if node.name.startswith("test_i") and number.isdecimal():
                    yield path, node, int(number)


@pytest.mark.parametrize("number", INVARIANTS)
def test_every_invariant_has_a_test(number: int) -> None:
    """A promise that nothing can break a test of is none."""
    assert Counter(each for _, _, each in named())[number] > 0


def test_every_such_test_states_its_rule() -> None:
    """Its docstring is the rule."""
    silent = [
        f"{path.name}: {node.name}" for path, node, _ in named() if not ast.get_docstring(node)
    ]

    assert silent == []
