"""Run scenarios on ourselves and on our peers, keep the figures, write the report.

python -m tests.conformance                     measure ourselves, show the figures
python -m tests.conformance --peers             measure the peers and keep their figures
python -m tests.conformance --report            measure ourselves and write the report
python -m tests.conformance --subject lru_cache --scenario one_key_many_threads --say
"""

from __future__ import annotations

import argparse
import sys

from . import report
from .figures import OURS, PEERS, keep, measure, ours, peers, read
from .outcome import Outcome
from .stage import load_scenarios
from .subject import load, names


def main() -> int:
    """1 if something of ours was not all zeros and ones."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", action="append", choices=list(load_scenarios()))
    parser.add_argument("--subject", action="append", choices=names())
    parser.add_argument("--peers", action="store_true", help="measure the peers, keep the figures")
    parser.add_argument("--report", action="store_true", help="measure ourselves, write the report")
    parser.add_argument("--draw", action="store_true", help="write the report of what is kept")
    parser.add_argument("--say", action="store_true", help="show what the processes print")
    options = parser.parse_args()
    broken = 0
    if not options.draw:
        for subject in options.subject or (peers() if options.peers else ours()):
            broken += _measure(subject, options)
    if options.report or options.draw:
        report.write(read(OURS), read(PEERS))
    return int(broken > 0)


def _measure(subject: str, options: argparse.Namespace) -> int:
    broken = 0

    def told(scenario: str, subject: str, outcome: Outcome, said: str) -> None:
        nonlocal broken
        broken += bool(load(subject).ours and outcome.faults())
        print(_line(scenario, subject, outcome), flush=True)
        if options.say:
            print(said)

    figures = measure(subject, options.scenario or load_scenarios(), told)
    if options.peers or options.report:
        keep(OURS if load(subject).ours else PEERS, subject, figures)
    return broken


def _line(scenario: str, subject: str, outcome: Outcome) -> str:
    start = f"{scenario:34} {subject:22}"
    if not outcome.applies:
        return f"{start} does not apply: {outcome.reason}"
    found = outcome.faults()
    text = ", ".join(f"{name} {value}" for name, value in found.items()) or "as it should be"
    more = [str(each) for each in (outcome.errors, outcome.printed) if each]
    return f"{start} {outcome.seconds:6.2f} s  {outcome.calls:4} calls  {text}  {' '.join(more)}"


if __name__ == "__main__":
    sys.exit(main())
