"""Leave out one statement of a module of the core at a time, and see whether its tests notice.

    python -m tests.mutants.deletions core/ledger.py              # every statement: hours
    python -m tests.mutants.deletions core/ledger.py --every 8    # a sample
    python -m tests.mutants.deletions core/ledger.py --line 218   # one

Left out are calls whose result is not used, assignments to attributes, counting, `del`: what is
done for its effect. cosmic-ray, which changes expressions, has no such mutation. Prints each with
the test that noticed it. To be run on a quiet machine: on a loaded one a test may fail because time
ran out, which proves nothing.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from typing import Final

from .patches import Patch
from .trials import FAILED, PACKAGE, PASSED, trial

FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
#: The test that failed, as pytest's summary names it; none where one hung.
NOTICED_BY: Final = re.compile(r"^(?:FAILED|ERROR) \S+::(\S+)", re.MULTILINE)


def main() -> int:
    """1 if something can be left out that no test misses."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.deletions")
    parser.add_argument("file", help="in the package, as core/ledger.py")
    parser.add_argument("--every", type=int, default=1, help="only every so-many-th statement")
    parser.add_argument("--line", type=int, action="append", help="only what begins there")
    options = parser.parse_args()
    statements = [
        node
        for node in _statements(options.file)
        if not options.line or node.lineno in options.line
    ]
    unnoticed = 0
    for node in statements[:: options.every]:
        patch = _without(options.file, node)
        outcome = trial([patch.test], patch)
        noticed_by = "".join(NOTICED_BY.findall(outcome.output))
        print(f"{patch}: {outcome.word} ({outcome.seconds:.0f} s) {noticed_by}", flush=True)
        unnoticed += outcome.returned not in (FAILED, None)
        if outcome.returned not in (FAILED, None, PASSED):
            print(outcome.output)
    print(f"{unnoticed} of {len(statements[:: options.every])} went unnoticed")
    return 1 if unnoticed else 0


def _statements(file: str) -> list[ast.stmt]:
    """What is done for its effect, in the order of the lines."""
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, FUNCTION))
    found = {node for each in functions for node in ast.walk(each) if _has_effect(node)}
    return sorted(
        (node for node in found if isinstance(node, ast.stmt)), key=lambda node: node.lineno
    )


def _has_effect(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete():
            return True
        case ast.Assign(targets=targets):
            return not any(isinstance(each, ast.Name) for each in targets)
    return False


def _without(file: str, node: ast.stmt) -> Patch:
    """The whole text is what stands there: a statement alone may stand there twice."""
    text = (PACKAGE / file).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    assert node.end_lineno is not None
    indent = " " * node.col_offset
    lines[node.lineno - 1 : node.end_lineno] = [f"{indent}pass\n"]
    name = f"{file}:{node.lineno} without {ast.unparse(node)}"
    return Patch(0, name, file, text, "".join(lines), "core")


if __name__ == "__main__":
    sys.exit(main())
