"""Run all benchmarks, print what they found, and write it down with a plot.

    python -m benchmarks                 all, about seven minutes
    python -m benchmarks --quick         all, in less than one: rougher, and fewer keys
    python -m benchmarks hot storms      some
    python -m benchmarks --publish       all, and replace docs/benchmarks as well

Results are written into benchmarks/output: results.md, results.json, plot.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from . import (
    contention,
    conversations,
    handlers,
    hot,
    imports,
    local_evaluation,
    million,
    service,
    storms,
    stuck,
    turn,
)
from .harness import Report
from .plot import draw

SUBJECTS: Final[dict[str, Callable[[bool], Report]]] = {
    "hot": hot.measure,
    "contention": contention.measure,
    "storms": storms.measure,
    "stuck": stuck.measure,
    "handlers": handlers.measure,
    "turn": turn.measure,
    "conversations": conversations.measure,
    "service": service.measure,
    "million": million.measure,
    "imports": imports.measure,
    "local": local_evaluation.measure,
}
HERE: Final = Path(__file__).resolve().parent
OUTPUT: Final = HERE / "output"
PUBLISHED: Final = HERE.parent / "docs" / "benchmarks"
FILES: Final = ("results.md", "results.json", "plot.svg")
PEERS: Final = (
    "cachetools",
    "cachebox",
    "dogpile.cache",
    "async-lru",
    "cashews",
    "litellm",
    "sqlalchemy",
    "langchain",
    "langchain-openai",
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="What llmkeep costs.")
    parser.add_argument("subjects", nargs="*", metavar="subject", help=", ".join(SUBJECTS))
    parser.add_argument("--quick", action="store_true", help="rougher, in less than a minute")
    parser.add_argument("--publish", action="store_true", help="replace docs/benchmarks as well")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.subjects if name not in SUBJECTS]
    if unknown:
        parser.error(f"no such subject: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    if arguments.publish and (arguments.quick or arguments.subjects):
        parser.error("--publish is for a whole run, neither quick nor of some subjects")
    return arguments


def _machine() -> str:
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} "
        f"{platform.machine()} with {os.cpu_count()} processors"
    )


def _versions() -> str:
    found = []
    for name in PEERS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} (not installed, left out)")
    return ", ".join(found)


def _head(reports: dict[str, Report], has_plot: bool) -> str:
    verdicts = [verdict for report in reports.values() for verdict in report.verdicts]
    kept = sum(verdict.kept for verdict in verdicts)
    parts = [
        "# What llmkeep costs, beside its peers",
        f"{_machine()}; {_versions()}.",
        (
            "Numbers are medians, with the range of the middle four fifths in brackets; a ratio is "
            "taken between neighbours in the same round. `make bench` measures again."
        ),
        f"{kept} of {len(verdicts)} promised numbers are kept here.",
    ]
    if has_plot:
        parts.append("![What a hit costs, and what a storm does](plot.svg)")
    return "\n\n".join(parts)


def _write(reports: dict[str, Report]) -> None:
    OUTPUT.mkdir(exist_ok=True)
    data = {name: report.data for name, report in reports.items()}
    has_plot = draw(data, OUTPUT / "plot.svg")
    text = "\n\n".join([_head(reports, has_plot), *map(str, reports.values())])
    (OUTPUT / "results.md").write_text(text + "\n", encoding="utf-8")
    everything = {"machine": _machine(), "versions": _versions(), **data}
    (OUTPUT / "results.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run what was asked for."""
    arguments = _arguments()
    # Some peers warn of what is measured here: a second event loop, for one.
    warnings.simplefilter("ignore")
    reports: dict[str, Report] = {}
    failed = []
    for name in arguments.subjects or SUBJECTS:
        begin = time.perf_counter()
        print(f"... {name}", file=sys.stderr, flush=True)
        try:
            reports[name] = SUBJECTS[name](arguments.quick)
        except Exception:  # the others are worth having all the same
            traceback.print_exc()
            failed.append(name)
            continue
        print(f"{reports[name]}\n", flush=True)
        print(f"... took {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    _write(reports)
    print(f"written: {', '.join(f'benchmarks/output/{name}' for name in FILES)}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    if arguments.publish:
        PUBLISHED.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(OUTPUT / name, PUBLISHED / name)
        print("published: docs/benchmarks")


if __name__ == "__main__":
    main()
