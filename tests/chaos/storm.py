"""A storm: streams on threads and event loops at once, over an upstream that fails by plan, while
models are invalidated, cleared and forked under them, with the books looked at all the while.

    outcome = storm(seed=1)
    assert not outcome.violations

The same seed plays the same calls and the same faults. Not here: what a call does (`calls`), what
the upstream does (`plan`, `upstream`), and what must hold of both (`verdict`).
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import llmkeep
from llmkeep.core.stats import Stats
from llmkeep.models.providers import PROVIDERS
from tests.chaos.calls import Told, acall, call, make_lines
from tests.chaos.plan import chance
from tests.chaos.processes import (
    PATIENCE,
    connections_of_loops,
    eventually,
    in_child,
    journal_of,
    upstream,
)
from tests.chaos.verdict import (
    accounts,
    books,
    interrupted,
    is_explained,
    judge,
    refusals,
    summary,
)
from tests.chaos.watched import Usage, adapters
from tests.support.sockets import connections_to

#: Requests of forked children, told from all others.
OF_CHILDREN: Final = 1_000_000


@dataclass(frozen=True)
class Size:
    """How many streams run at once, and how many calls each makes."""

    threads: int = 24
    loops: int = 4
    tasks: int = 44
    #: Each thread of the loops runs so many, one after another, and each task makes so many calls.
    runs: int = 2
    calls: int = 1
    forks: int = 3

    @property
    def streams(self) -> int:
        """At once."""
        return self.threads + self.loops * self.tasks


@dataclass
class Outcome:
    """What came of a storm."""

    seed: int
    seconds: float
    calls: int
    requests: int
    faults: Counter[str]
    endings: Counter[str]
    samples: int
    retirements: int
    builds: int
    #: Calls that ended since no connection could be made.
    refused: int
    stats: Stats
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line."""
        return (
            f"seed {self.seed}: {self.calls} calls, {self.requests} requests, {self.refused} "
            f"refused, {self.builds} builds, {self.retirements} retirements, "
            f"{self.samples} samples, {self.seconds:.1f} s, {len(self.violations)} violations"
        )


class Storm:
    """Everything that runs at once; lives as long as one storm."""

    def __init__(self, seed: int, size: Size, port: int) -> None:
        self.seed, self.size, self.port = seed, size, port
        self.lines = make_lines(port)
        self.told: list[Told] = []
        self.violations: list[str] = []
        self.samples = self.retirements = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Until every call has ended."""
        self._import_everything()
        actors = [
            *(self._thread(self._on_thread, number) for number in range(self.size.threads)),
            *(self._thread(self._on_loops, number) for number in range(self.size.loops)),
        ]
        beside = [
            self._thread(self._disturb),
            self._thread(self._sample),
            self._thread(self._fork),
        ]
        for thread in actors + beside:
            thread.start()
        for thread in actors:
            self._join(thread)
        self.over.set()
        for thread in beside:
            self._join(thread)

    def _import_everything(self) -> None:
        """A child forked while another thread imports a module can never import that itself."""
        for number in range(900_000, 900_010):
            self.told.append(call(self.seed, number, self.lines))
            self.told.append(asyncio.run(acall(self.seed, number + 100, self.lines)))

    def _join(self, thread: threading.Thread) -> None:
        thread.join(PATIENCE)
        if thread.is_alive():
            self.violations.append(f"{thread.name} hangs")
            faulthandler.dump_traceback(all_threads=True)

    def _thread(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException:
                self.violations.append(f"{work.__name__} raised: {traceback.format_exc()}")

        return threading.Thread(target=run, name=f"chaos {work.__name__} {arguments}", daemon=True)

    # --- callers ---

    def _on_thread(self, number: int) -> None:
        for turn in range(self.size.calls * self.size.runs):
            self.told.append(call(self.seed, 100 * number + turn, self.lines))

    def _on_loops(self, number: int) -> None:
        """One event loop after another."""
        for run in range(self.size.runs):
            asyncio.run(self._on_loop(number * self.size.runs + run))

    async def _on_loop(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._told_by_loop)
        first = 10_000 + 1_000 * number
        await asyncio.gather(*(self._task(first + n) for n in range(self.size.tasks)))
        await self._no_task_left()
        # These are left to the end of the loop.
        numbers = range(first + 900, first + 904)
        left = [asyncio.create_task(acall(self.seed, n, self.lines)) for n in numbers]
        for each in left:
            each.add_done_callback(self._left_behind)
        await asyncio.wait(left, timeout=chance(self.seed, "left", number).random() * 0.05)

    def _left_behind(self, task: asyncio.Task[Told]) -> None:
        if not task.cancelled():  # it had not begun
            self.told.append(task.result())

    async def _task(self, first: int) -> None:
        for turn in range(self.size.calls):
            self.told.append(await acall(self.seed, first + 100 * turn, self.lines))

    async def _no_task_left(self) -> None:
        gc.collect()
        deadline = time.monotonic() + PATIENCE / 4
        while (left := _other_tasks()) and time.monotonic() < deadline:
            await asyncio.sleep(0.002)  # between two looks; the deadline decides
        if left:
            self.violations.append(f"tasks left over: {left}")

    def _told_by_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A call that fails as the loop's end cancels it has nobody else to tell.
        if not (is_explained(context.get("exception")) or _collected_late(context)):
            self.violations.append(f"an event loop was told: {context}")

    # --- what happens meanwhile ---

    def _disturb(self) -> None:
        """Invalidate and clear."""
        draw = chance(self.seed, "disturb")
        while not self.over.wait(draw.random() * 0.03):
            if draw.random() < 0.2:
                llmkeep.clear()
            else:
                draw.choice(self.lines).handle.invalidate()
            self.retirements += 1

    def _sample(self) -> None:
        before = None
        while not self.over.wait(0.002):
            stats = llmkeep.stats()
            self.violations += books(stats, before)
            before = stats
            self.samples += 1

    def _fork(self) -> None:
        draw = chance(self.seed, "fork")
        for number in range(self.size.forks):
            if self.over.wait(draw.random() * 0.3):
                return
            self.violations += in_child(lambda n=number: self._child(n))  # type: ignore[misc]

    def _child(self, number: int) -> list[str]:
        """What a forked child finds wrong."""
        stats = llmkeep.stats()
        found = [f"I9: a child begins with {stats}"] if any(vars(stats).values()) else []
        first = OF_CHILDREN + 100 * number
        told = [call(self.seed, first, self.lines)]

        async def calls() -> None:
            some = (acall(self.seed, first + n, self.lines) for n in range(1, 6))
            told.extend(await asyncio.gather(*some))

        asyncio.run(calls())
        gc.collect()
        found += judge(told, journal_of(self.port))
        found += books(llmkeep.stats())
        found += _close()
        return [f"in a forked child: {each}" for each in found + Usage.faults]


def _close() -> list[str]:
    """Close everything; the leases that are still out."""
    try:
        llmkeep.close(timeout=10)
    except ResourceWarning as lost:  # an error wherever storms are run
        return [f"I3: {lost}"]
    return []


def _collected_late(context: dict[str, Any]) -> bool:
    """CPython's own: a dropped generator that the collector finds as its loop ends.

    asyncio then makes a task to close it, for which the loop has no turn left. What it held is let
    go with it all the same, and looked for by the verdict.
    """
    coroutine = getattr(context.get("task"), "get_coro", lambda: None)()
    return type(coroutine).__name__ == "async_generator_athrow"


def _other_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def storm(seed: int, size: Size | None = None) -> Outcome:
    """Run one storm and judge it."""
    size = size or Size()
    llmkeep.close()
    Usage.forget_all()
    events: Counter[str] = Counter()
    llmkeep.default_cache().subscribe(lambda event: events.update((type(event).__name__,)))
    threads = set(threading.enumerate())
    began = time.monotonic()
    with upstream(seed) as port, registered():
        running = Storm(seed, size, port)
        running.run()
        stats = llmkeep.stats()
        violations = running.violations
        journal = journal_of(port)
        violations += judge(running.told, journal)
        gc.collect()
        violations += _at_rest(port, events, running.told)
        violations += _threads_left(threads)
    violations += Usage.faults
    seen = [attempt[0] for attempts in journal.values() for attempt in attempts]
    return Outcome(
        seed,
        time.monotonic() - began,
        len(running.told),
        len(seen),
        Counter(seen),
        summary(running.told),
        running.samples,
        running.retirements,
        len(Usage.known),
        refusals(running.told),
        stats,
        violations,
    )


@contextmanager
def registered() -> Iterator[None]:
    """The watched adapters, beside the usual ones."""
    before = dict(PROVIDERS)
    for adapter in adapters():
        llmkeep.models.register(adapter)
    try:
        yield
    finally:
        PROVIDERS.clear()
        PROVIDERS.update(before)


def _at_rest(port: int, events: Counter[str], told: list[Told]) -> list[str]:
    """What is left when all calls have ended."""
    found = []
    cache = llmkeep.default_cache()
    if not eventually(lambda: connections_of_loops(port) == 0):
        found.append(f"I5: {connections_of_loops(port)} connections outlived their loops")
    if not eventually(lambda: not (llmkeep.stats().leased or llmkeep.stats().retired)):
        found.append(f"I3: leases lost: {llmkeep.stats()}, {llmkeep.default_cache().snapshot()}")
    entered = [number for each in Usage.known for number in each.entered]
    unsure = interrupted(told, entered)
    found += books(llmkeep.stats())
    found += _close()

    def wrong() -> list[str]:
        counted = {"entered": len(entered), "unsure": unsure, "built": len(Usage.built)}
        return accounts(cache.stats(), events, **counted)

    eventually(lambda: not wrong())  # what is told may be told by another thread
    found += wrong()
    open_ones = [each for each in Usage.known if each.closes != 1]
    if open_ones:
        found.append(f"I4: {len(open_ones)} instances not closed once")
    if not eventually(lambda: connections_to(port) == 0):
        found.append(f"{connections_to(port)} connections left open")
    return found


def _threads_left(before: set[threading.Thread]) -> list[str]:
    """Threads that are there for nothing; llmkeep's own wait a while for more work, and end."""

    def left() -> list[str]:
        new = set(threading.enumerate()) - before
        return [each.name for each in new if not each.name.startswith("llmkeep-")]

    eventually(lambda: not left())
    return [f"a thread left over: {name}" for name in left()]
