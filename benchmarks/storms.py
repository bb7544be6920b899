"""Many ask at once, and nothing is there yet.

Every peer faces every storm in processes of its own, since some of them never come back: what is
not done after `PATIENCE` is counted as hanging, and left behind with the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from .harness import (
    Report,
    Table,
    Verdict,
    in_fresh_process,
    on_threads,
    quick_from_arguments,
)
from .peers import Faces, Peer, by_name, installed

#: Seconds that a build takes, and one of the ten slow keys.
BUILD: Final = 0.05
SLOW: Final = 0.1
#: Seconds after which those who still wait are counted as hanging.
PATIENCE: Final = 12.0


class Client:
    """What is kept."""


class Refused(Exception):
    """What a failing factory raises."""


class Factory:
    """Makes clients slowly, and counts."""

    def __init__(self, seconds: float, failing: bool = False) -> None:
        self.seconds = seconds
        self.failing = failing
        self.calls = 0
        self.begun = threading.Event()
        self._counting = threading.Lock()

    def _count(self) -> None:
        with self._counting:
            self.calls += 1
        self.begun.set()

    def build(self, key: str) -> Client:
        """Block for a while."""
        self._count()
        time.sleep(self.seconds)
        if self.failing:
            raise Refused
        return Client()

    async def abuild(self, key: str) -> Client:
        """Take as long without blocking."""
        self._count()
        await asyncio.sleep(self.seconds)
        if self.failing:
            raise Refused
        return Client()


@dataclass
class Outcome:
    """What a storm did: calls of the factory, callers that failed or got the wrong exception,
    callers that got nothing, and how long it took.
    """

    builds: int
    wrong: int
    hanging: int
    seconds: float


class Crowd:
    """The callers of one storm, and what each of them got."""

    def __init__(self, faces: Faces, expected: type[BaseException] | None = None) -> None:
        self.faces = faces
        self.expected = expected
        self.right = self.wrong = 0
        self._counting = threading.Lock()

    def _count(self, error: BaseException | None) -> None:
        right = error is None if self.expected is None else type(error) is self.expected
        with self._counting:
            self.right += right
            self.wrong += not right

    def ask(self, key: str) -> None:
        """Ask as a thread does."""
        error: BaseException | None = None
        try:
            self.faces.get(key)
        except Exception as caught:
            error = caught
        self._count(error)

    async def aask(self, key: str) -> None:
        """Ask as a task does."""
        error: BaseException | None = None
        try:
            await self.faces.aget(key)
        except Exception as caught:
            error = caught
        self._count(error)

    def loop(self, tasks: int, key: str) -> None:
        """An event loop with so many tasks that ask."""

        async def ask_all() -> None:
            await asyncio.gather(*(self.aask(key) for _ in range(tasks)))

        asyncio.run(ask_all())

    def outcome(self, factory: Factory, callers: int, seconds: float) -> Outcome:
        """What came of it for `callers` callers."""
        hanging = callers - self.right - self.wrong
        return Outcome(factory.calls, self.wrong, hanging, seconds)


def hundred_threads(peer: Peer) -> Outcome:
    """100 threads, one key."""
    factory = Factory(BUILD)
    crowd = Crowd(peer.open(factory.build, factory.abuild))
    seconds = on_threads(100, lambda _: crowd.ask("key"), PATIENCE)
    return crowd.outcome(factory, 100, seconds)


def hundred_tasks(peer: Peer) -> Outcome:
    """100 tasks on one loop, one key."""
    factory = Factory(BUILD)
    crowd = Crowd(peer.open(factory.build, factory.abuild))
    seconds = on_threads(1, lambda _: crowd.loop(100, "key"), PATIENCE)
    return crowd.outcome(factory, 100, seconds)


def threads_and_loops(peer: Peer) -> Outcome:
    """50 threads and, beside them, four loops of 25 tasks; one key."""
    factory = Factory(BUILD)
    crowd = Crowd(peer.open(factory.build, factory.abuild))

    def work(index: int) -> None:
        if index < 4:
            crowd.loop(25, "key")
        else:
            crowd.ask("key")

    seconds = on_threads(54, work, PATIENCE)
    return crowd.outcome(factory, 150, seconds)


def ten_slow_keys(peer: Peer) -> Outcome:
    """100 threads, ten keys that take 0.1 s each."""
    factory = Factory(SLOW)
    crowd = Crowd(peer.open(factory.build, factory.abuild))
    seconds = on_threads(100, lambda index: crowd.ask(f"key {index % 10}"), PATIENCE)
    return crowd.outcome(factory, 100, seconds)


def first_cancelled(peer: Peer) -> Outcome:
    """One task starts the build, ten join it, and the first is cancelled."""
    factory = Factory(BUILD)
    crowd = Crowd(peer.open(factory.build, factory.abuild))

    async def scene() -> None:
        first = asyncio.create_task(_call(crowd.faces.aget("key")))
        while not factory.begun.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(crowd.aask("key")) for _ in range(10)]
        await asyncio.sleep(BUILD / 5)
        first.cancel()
        results = await asyncio.gather(*others, return_exceptions=True)
        crowd.wrong += sum(isinstance(each, asyncio.CancelledError) for each in results)
        await asyncio.gather(first, return_exceptions=True)

    seconds = on_threads(1, lambda _: asyncio.run(scene()), PATIENCE)
    return crowd.outcome(factory, 10, seconds)


async def _call(awaitable: Awaitable[object]) -> object:
    return await awaitable


def failing_factory(peer: Peer) -> Outcome:
    """100 threads, and a factory that raises; then once more with one that does not."""
    factory = Factory(BUILD / 5, failing=True)
    crowd = Crowd(peer.open(factory.build, factory.abuild), expected=Refused)
    seconds = on_threads(100, lambda _: crowd.ask("key"), PATIENCE)
    outcome = crowd.outcome(factory, 100, seconds)
    factory.failing = False
    mended = Crowd(crowd.faces)
    on_threads(1, lambda _: mended.ask("key"), PATIENCE)
    outcome.wrong += 1 - mended.right
    return outcome


STORMS: Final[dict[str, Callable[[Peer], Outcome]]] = {
    "100 threads": hundred_threads,
    "100 tasks": hundred_tasks,
    "50 threads and 4 loops of 25 tasks": threads_and_loops,
    "10 keys of 0.1 s, 100 threads": ten_slow_keys,
    "first of 11 tasks cancelled": first_cancelled,
    "failing factory, 100 threads": failing_factory,
}


def _all_storms_of(name: str) -> None:
    """In a process of its own: print what every storm did to one peer."""
    peer = by_name(name)
    peer.open(Factory(0).build, Factory(0).abuild)  # its imports
    print(json.dumps({storm: asdict(weather(peer)) for storm, weather in STORMS.items()}))
    sys.stdout.flush()
    os._exit(0)  # some of its threads may never end


def measure(quick: bool) -> Report:
    """Every storm on every peer, the peers in turn, several times."""
    results: dict[str, list[dict[str, Any]]] = {}
    for _ in range(1 if quick else 3):
        for peer in installed():
            outcome = in_fresh_process("-m", "benchmarks.storms", peer.name, limit=12 * PATIENCE)
            results.setdefault(peer.name, []).append(outcome)
    return _report(results)


def _report(results: dict[str, list[dict[str, Any]]]) -> Report:
    def worst(peer: str, storm: str) -> dict[str, Any]:
        runs = [run[storm] for run in results[peer]]
        return {
            "builds": max(run["builds"] for run in runs),
            "wrong": max(run["wrong"] for run in runs),
            "hanging": max(run["hanging"] for run in runs),
            "seconds": median(run["seconds"] for run in runs),
        }

    data = {storm: {peer: worst(peer, storm) for peer in results} for storm in STORMS}
    return Report(
        "Storms",
        "Nothing is kept yet, and all ask at once. Shown, at its worst of all runs: calls of the "
        "factory, callers that failed or got a wrong exception, callers that still waited after "
        f"{PATIENCE:.0f} s; and the median time until all were served. A build takes {BUILD} s, a "
        f"failing one raises after {BUILD / 5} s. Threads ask those who know only coroutines "
        "through `asyncio.run`, tasks ask those who know only functions through "
        "`asyncio.to_thread`.",
        [Table(("", *STORMS), [_row(peer, data) for peer in results])],
        list(_verdicts({storm: outcomes["llmkeep"] for storm, outcomes in data.items()})),
        data,
    )


def _row(peer: str, data: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    return [peer, *(_shown(data[storm][peer]) for storm in STORMS)]


def _shown(outcome: dict[str, Any]) -> str:
    parts = [f"{outcome['builds']} builds" if outcome["builds"] != 1 else "1 build"]
    if outcome["wrong"]:
        parts.append(f"{outcome['wrong']} fail")
    if outcome["hanging"]:
        parts.append(f"{outcome['hanging']} hang")
    else:
        parts.append(f"{outcome['seconds']:.2f} s")
    return ", ".join(parts)


def _verdicts(ours: dict[str, dict[str, Any]]) -> Iterator[Verdict]:
    for storm, outcome in ours.items():
        keys = 10 if storm.startswith("10 keys") else 1
        # Who comes after a failure has been told builds anew, so a failing factory may be called
        # again by a thread that was late.
        one_each = outcome["builds"] == keys or storm.startswith("failing")
        fine = one_each and not outcome["wrong"] and not outcome["hanging"]
        yield Verdict(f"{storm}: one build per key, no error", _shown(outcome), fine)
    slow = ours["10 keys of 0.1 s, 100 threads"]["seconds"]
    yield Verdict("ten slow keys in the time of one", f"{slow:.2f} s for 0.1 s", slow < 2 * SLOW)


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if names:
        _all_storms_of(names[0])
    else:
        print(measure(quick_from_arguments()))
