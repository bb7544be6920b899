"""Ten minutes of churn, or as long as you like: does anything grow?

    python -m benchmarks.soak --minutes 10

Threads that live long and threads that live for one call, event loops that come and go, models of
ever new keys, invalidations and forked children, all over one cache, with a provider in a process
of its own. Every second memory, descriptors, threads, kept models and the latencies of that second
are written down; they are drawn into benchmarks/output/soak.svg, beside soak.json. What has a
slope over the second half of the time is not flat, and the exit status is 1.

Not here: faults of the network (`python -m tests.chaos`), and how fast anything is: latencies are
those of a busy machine, drawn to show that they do not rise.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import logging
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, linear_regression, median, quantiles
from typing import Any, Final

import llmkeep

from .harness import Report, Table, Verdict
from .million import resident_megabytes
from .provider import MODEL, TOKENS, provider

OUTPUT: Final = Path(__file__).resolve().parent / "output"
#: Seconds between two looks.
EVERY: Final = 1.0
#: Models that everybody uses, beside those that are asked once.
SHARED: Final = 8
#: How much of its mean a figure may rise over the second half of the time: descriptors and threads
#: go up and down with the calls of the moment, so that chance gives them a slope.
FLAT: Final = {"memory": 0.03, "descriptors": 0.1, "threads": 0.1}
#: Chunks of a whole answer that have text, at least.
WHOLE: Final = TOKENS


class Soak:
    """The workers and what they count; lives as long as one run."""

    def __init__(self, base_url: str, seconds: float) -> None:
        self.base_url, self.seconds = base_url, seconds
        self.over = threading.Event()
        self.failures: list[str] = []
        self.latencies: list[float] = []
        self.counts = dict.fromkeys(("calls", "keys", "loops", "threads", "forks"), 0)
        self.samples: list[dict[str, float]] = []
        self._keys = itertools.count()
        self._lock = threading.Lock()
        self._shared = [self._model(f"shared {number}") for number in range(SHARED)]

    def run(self) -> None:
        """For `seconds`, then until every worker has ended."""
        workers = [
            *(self._worker(self._read, 0.05) for _ in range(3)),
            *(self._worker(self._loop, 0.05) for _ in range(2)),
            self._worker(self._short_threads, 0.2),
            self._worker(self._new_key, 0.05),
            self._worker(self._retire, 0.5),
            self._worker(self._fork, 3.0),
        ]
        for worker in workers:
            worker.start()
        began = time.monotonic()
        while (now := time.monotonic() - began) < self.seconds and not self.failures:
            self.samples.append(self._look(now))
            self.over.wait(EVERY)
        self.over.set()
        for worker in workers:
            worker.join(60)
            if worker.is_alive():
                self.failures.append(f"{worker.name} hangs")

    def _worker(self, work: Callable[[random.Random], None], pause: float) -> threading.Thread:
        def run() -> None:
            draw = random.Random(work.__name__)
            try:
                while not self.over.wait(pause * draw.uniform(0.5, 1.5)):
                    work(draw)
            except BaseException:
                self.failures.append(traceback.format_exc())

        return threading.Thread(target=run, name=work.__name__, daemon=True)

    def _model(self, key: str) -> Any:
        return llmkeep.chat_model(f"openai:{MODEL}", base_url=self.base_url, api_key=key)

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    # --- the workers ---

    def _read(self, draw: random.Random) -> None:
        """A thread that lives long: one answer, or the beginning of one."""
        whole = draw.random() < 0.8
        began = time.perf_counter()
        chunks = 0
        for chunk in draw.choice(self._shared).stream("hello"):
            chunks += bool(chunk.text)
            if not whole and chunks == 3:
                break
        if whole:
            self._told(chunks, began)

    async def _aread(self, model: Any) -> None:
        began = time.perf_counter()
        chunks = 0
        async for chunk in model.astream("hello"):
            chunks += bool(chunk.text)
        self._told(chunks, began)

    def _told(self, chunks: int, began: float) -> None:
        if chunks < WHOLE:
            raise AssertionError(f"{chunks} chunks of {WHOLE} came")
        with self._lock:
            self.latencies.append(time.perf_counter() - began)
            self.counts["calls"] += 1

    def _loop(self, draw: random.Random) -> None:
        """An event loop for a few calls, one of which is cancelled, and one left to its end."""

        async def calls() -> None:
            tasks = [asyncio.create_task(self._aread(draw.choice(self._shared))) for _ in range(8)]
            await asyncio.wait(tasks, timeout=draw.random() * 0.02)
            tasks[0].cancel()
            await asyncio.gather(*tasks[1:7])

        asyncio.run(calls())
        self._count("loops")

    def _short_threads(self, draw: random.Random) -> None:
        threads = [self._once(draw.choice(self._shared)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._count("threads", len(threads))

    def _once(self, model: Any) -> threading.Thread:
        def run() -> None:
            try:
                asyncio.run(self._aread(model))
            except BaseException:
                self.failures.append(traceback.format_exc())

        return threading.Thread(target=run)

    def _new_key(self, draw: random.Random) -> None:
        model = self._model(f"key {next(self._keys)}")
        if draw.random() < 0.2:
            asyncio.run(self._aread(model))
        self._count("keys")

    def _retire(self, draw: random.Random) -> None:
        if draw.random() < 0.02:
            llmkeep.clear()
        else:
            draw.choice(self._shared).invalidate()

    def _fork(self, draw: random.Random) -> None:
        """A child that uses what it inherited, and ends."""
        model = draw.choice(self._shared)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio.run(self._aread(model))
                llmkeep.close(timeout=5)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            self.failures.append(f"a forked child ended with {status}")
        self._count("forks")

    # --- what is looked at ---

    def _look(self, now: float) -> dict[str, float]:
        with self._lock:
            latencies, self.latencies = self.latencies, []
        stats = llmkeep.stats()
        sample = {
            "seconds": now,
            "memory": resident_megabytes(),
            "descriptors": descriptors(),
            "threads": threading.active_count(),
            "kept": stats.live,
            "leased": stats.leased + stats.retired,
        }
        if len(latencies) > 10:
            parts = quantiles(latencies, n=100)
            sample |= {"p50": parts[49] * 1e3, "p90": parts[89] * 1e3, "p99": parts[98] * 1e3}
        return sample


def descriptors() -> int:
    """Open ones of this process."""
    return len(list(Path("/dev/fd").iterdir()))


def rise(samples: Sequence[dict[str, float]], name: str) -> tuple[float, float]:
    """By how much a figure rises over the second half, along a straight line, and its mean."""
    half = [each for each in samples[len(samples) // 2 :] if name in each]
    if len(half) < 2:
        return 0.0, 0.0
    times, values = [each["seconds"] for each in half], [each[name] for each in half]
    return linear_regression(times, values).slope * (times[-1] - times[0]), fmean(values)


def soak(minutes: float) -> Report:
    """Run for so long in this process."""
    with provider() as base_url:
        before = (descriptors(), threading.active_count())
        running = Soak(base_url, 60 * minutes)
        running.run()
        stats = llmkeep.stats()
        llmkeep.close()
        gc.collect()
        left = (descriptors() - before[0], _own_threads())
    samples = running.samples
    verdicts = [_is_flat(samples, name) for name in FLAT]
    verdicts += [
        Verdict("no call and no child fails", f"{len(running.failures)}", not running.failures),
        Verdict(
            "no lease is out at the end",
            f"{stats.leased + stats.retired}",
            not (stats.leased or stats.retired),
        ),
        Verdict(
            "nothing is left after close()",
            f"{left[0]} descriptors, {left[1]} threads",
            left[0] <= 0 and not left[1],
        ),
    ]
    rows = [(name, f"{count:,}") for name, count in running.counts.items()]
    rows += [("builds", f"{stats.builds:,}"), ("closed", f"{stats.closed:,}")]
    rows += [(name, _ends(samples, name)) for name in (*FLAT, "kept", "p50", "p90", "p99")]
    return Report(
        f"{minutes:g} minutes of churn",
        "Figures at the first look, in the middle and at the end (medians of a tenth of the time); "
        "memory in MB, latencies of whole answers in ms. A rise is that of a straight line through "
        "the second half of the looks.",
        [Table(("", "found"), rows)],
        verdicts,
        {"samples": samples, "counts": running.counts, "failures": running.failures[:10]},
    )


def _is_flat(samples: Sequence[dict[str, float]], name: str) -> Verdict:
    grown, mean = rise(samples, name)
    share = grown / mean if mean else 0.0
    return Verdict(
        f"{name}: no rise by more than {FLAT[name]:.0%} over the second half",
        f"{grown:+.1f} of {mean:.1f} ({share:+.1%})",
        share <= FLAT[name],
    )


def _ends(samples: Sequence[dict[str, float]], name: str) -> str:
    """The median over the first, a middle and the last tenth."""
    tenth = max(len(samples) // 10, 1)
    middle = len(samples) // 2
    parts = (samples[:tenth], samples[middle : middle + tenth], samples[-tenth:])
    found = [[each[name] for each in part if name in each] for part in parts]
    return ", ".join(f"{median(values):.1f}" if values else "none" for values in found)


def _own_threads() -> list[str]:
    """Those still there that are not daemons shared by the whole process."""
    return [
        thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.name.startswith("llmkeep")
    ]


def main() -> int:
    """1 if something is not flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    logging.getLogger("llmkeep").addHandler(logging.NullHandler())  # it tells of every build
    report = soak(minutes)
    from .soak_plot import draw  # not before: it takes memory

    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "soak.json").write_text(json.dumps(report.data) + "\n", encoding="utf-8")
    print(report)
    if draw(report.data["samples"], OUTPUT / "soak.svg"):
        print("drawn: benchmarks/output/soak.svg")
    for failure in report.data["failures"]:
        print(failure)
    return int(not all(verdict.kept for verdict in report.verdicts))


if __name__ == "__main__":
    sys.exit(main())
