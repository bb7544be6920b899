"""Ten minutes of churn, or as long as you like: does anything grow?

    python -m benchmarks.soak --minutes 10
    python -m benchmarks.soak --minutes 10 --publish    and replace docs/endurance as well

Threads that live long and threads that live for one call, event loops that come and go, models of
ever new keys, invalidations, evictions and forked children, all over one cache that is full, with a
provider in a process of its own. Every second memory, the interpreter's own count of memory blocks,
descriptors, threads, children, kept models and the latencies since are written down; they are drawn
into benchmarks/output/soak.svg, beside soak.json. `soak_report` says what is flat; if anything is
not, the exit status is 1.

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
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryFile
from typing import IO, Any, Final

import llmkeep

from .harness import Report, Verdict
from .million import resident_megabytes
from .provider import MODEL, TOKENS, provider
from .soak_report import judged, publish

OUTPUT: Final = Path(__file__).resolve().parent / "output"
#: Seconds between two looks.
EVERY: Final = 1.0
#: Looks from one collection, after which memory blocks are counted, to the next.
COLLECT: Final = 4
#: Models that everybody uses, beside those that are asked once.
SHARED: Final = 8
#: Models that are asked once and kept until they are evicted: more than a cache keeps idle.
FILL: Final = 300
#: Latencies of which percentiles are taken, at least.
ENOUGH: Final = 40
#: Seconds that a forked child may take.
CHILD_LIMIT: Final = 60.0
#: Seconds in which threads without work have ended.
LINGERING: Final = 30.0
#: Threads that stay as long as the process.
SHARED_THREADS: Final = ("llmkeep-housekeeper", "llmkeep-idle")
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
        self._looks = itertools.count()
        self._keys = itertools.count()
        self._lock = threading.Lock()
        self._shared = [self._model(f"shared {number}") for number in range(SHARED)]

    def run(self, samples: IO[str]) -> None:
        """For `seconds`, then until every worker has ended.

        A look is a line of JSON in `samples`: kept in memory, looks would be what grows.
        """
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
        self._fill()
        began = time.monotonic()
        while (now := time.monotonic() - began) < self.seconds and not self.failures:
            samples.write(json.dumps(self._look(now)) + "\n")
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

    def _fill(self) -> None:
        for _ in range(FILL):
            self._model(f"key {next(self._keys)}")
        self._count("keys", FILL)

    def _retire(self, draw: random.Random) -> None:
        if draw.random() < 0.02:
            llmkeep.clear()
            self._fill()  # or what is kept would rise for a while, and memory with it
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
        status = _ended(child)
        if status:
            self.failures.append(f"a forked child ended with {status}")
        self._count("forks")

    # --- what is looked at ---

    def _look(self, now: float) -> dict[str, float]:
        stats = llmkeep.stats()
        sample: dict[str, float] = {
            "seconds": now,
            "leases": stats.acquired,
            "memory": resident_megabytes(),
            "descriptors": descriptors(),
            "threads": threading.active_count(),
            "children": children(),
            "kept": stats.live,
            "leased": stats.leased + stats.retired,
        }
        if next(self._looks) % COLLECT == 0:  # cycles that wait for the collector go up and down
            gc.collect()
            sample["blocks"] = sys.getallocatedblocks() / 1e3
        with self._lock:
            if len(self.latencies) >= ENOUGH:
                parts = quantiles(self.latencies, n=100)
                sample |= {f"p{n}": parts[n - 1] * 1e3 for n in (50, 95, 99)}
                self.latencies = []
        return sample


def descriptors() -> int:
    """Open ones of this process."""
    return len(list(Path("/dev/fd").iterdir()))


def children() -> int:
    """Processes that this one has started and that are there, ended ones not waited for included.

    0 where there is no /proc.
    """
    found = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just gone
            continue
        found += int(fields[1]) == os.getpid()
    return found


def _ended(child: int) -> int:
    """The status with which a forked child ends; one that hangs is ended."""
    deadline = time.monotonic() + CHILD_LIMIT
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def soak(minutes: float) -> Report:
    """Run for so long in this process."""
    with TemporaryFile("w+", encoding="utf-8") as samples, provider() as base_url:
        before = (descriptors(), children())
        running = Soak(base_url, 60 * minutes)
        running.run(samples)
        stats = llmkeep.stats()
        llmkeep.close()
        gc.collect()
        gone = _are_own_threads_gone()
        left = (descriptors() - before[0], children() - before[1])
        samples.seek(0)
        looks = [json.loads(line) for line in samples]
    out = stats.leased + stats.retired
    verdicts = [
        Verdict("no call and no child fails", f"{len(running.failures)}", not running.failures),
        Verdict("no lease is out at the end", f"{out}", not out),
        Verdict(
            "nothing is left after close()",
            f"{left[0]} descriptors, {left[1]} children, {'no' if gone else 'some'} threads",
            left[0] <= 0 and not left[1] and gone,
        ),
    ]
    counts = {**running.counts, "leases": stats.acquired, "builds": stats.builds}
    counts |= {"closed": stats.closed}
    data = {"minutes": minutes, "samples": looks, "counts": counts}
    return judged({**data, "failures": running.failures[:10]}, verdicts)


def _are_own_threads_gone() -> bool:
    """Whether all end, but for those that the whole process shares; a builder lingers a while."""
    deadline = time.monotonic() + LINGERING
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.name.startswith(SHARED_THREADS):
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                return False
    return True


def main() -> int:
    """1 if something is not flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--publish", action="store_true", help="replace docs/endurance as well")
    options = parser.parse_args()
    logging.getLogger("llmkeep").addHandler(logging.NullHandler())  # it tells of every build
    report = soak(options.minutes)
    from .soak_plot import draw  # not before: it takes memory

    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "soak.json").write_text(json.dumps(report.data) + "\n", encoding="utf-8")
    print(report)
    if draw(report.data["samples"], OUTPUT / "soak.svg"):
        print("drawn: benchmarks/output/soak.svg")
    for failure in report.data["failures"]:
        print(failure)
    if options.publish:
        publish(report, OUTPUT / "soak.svg")
        print("published: docs/endurance")
    return int(not all(verdict.kept for verdict in report.verdicts))


if __name__ == "__main__":
    sys.exit(main())
