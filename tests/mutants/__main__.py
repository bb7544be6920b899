"""Put each fault into a copy of the package, one at a time, and see that its test finds it.

    python -m tests.mutants            # all of them: some minutes
    python -m tests.mutants i3 i14     # those of some invariants

Prints a table; ends with 1 if a fault was not found, or if a test fails without any.
"""

from __future__ import annotations

import signal
import sys

from .patches import PATCHES, Patch
from .trials import FAILED, PASSED, trial


def main(arguments: list[str]) -> int:
    """Run the patches of the invariants named in `arguments`, or all."""
    wanted = {argument.lower() for argument in arguments}
    patches = [patch for patch in PATCHES if not wanted or f"i{patch.invariant}" in wanted]
    if not patches:
        print(f"no such invariant: {' '.join(arguments)}; say i1, i2 ... i14", file=sys.stderr)
        return 2
    tests = list(dict.fromkeys(patch.test for patch in patches))
    print("| fault | test | with the fault | |\n|---|---|---|---|")
    print(f"| none | all {len(tests)} | ", end="", flush=True)
    clean = trial(tests)
    print(f"{clean.word} | {clean.seconds:.0f} s |")
    if clean.returned != PASSED:
        print(clean.output)
        return 1
    missed = [patch for patch in patches if not _is_found(patch)]
    for patch in missed:
        print(f"not found: {patch}")
    return 1 if missed else 0


def _is_found(patch: Patch) -> bool:
    print(f"| {patch} | {patch.test.partition('::')[2]} |", end=" ", flush=True)
    outcome = trial([patch.test], patch)
    print(f"{outcome.word} | {outcome.seconds:.0f} s |", flush=True)
    if outcome.returned == FAILED:
        return True
    print(outcome.output)
    return False


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what it started ends with it
    sys.exit(main(sys.argv[1:]))
