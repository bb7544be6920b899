"""What is flat in a soak, and the page that says so.

    python -m benchmarks.soak_report      judges benchmarks/output/soak.json again

A figure is taken against the leases granted, after a warm-up, as a straight line through the
medians of a dozen equal parts of the run: neighbouring looks know of each other, those of half a
minute hardly do, so that the line's uncertainty is an honest one; and the moment after `clear()`,
when much is closed and built at once, does not weigh more for being far off. Flat is what may be
ruled out to rise by more than its bound: the upper end of the slope's 95% interval lies below. A
run that is too short to rule that out has not shown it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, linear_regression, median
from typing import Any, Final

from .harness import Report, Table, Verdict

PUBLISHED: Final = Path(__file__).resolve().parent.parent / "docs" / "endurance"
PACKAGES: Final = ("langchain-openai", "langchain-core", "openai", "httpx2", "httpcore2", "anyio")

#: The share of the time that is warm-up: imports, caches of the interpreter and the allocator.
WARM_UP: Final = 0.3
PARTS: Final = 12
#: The quantile of Student's distribution for 95% and two values fewer than there are parts.
STUDENT: Final = 2.228
#: Leases for which slopes are told.
PER: Final = 10_000

ABOUT: Final = (
    "Threads that live long and threads that live for one call, event loops that come and go, "
    "models of ever new keys, evictions, invalidations and forked children, over one full cache of "
    "handles and a provider on loopback. `make soak MINUTES=10` does it again, and ends with 1 if "
    "anything is not flat."
)

Sample = Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """Something that must not grow."""

    title: str
    unit: str
    #: How much it may rise with `PER` leases.
    bound: float


#: A hundred bytes kept for each lease would be a megabyte, an object for every second lease five
#: thousand blocks (models that are about to be closed make them go up and down by more than that);
#: and not one descriptor, thread or child for a thousand leases.
FIGURES: Final = {
    "memory": Figure("resident memory", "MB", 1.0),
    "blocks": Figure("memory blocks of the interpreter", "thousand", 5.0),
    "descriptors": Figure("open descriptors", "", 10.0),
    "threads": Figure("threads", "", 10.0),
    "children": Figure("child processes", "", 10.0),
}
SHOWN: Final = (*FIGURES, "kept", "p50", "p95", "p99")


@dataclass(frozen=True)
class Trend:
    """By how much a figure rises with `PER` leases, and how well that is known (95%)."""

    slope: float
    uncertainty: float

    @property
    def at_most(self) -> float:
        """The steepest rise that is not ruled out."""
        return self.slope + self.uncertainty


def trend(samples: Sequence[Sample], name: str) -> Trend:
    """The trend of a figure after the warm-up; infinitely uncertain with too few looks."""
    warm = [each for each in samples if name in each]
    warm = warm[int(len(warm) * WARM_UP) :]
    size = len(warm) // PARTS
    if size < 2:
        return Trend(0.0, math.inf)
    parts = [warm[number * size : (number + 1) * size] for number in range(PARTS)]
    leases = [median(each["leases"] for each in part) / PER for part in parts]
    values = [median(each[name] for each in part) for part in parts]
    slope, intercept = linear_regression(leases, values)
    off = [value - slope * at - intercept for at, value in zip(leases, values, strict=True)]
    mean = fmean(leases)
    width = sum((at - mean) ** 2 for at in leases)
    error = math.sqrt(sum(each**2 for each in off) / (PARTS - 2) / width)
    return Trend(slope, STUDENT * error)


def judged(data: Mapping[str, Any], verdicts: Sequence[Verdict]) -> Report:
    """The report of a run, with what is flat before the other `verdicts`."""
    samples = data["samples"]
    rows = [(name, f"{count:,}") for name, count in data["counts"].items()]
    looks = [_row(samples, name) for name in SHOWN]
    return Report(
        f"{data['minutes']:g} minutes of churn",
        "How much of everything was done, and the figures at the beginning, in the middle and at "
        "the end (medians of a tenth of the time): memory in MB, blocks in thousands, latencies of "
        f"whole answers in ms. A trend is for {PER:,} leases, after the first {WARM_UP:.0%} of the "
        "time, with its 95% uncertainty.",
        [
            Table(("done", "times"), rows),
            Table(("", "first", "middle", "last", f"trend for {PER:,} leases"), looks),
        ],
        [*(_is_flat(samples, name) for name in FIGURES), *verdicts],
        data,
    )


def _row(samples: Sequence[Sample], name: str) -> tuple[str, ...]:
    """The median over the first, a middle and the last tenth, and the trend."""
    values = [each[name] for each in samples if name in each]
    tenth, middle = max(len(values) // 10, 1), len(values) // 2
    parts = (values[:tenth], values[middle : middle + tenth], values[-tenth:])
    found = trend(samples, name)
    shown = [f"{median(part):.1f}" if part else "none" for part in parts]
    return (name, *shown, f"{found.slope:+.2f} ± {found.uncertainty:.2f}")


def _is_flat(samples: Sequence[Sample], name: str) -> Verdict:
    figure, found = FIGURES[name], trend(samples, name)
    unit = f" {figure.unit}" if figure.unit else ""
    rises = found.slope - found.uncertainty > 0 and found.slope < figure.bound
    return Verdict(
        f"{figure.title}: no rise by {figure.bound:g}{unit} or more with {PER:,} leases",
        f"{found.slope:+.2f} ± {found.uncertainty:.2f}{unit}{' (rises, below the bound)' * rises}",
        found.at_most < figure.bound,
        "It grows." if found.slope >= figure.bound else "The run is too short to tell.",
    )


def publish(report: Report, picture: Path) -> None:
    """Replace docs/endurance by `report` and `picture`."""
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    command = f"python -m benchmarks.soak --minutes {report.data['minutes']:g} --publish"
    used = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kept = sum(verdict.kept for verdict in report.verdicts)
    head = [
        "# Does anything grow?",
        f"`{command}` on {time.strftime('%Y-%m-%d', time.gmtime())}: {_machine()}; {used}.",
        ABOUT,
        f"{kept} of {len(report.verdicts)} promises are kept here.",
        "![Memory, descriptors, threads, children and latencies over time](soak.svg)",
    ]
    text = "\n\n".join([*head, str(report)])
    (PUBLISHED / "soak.md").write_text(text + "\n", encoding="utf-8")
    shutil.copyfile(picture, PUBLISHED / "soak.svg")


def _machine() -> str:
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} "
        f"{platform.machine()} with {os.cpu_count()} processors"
    )


if __name__ == "__main__":
    written = Path(__file__).resolve().parent / "output" / "soak.json"
    again = judged(json.loads(written.read_text(encoding="utf-8")), [])
    print(again)
    sys.exit(not all(verdict.kept for verdict in again.verdicts))
