"""Explore deeper than a run of all tests can: `python -m tests.schedules --preemptions 3`.

`--replay SEED` runs one schedule of one scenario again, and tells what it shows.
"""

from __future__ import annotations

import argparse
import sys

from tests.schedules.explorer import explore, read_seed, replay
from tests.schedules.faults import FAULTS, MOST
from tests.schedules.scenarios import THREE, TWO


def main() -> int:
    """1 if a fault was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--preemptions", type=int, default=2, help="the bound (default: 2)")
    parser.add_argument("--actors", type=int, choices=(2, 3), help="only scenarios of so many")
    parser.add_argument("--most", type=int, help="schedules per scenario, at most")
    parser.add_argument("--fine", action="store_true", help="preempt at every look at a queue")
    parser.add_argument("--scenario", help="only this one")
    parser.add_argument("--replay", metavar="SEED", help="one schedule of --scenario")
    parser.add_argument("--faults", action="store_true", help="what shows the hand-made faults")
    options = parser.parse_args()
    if options.faults:
        return show_faults()
    chosen = {2: TWO, 3: THREE}.get(options.actors, TWO + THREE)
    if options.scenario is not None:
        names = [each.__name__ for each in chosen]
        if options.scenario not in names:
            parser.error(f"no such scenario: {options.scenario}; there are {', '.join(names)}")
        chosen = [each for each in chosen if each.__name__ == options.scenario]
    if options.replay is not None:
        if options.scenario is None:
            parser.error("--replay needs a --scenario")
        try:
            read_seed(options.replay)
        except ValueError as error:
            parser.error(f"{error}; one looks like 12b.30c! and is printed with the fault it shows")
        faults = [replay(each, options.replay, fine=options.fine) for each in chosen]
        print(*(each or "no fault" for each in faults), sep="\n")
        return int(any(faults))
    print(f"{'scenario':30} {'schedules':>9} {'choices':>7} {'seconds':>7}  complete")
    broken = 0
    for scenario in chosen:
        result = explore(scenario, options.preemptions, most=options.most, fine=options.fine)
        print(
            f"{result.scenario:30} {result.schedules:9} {result.choices:7} {result.seconds:7.1f}  "
            f"{'yes' if result.complete else 'no'}",
            flush=True,
        )
        if result.fault is not None:
            print(result.fault, flush=True)
            broken += 1
    print(f"{broken} faults found" if broken else "no fault found")
    return int(broken > 0)


def show_faults() -> int:
    """1 if a hand-made fault stays unseen."""
    unseen = 0
    for broken in FAULTS:
        with broken.built_in():
            result = explore(broken.scenario, broken.preemptions, most=MOST)
        unseen += result.fault is None
        print(
            f"{broken.name}: {broken.preemptions} preemptions, schedule {result.schedules}, "
            f"{result.fault or 'not seen'}"
        )
    return int(unseen > 0)


if __name__ == "__main__":
    sys.exit(main())
