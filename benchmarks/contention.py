"""Eight threads that all want the same: what a lease loses by that, beside a plain lock.

The peer is the same program with a dict under a `threading.Lock`: it looks the client up and knows
nothing of who uses it, which takes a fraction of a lease's time for a single thread already. So
what is judged is what the crowd adds to either: how much more processor time a turn takes than one
of a thread alone, and how much longer the slowest hundredth waits for its client.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import llmkeep
from llmkeep import ClientCache

from .harness import (
    Case,
    Report,
    Spread,
    Table,
    Verdict,
    in_turn,
    on_threads,
    quick_from_arguments,
    ratio,
)

THREADS: Final = 8
#: What noise may add to "no worse"; microseconds for a wait.
TOLERANCE: Final = 1.05
LONGER: Final = 2.0

LEASE: Final = "cache.lease"
LOCK: Final = "dict under a lock"
#: What a turn does with its client, and in how many keys.
WORKS: Final = "that computes"
YIELDS: Final = "that lets others run"
ONE: Final = "one key"
MANY: Final = f"{THREADS} keys"

COLUMNS: Final = (
    "",
    f"a turn, {THREADS} threads",
    "beside the lock's",
    "processor time",
    "alone",
    "beside alone",
    "99 of 100 wait",
    "alone",
)

#: Gives the client's block for a thread's number.
Way = Callable[[int], Callable[[], Any]]


class Client:
    """What is kept; its use takes about a microsecond."""

    def __init__(self) -> None:
        self.left = tuple(range(8))

    def use(self) -> int:
        """Compute a little."""
        return sum(self.left)


class Locked:
    """The client that is there, looked up under a lock; left as it was entered."""

    def __init__(self, clients: dict[Any, Client], lock: threading.Lock, key: Any) -> None:
        self._clients = clients
        self._lock = lock
        self._key = key

    def __enter__(self) -> Client:
        with self._lock:
            return self._clients[self._key]

    def __exit__(self, *_: object) -> None:
        pass


def _ways() -> dict[str, Way]:
    cache: ClientCache[Any, Client] = ClientCache(lambda _spec: Client())
    specs = [llmkeep.freeze(f"key {number}") for number in range(THREADS)]
    clients = {spec.key: Client() for spec in specs}
    lock = threading.Lock()
    for spec in specs:
        cache.warm(spec)
    return {
        LEASE: lambda number: lambda: cache.lease(specs[number]),
        LOCK: lambda number: lambda: Locked(clients, lock, specs[number].key),
    }


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Crowd(NamedTuple):
    """What some threads took: seconds for each turn of any of them, and for a slow one's wait."""

    wall: float
    cpu: float
    wait: float


def _crowd(way: Way, threads: int, keys: str, body: str, turns: int) -> Crowd:
    """Have so many threads take their turns at once."""
    waits: list[list[float]] = [[] for _ in range(threads)]
    clock = time.perf_counter
    lets_run = body == YIELDS

    def work(index: int) -> None:
        block, waited = way(index if keys == MANY else 0), waits[index].append
        for _ in range(turns):
            asked = clock()
            with block() as client:
                waited(clock() - asked)
                client.use()
                if lets_run:
                    time.sleep(0)

    with _without_collector():
        begin = time.process_time()
        wall = on_threads(threads, work)
        cpu = time.process_time() - begin
    slowest = sorted(wait for each in waits for wait in each)
    number = turns * threads
    return Crowd(wall / number, cpu / number, slowest[number * 99 // 100])


def _measured(rounds: int, turns: int) -> dict[str, list[Crowd]]:
    """What each case took, round by round."""
    found: dict[str, list[Crowd]] = {}

    def case(way: Way, threads: int, keys: str, body: str, into: list[Crowd]) -> Case:
        def run() -> float:
            number = turns if body == WORKS else turns // 4
            into.append(_crowd(way, threads, keys, body, number * THREADS // threads))
            return into[-1].wall

        return run

    cases = {}
    for body in (WORKS, YIELDS):
        for threads, keys in ((1, ONE), (THREADS, ONE), (THREADS, MANY)):
            for kind, way in _ways().items():
                name = _name(kind, threads, keys, body)
                cases[name] = case(way, threads, keys, body, found.setdefault(name, []))
    in_turn(cases, rounds)
    return {name: crowds[1:] for name, crowds in found.items()}  # the first was to warm


def _name(kind: str, threads: int, keys: str, body: str) -> str:
    crowd = f"{threads} threads, {keys}" if threads > 1 else "1 thread"
    return f"{kind}, {crowd}, a body {body}"


def measure(quick: bool) -> Report:
    """Every crowd, with either, by turns."""
    found = _measured(5 if quick else 21, 1000 if quick else 4000)
    rows, verdicts = [], []
    data: dict[str, float] = {}
    for body in (WORKS, YIELDS):
        for keys in (ONE, MANY):
            alone = {kind: found[_name(kind, 1, ONE, body)] for kind in (LEASE, LOCK)}
            crowd = {kind: found[_name(kind, THREADS, keys, body)] for kind in (LEASE, LOCK)}
            for kind in (LEASE, LOCK):
                name = f"{kind}, {keys}, a body {body}"
                rows.append((name, *_row(crowd[kind], alone[kind], crowd[LOCK])))
                data[name] = Spread.of(each.wall for each in crowd[kind]).median
            verdicts += _verdicts(f"{THREADS} threads on {keys}, a body {body}", alone, crowd)
    return Report(
        f"{THREADS} threads at once",
        "Wall time for each turn of any thread (look up or lease, a microsecond's body, and "
        f"return) in a crowd of {THREADS}; its processor time beside that of one thread alone; and "
        "within what time 99 of 100 turns had their client. A body lets others run by giving up "
        "the interpreter's lock, as each request on a socket does. Not claimed: that a lease is as "
        "fast as a look under a lock, for it does more; what is judged is what the crowd adds to "
        "either.",
        [Table(COLUMNS, rows)],
        verdicts,
        data,
    )


def _row(crowd: list[Crowd], alone: list[Crowd], locked: list[Crowd]) -> tuple[str, ...]:
    beside = ratio([each.wall for each in crowd], [each.wall for each in locked])
    return (
        _microseconds((each.wall for each in crowd), ".2f"),
        beside.shown(".2f"),
        _microseconds((each.cpu for each in crowd), ".2f"),
        _microseconds((each.cpu for each in alone), ".2f"),
        Spread.of(_slower(crowd, alone)).shown(".2f"),
        _microseconds((each.wait for each in crowd), ".1f"),
        _microseconds((each.wait for each in alone), ".1f"),
    )


def _slower(crowd: list[Crowd], alone: list[Crowd]) -> list[float]:
    return [one.cpu / other.cpu for one, other in zip(crowd, alone, strict=True)]


def _microseconds(seconds: Iterable[float], form: str) -> str:
    return Spread.of(each * 1e6 for each in seconds).shown(form, "us")


def _verdicts(
    what: str, alone: dict[str, list[Crowd]], crowd: dict[str, list[Crowd]]
) -> list[Verdict]:
    lost = ratio(_slower(crowd[LEASE], alone[LEASE]), _slower(crowd[LOCK], alone[LOCK]))
    longer = Spread.of(
        (lease.wait - one.wait - lock.wait + other.wait) * 1e6
        for lease, one, lock, other in zip(
            crowd[LEASE], alone[LEASE], crowd[LOCK], alone[LOCK], strict=True
        )
    )
    return [
        Verdict(
            f"{what}: the crowd costs a lease no more than a plain lock, in proportion",
            f"{lost.shown('.2f')} times as much",
            lost.median <= TOLERANCE,
        ),
        Verdict(
            "and its slowest hundredth waits no longer for that than the lock's, within "
            f"{LONGER:.0f} us",
            f"{longer.median:+.1f} us ({longer.low:+.1f} to {longer.high:+.1f})",
            longer.median <= LONGER,
        ),
    ]


if __name__ == "__main__":
    print(measure(quick_from_arguments()))
