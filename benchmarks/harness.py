"""How everything here is measured and shown.

Cases are measured in turn, round after round, so that whatever else the machine does falls on all
of them; what is shown is the median of the rounds with its spread, and ratios are taken round by
round before the median is. Work of a single thread is timed by that thread's own clock of processor
time, which stands still while others have the processor; everything else by the wall clock.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Final

#: Processor time of this thread, in seconds.
cpu_clock: Final = time.thread_time

Case = Callable[[], float]


@dataclass(frozen=True)
class Spread:
    """The median of several measurements, and between what four fifths of them lay."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> Spread:
        """The spread of `samples`, of which there is at least one."""
        values = sorted(samples)
        if len(values) < 3:
            return cls(median(values), values[0], values[-1])
        tenths = quantiles(values, n=10, method="inclusive")
        return cls(median(values), tenths[0], tenths[-1])

    def shown(self, form: str = ".0f", unit: str = "") -> str:
        """As text: the median, and the spread in brackets."""
        unit = f" {unit}" if unit else ""
        return f"{self.median:{form}}{unit} ({self.low:{form}} to {self.high:{form}})"


def in_turn(cases: Mapping[str, Case], rounds: int) -> dict[str, list[float]]:
    """Measure every case once per round, forwards and backwards by turns."""
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()  # warm
    gc.collect()
    for number in range(rounds):
        for name in list(cases)[:: 1 if number % 2 == 0 else -1]:
            samples[name].append(cases[name]())
    return samples


def ratio(samples: Sequence[float], base: Sequence[float]) -> Spread:
    """How many times `base` it is, round by round."""
    return Spread.of(one / other for one, other in zip(samples, base, strict=True))


@dataclass(frozen=True)
class Verdict:
    """A number that was promised, and what came of it."""

    promise: str
    measured: str
    kept: bool
    #: What to say where it is not kept.
    why: str = ""

    def __str__(self) -> str:
        found = f"{self.promise}; measured {self.measured}"
        if self.kept:
            return f"kept: {found}"
        return f"NOT kept: {found}. {self.why}".rstrip()


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading for each column."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """In Markdown, padded so that it can be read as it is."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[n]) for line in lines) for n in range(len(self.columns))]

        def shown(line: Sequence[str]) -> str:
            return "| " + " | ".join(map(str.ljust, line, widths)) + " |"

        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([shown(self.columns), rule, *map(shown, self.rows)])


@dataclass(frozen=True)
class Report:
    """What one program has to say."""

    title: str
    text: str
    tables: Sequence[Table] = ()
    verdicts: Sequence[Verdict] = ()
    #: The same as plain data, for the plot and for whoever wants the numbers.
    data: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """In Markdown."""
        promises = "\n".join(f"- {verdict}" for verdict in self.verdicts)
        parts = [f"## {self.title}", self.text, *map(str, self.tables), promises]
        return "\n\n".join(part for part in parts if part)


def quick_from_arguments() -> bool:
    """Whether a program was called with --quick."""
    return "--quick" in sys.argv[1:]


def in_fresh_process(*arguments: str, limit: float) -> Any:
    """Run `python arguments...`, which prints JSON on its last line, and return that.

    Raises RuntimeError with what it wrote when it fails or takes longer than `limit` seconds.
    """
    command = [sys.executable, *arguments]
    # Or litellm asks the network for prices while it is imported.
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    # Installed packages have been compiled, so ours may be too.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=True, env=environment
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"python {' '.join(arguments)} took longer than {limit} s") from None
    except subprocess.CalledProcessError as error:
        told = error.stderr[-2000:]
        raise RuntimeError(f"python {' '.join(arguments)} failed: {told}") from None
    return json.loads(run.stdout.splitlines()[-1])


def repeated(statement: str, names: Mapping[str, Any], number: int) -> Case:
    """A case that runs `statement` `number` times in a loop; seconds of processor time for each.

    As `timeit` does it, the statement stands in the loop itself, and the collector rests. A
    statement with `async` or `await` in it runs on an event loop, in one task.
    """
    is_async = "async " in statement or "await " in statement
    source = (
        f"{'async ' if is_async else ''}def run():\n"
        f"    begin = cpu_clock()\n"
        f"    for _ in range({number}):\n"
        f"        {statement}\n"
        f"    return (cpu_clock() - begin) / {number}\n"
    )
    space: dict[str, Any] = {**names, "cpu_clock": cpu_clock}
    exec(compile(source, f"<{statement}>", "exec"), space)
    run = space["run"]

    def case() -> float:
        gc.disable()
        try:
            return float(asyncio.run(run()) if is_async else run())
        finally:
            gc.enable()

    return case


def on_threads(number: int, work: Callable[[int], object], limit: float | None = None) -> float:
    """Run `work(n)` on `number` threads that start at once; seconds of wall time until all ended.

    With a limit, threads that are not done by then are left behind.
    """
    start = threading.Barrier(number + 1)

    def run(index: int) -> None:
        start.wait()
        work(index)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(number)]
    for thread in threads:
        thread.start()
    start.wait()
    begin = time.perf_counter()
    for thread in threads:
        left = None if limit is None else max(begin + limit - time.perf_counter(), 0.0)
        thread.join(left)
    return time.perf_counter() - begin
