"""Storms for as long as you like: `python -m tests.chaos --seconds 120 --seed 7`.

Each has the next seed. The first one with a violation ends it, says what was found, and how to
play the same calls and faults again.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import threading
import time
import warnings
from collections import Counter
from typing import Any

from tests.chaos.storm import Outcome, Size, storm


def main() -> int:
    """1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="begin storms for so long")
    parser.add_argument("--storms", type=int, help="at most so many")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="the first one")
    parser.add_argument("--calls", type=int, default=2, help="calls of each task (default: 2)")
    options = parser.parse_args()
    logging.getLogger("llmkeep").addHandler(logging.NullHandler())  # it tells of every build
    heard = _listen()
    faults: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    until, done = time.monotonic() + options.seconds, 0
    while time.monotonic() < until and done != options.storms:
        seed = options.seed + done
        outcome = storm(seed, Size(calls=options.calls))
        outcome.violations += heard
        faults += outcome.faults
        endings += outcome.endings
        done += 1
        print(outcome, flush=True)
        if outcome.violations:
            return _tell(outcome, options.calls)
    print(f"{done} storms, nothing found.")
    for title, counts in (("Faults played", faults), ("How calls ended", endings)):
        print(f"{title}:")
        print("\n".join(f"  {count:6} {name}" for name, count in counts.most_common()))
    return 0


def _listen() -> list[str]:
    """What the interpreter would only print: leaks, and what finalizers raise."""
    heard: list[str] = []

    def unraisable(found: Any) -> None:
        # Both are known, and not ours: see tests/transports/test_stress.py.
        text = f"unraisable in {found.object!r}: {found.exc_value!r}"
        if "generator already executing" not in text:
            heard.append(text)

    sys.unraisablehook = unraisable
    threading.excepthook = lambda found: heard.append(f"a thread raised {found.exc_value!r}")
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "coroutine .*try_connect' was never awaited", RuntimeWarning)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    return heard


def _tell(outcome: Outcome, calls: int) -> int:
    for violation in outcome.violations:
        print(f"  {violation}")
    again = f"--seed {outcome.seed} --storms 1 --calls {calls}"
    print(f"again: python -m tests.chaos {again}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
