"""Builds that hang, and builds that block: what others notice of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from llmkeep import ClientCache

from .harness import Report, Spread, Table, Verdict, in_turn, quick_from_arguments
from .peers import Build, by_name

#: How many builds hang.
STUCK: Final = 64
#: Seconds after which the key beside them is given up.
PATIENCE: Final = 1.0
#: Seconds that the next key may come later because of them, to pass for no delay.
NO_DELAY: Final = 0.001

#: How many blocking builds are awaited on one loop, how long each takes, and by how many seconds
#: they may add to the loop's largest stall.
AWAITED: Final = 100
BUILD: Final = 0.1
STALL: Final = 0.020

Ask = Callable[[str], object]
AsyncAsk = Callable[[str], Awaitable[object]]


class Client:
    """What is kept."""


class Stuck:
    """A factory that hangs for every key but one, until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.released = threading.Event()

    def build(self, key: str) -> Client:
        """Hang, or not."""
        if key != "next":
            self.begun.release()
            self.released.wait()
        return Client()

    def wait_for(self, builds: int) -> None:
        """Return when so many hang, or when no more of them seem to begin."""
        for _ in range(builds):
            if not self.begun.acquire(timeout=0.2):
                return


async def _unused(key: str) -> object:
    raise NotImplementedError


def on_threads(open_peer: Callable[[Build], Ask], stuck: int) -> float:
    """Seconds until a thread gets its key while others hang in theirs."""
    factory = Stuck()
    ask = open_peer(factory.build)
    hanging = [
        threading.Thread(target=ask, args=(f"stuck {n}",), daemon=True) for n in range(stuck)
    ]
    for thread in hanging:
        thread.start()
    factory.wait_for(stuck)
    begin = time.perf_counter()
    last = threading.Thread(target=ask, args=("next",), daemon=True)
    last.start()
    last.join(PATIENCE)
    seconds = time.perf_counter() - begin
    factory.released.set()
    for thread in (*hanging, last):
        thread.join()
    return seconds


def on_loop(open_peer: Callable[[Build], AsyncAsk], stuck: int) -> float:
    """Seconds until a task gets its key while others hang in theirs."""
    factory = Stuck()
    ask = open_peer(factory.build)

    async def scene() -> float:
        hanging = [asyncio.ensure_future(ask(f"stuck {n}")) for n in range(stuck)]
        await _on_own_thread(partial(factory.wait_for, stuck))
        begin = time.perf_counter()
        last = asyncio.ensure_future(ask("next"))
        await asyncio.wait([last], timeout=PATIENCE)
        seconds = time.perf_counter() - begin
        factory.released.set()
        await asyncio.gather(*hanging, last)
        return seconds

    return asyncio.run(scene())


async def _on_own_thread(work: Callable[[], None]) -> None:
    """Not on the loop's executor: that is what may be full."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        work()
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    await done.wait()


def _kept_by(name: str) -> Callable[[Build], Ask]:
    return lambda build: by_name(name).open(build, _unused).get


def _llmkeep_on_loop(build: Build) -> AsyncAsk:
    cache: ClientCache[str, object] = ClientCache(build)

    async def ask(key: str) -> object:
        async with cache.lease(key) as client:
            return client

    return ask


def _to_thread(name: str) -> Callable[[Build], AsyncAsk]:
    def open_peer(build: Build) -> AsyncAsk:
        get = by_name(name).open(build, _unused).get
        return lambda key: asyncio.to_thread(get, key)

    return open_peer


def _ways() -> dict[str, Callable[[int], float]]:
    ways: dict[str, Callable[[int], float]] = {
        "llmkeep, threads": partial(on_threads, _kept_by("llmkeep")),
        "llmkeep, tasks on a loop": partial(on_loop, _llmkeep_on_loop),
        "dict under a lock, threads": partial(on_threads, _kept_by("dict under a lock")),
    }
    for name in ("cachetools (condition)", "dogpile.cache", "cachebox"):
        if by_name(name).is_installed:
            ways[f"{name}, threads"] = partial(on_threads, _kept_by(name))
            ways[f"{name}, tasks through to_thread"] = partial(on_loop, _to_thread(name))
    return ways


def measure_delay(rounds: int) -> tuple[Table, list[Verdict], dict[str, dict[str, float]]]:
    """The key beside 64 stuck builds, and the same key beside none."""
    rows, verdicts, data = [], [], {}
    for what, way in _ways().items():
        first = way(STUCK)  # those that never come cost a second each time: once is enough
        cases = {"beside": partial(way, STUCK), "alone": partial(way, 0)}
        samples = (
            in_turn(cases, rounds) if first < PATIENCE else {"beside": [first], "alone": [way(0)]}
        )
        beside, alone = (Spread.of(samples[each]) for each in ("beside", "alone"))
        gave_up = beside.median >= PATIENCE
        rows.append((what, _milliseconds(beside, gave_up), _milliseconds(alone)))
        data[what] = {"beside": beside.median, "alone": alone.median}
        if what.startswith("llmkeep"):
            later = beside.median - alone.median
            promise = f"64 stuck builds do not delay another key ({what.partition(', ')[2]})"
            verdicts.append(Verdict(promise, f"{later * 1e3:+.2f} ms", later <= NO_DELAY))
    columns = ("", f"next key beside {STUCK} stuck builds", "next key alone")
    return Table(columns, rows), verdicts, data


def _milliseconds(spread: Spread, gave_up: bool = False) -> str:
    if gave_up:
        return f"not within {PATIENCE:.0f} s"
    return Spread(*(each * 1e3 for each in (spread.median, spread.low, spread.high))).shown(
        ".2f", "ms"
    )


async def _largest_stall(seconds: float, work: Awaitable[object]) -> tuple[float, float]:
    """The longest that the loop kept a timer waiting during `work`, and how long that took."""
    running = True

    async def tick() -> float:
        largest = 0.0
        while running:
            begin = time.perf_counter()
            await asyncio.sleep(0.001)
            largest = max(largest, time.perf_counter() - begin - 0.001)
        return largest

    ticking = asyncio.ensure_future(tick())
    begin = time.perf_counter()
    await work
    took = time.perf_counter() - begin
    await asyncio.sleep(max(seconds - took, 0.0))
    running = False
    return await ticking, took


def _stall_cases() -> dict[str, tuple[Callable[[], Awaitable[object]], list[float]]]:
    def build(key: str) -> Client:
        time.sleep(BUILD)
        return Client()

    async def nothing() -> None:
        await asyncio.sleep(BUILD)

    async def leases() -> None:
        ask = _llmkeep_on_loop(build)
        await asyncio.gather(*(ask(str(n)) for n in range(AWAITED)))

    async def executor() -> None:
        await asyncio.gather(*(asyncio.to_thread(build, str(n)) for n in range(AWAITED)))

    return {
        "the loop alone": (nothing, []),
        "llmkeep": (leases, []),
        "asyncio.to_thread": (executor, []),
    }


def measure_stall(rounds: int) -> tuple[Table, list[Verdict], dict[str, dict[str, float]]]:
    """The loop's largest stall while blocking builds are awaited on it, and without them."""
    cases = _stall_cases()

    def once(work: Callable[[], Awaitable[object]], taken: list[float]) -> float:
        stall, took = asyncio.run(_largest_stall(BUILD * 1.5, work()))
        taken.append(took)
        return stall

    samples = in_turn({what: partial(once, *case) for what, case in cases.items()}, rounds)
    rows, data = [], {}
    for what, (_, taken) in cases.items():
        stall, took = Spread.of(samples[what]), Spread.of(taken)
        rows.append((what, _milliseconds(stall), took.shown(".2f", "s")))
        data[what] = {"stall": stall.median, "seconds": took.median}
    pairs = zip(samples["llmkeep"], samples["the loop alone"], strict=True)
    added = Spread.of((one - other) * 1e3 for one, other in pairs)
    verdict = Verdict(
        f"{AWAITED} blocking builds of {BUILD} s awaited on a loop add at most "
        f"{STALL * 1e3:.0f} ms to its largest stall",
        added.shown(".1f", "ms"),
        added.median <= STALL * 1e3,
    )
    return Table(("", "largest stall", "all built after"), rows), [verdict], data


def measure(quick: bool) -> Report:
    """Both, one after the other."""
    delay, no_delay, delays = measure_delay(3 if quick else 15)
    stall, no_stall, stalls = measure_stall(3 if quick else 15)
    return Report(
        "Stuck and blocking builds",
        f"Above: {STUCK} builds hang, and one more key is asked for whose build takes no time. "
        f"Below: a timer of a millisecond ticks on a loop while {AWAITED} builds that block for "
        f"{BUILD} s are awaited on it.",
        [delay, stall],
        [*no_delay, *no_stall],
        {"delay": delays, "stall": stalls},
    )


if __name__ == "__main__":
    print(measure(quick_from_arguments()))
