"""The path that is walked all day: lease what is there, and return it.

The measure is an empty `@contextlib.contextmanager` block, the cheapest block that one writes in a
line. A peer's hit is a function call that hands out the client and cannot say when it is done with.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import llmkeep
from llmkeep import ClientCache, Scope

from .harness import (
    Report,
    Spread,
    Table,
    Verdict,
    in_turn,
    on_threads,
    quick_from_arguments,
    ratio,
    repeated,
)
from .peers import by_name, installed

TARGET: Final = 1.6
THREADS: Final = 8

EMPTY: Final = "an empty @contextmanager block"
LEASE: Final = "with cache.lease(frozen)"

Samples = Mapping[str, list[float]]


class Client:
    """What is kept."""


@contextlib.contextmanager
def empty() -> Iterator[None]:
    """Do nothing."""
    yield


@contextlib.asynccontextmanager
async def aempty() -> AsyncIterator[None]:
    """Do nothing, asynchronously."""
    yield


def _cache(scope: Scope = Scope.PROCESS) -> ClientCache[Any, Client]:
    return ClientCache(lambda _spec: Client(), scope=scope)


def _blocks() -> dict[str, str]:
    return {
        EMPTY: "with empty(): pass",
        LEASE: "with cache.lease(frozen): pass",
        "an empty block in a function of its own": "in_function_empty()",
        "a lease in a function of its own": "in_function_lease()",
        "with cache.lease('text')": "with cache.lease('text'): pass",
        "with cache.lease(mapping of 4)": "with cache.lease(mapping): pass",
        "with exclusive.lease(frozen)": "with exclusive.lease(frozen): pass",
        "with threading.Semaphore(5)": "with semaphore: pass",
        "with threading.Lock()": "with lock: pass",
        "an empty @asynccontextmanager block": "async with aempty(): pass",
        "async with cache.lease(frozen)": "async with cache.lease(frozen): pass",
        "async with Scope.LOOP": "async with per_loop.lease(frozen): pass",
        "async with asyncio.Semaphore(5)": "async with asemaphore: pass",
    }


def _names() -> dict[str, Any]:
    names: dict[str, Any] = {
        "empty": empty,
        "aempty": aempty,
        "cache": _cache(),
        "exclusive": _cache(Scope.exclusive()),
        "per_loop": _cache(Scope.LOOP),
        "frozen": llmkeep.freeze({"model": "m", "temperature": 0}),
        "mapping": {"model": "m", "temperature": 0, "base_url": "http://x", "api_key": "k"},
        "semaphore": threading.Semaphore(5),
        "asemaphore": asyncio.Semaphore(5),
        "lock": threading.Lock(),
    }

    def in_function_empty() -> None:
        with empty():
            pass

    cache, frozen = names["cache"], names["frozen"]

    def in_function_lease() -> None:
        with cache.lease(frozen):
            pass

    return {**names, "in_function_empty": in_function_empty, "in_function_lease": in_function_lease}


def _hits(names: dict[str, Any]) -> dict[str, str]:
    """A hit of every peer, as a statement; `names` gets what it speaks of."""
    statements = {}
    for number, peer in enumerate(each for each in installed() if each.name != "llmkeep"):
        faces = peer.open(_build, _abuild)
        if peer.name in ("async_lru", "cashews"):
            names[f"aget{number}"] = faces.aget
            statements[f"{peer.name}, await"] = f"await aget{number}('text')"
        else:
            names[f"get{number}"] = faces.get
            statements[peer.name] = f"get{number}('text')"
    return statements


def _build(key: str) -> Client:
    return Client()


async def _abuild(key: str) -> Client:  # cashews looks at the name of its argument
    return Client()


def _queue_pool(names: dict[str, Any]) -> dict[str, str]:
    """SQLAlchemy's pool, which lends out one of many where a cache lends out the same one."""
    try:
        from sqlalchemy.pool import QueuePool
    except ImportError:
        return {}
    import sqlite3

    def connect() -> Any:
        return sqlite3.connect(":memory:", check_same_thread=False)

    names["pool"] = QueuePool(connect)
    return {"SQLAlchemy QueuePool, connect and close": "pool.connect().close()"}


def _crowds(quick: bool) -> dict[str, Any]:
    """Eight threads at once: seconds of wall time for one turn of one thread."""
    turns = 500 if quick else 3000
    cache = _cache()
    one = [llmkeep.freeze("hot")] * THREADS
    many = [llmkeep.freeze(f"hot {n}") for n in range(THREADS)]
    locked = by_name("dict under a lock").open(_build, _abuild).get

    def leases(specs: list[Any]) -> Any:
        def work(index: int) -> None:
            spec = specs[index]
            for _ in range(turns):
                with cache.lease(spec):
                    pass

        return lambda: on_threads(THREADS, work) / (turns * THREADS)

    def empties(_index: int) -> None:
        for _ in range(turns):
            with empty():
                pass

    def reads(_index: int) -> None:
        for _ in range(turns):
            locked("hot")

    return {
        "8 threads, an empty @contextmanager block": lambda: (
            on_threads(THREADS, empties) / (turns * THREADS)
        ),
        "8 threads, one key": leases(one),
        "8 threads, a key each": leases(many),
        "8 threads, dict under a lock": lambda: on_threads(THREADS, reads) / (turns * THREADS),
    }


def measure(quick: bool) -> Report:
    """Every block and every peer's hit, round by round."""
    rounds, number = (11, 1000) if quick else (51, 2000)
    names = _names()
    statements = _blocks() | _hits(names) | _queue_pool(names)
    cases = {what: repeated(statement, names, number) for what, statement in statements.items()}
    samples = in_turn(cases, rounds)
    crowds = in_turn(_crowds(quick), 5 if quick else 15)
    return _report(samples, crowds)


def _report(samples: Samples, crowds: Samples) -> Report:
    bases = {
        "a lease in a function of its own": "an empty block in a function of its own",
        "async with cache.lease(frozen)": "an empty @asynccontextmanager block",
        "async with Scope.LOOP": "an empty @asynccontextmanager block",
    }
    rows = {what: _row(what, samples, bases.get(what, EMPTY)) for what in samples}
    base = next(iter(crowds))
    rows |= {what: _row(what, crowds, base) for what in crowds}
    lease = ratio(samples[LEASE], samples[EMPTY])
    ours = [what for what in rows if _is_ours(what)]
    theirs = [what for what in rows if not _is_ours(what)]
    columns = ("", "one turn", "beside an empty block")
    return Report(
        "A hot lease and its return",
        "Processor time for one turn (wall time where there are 8 threads), and how many times "
        "that of an empty `@contextmanager` block it is (`@asynccontextmanager` for "
        "`async with`). `frozen` is a spec that was sealed with `llmkeep.freeze`. A peer's hit is "
        "a call that hands out the client, and nobody is told when its user is done with it.",
        [
            Table(columns, [rows[what] for what in ours]),
            Table(("beside it", *columns[1:]), [rows[what] for what in theirs]),
        ],
        [
            Verdict(
                f"a hot lease takes at most {TARGET} times an empty block",
                lease.shown(".2f"),
                lease.median <= TARGET,
                "Beyond the block: the cache's lock twice, noting the line that took the lease, "
                "and a finalizer that returns one that was dropped.",
            )
        ],
        {
            "nanoseconds": {
                what: Spread.of(each * 1e9 for each in values).median
                for what, values in (*samples.items(), *crowds.items())
            },
            "lease beside an empty block": lease.median,
        },
    )


def _is_ours(what: str) -> bool:
    return "lease" in what or "Scope" in what or " key" in what


def _row(what: str, samples: Samples, base: str) -> tuple[str, str, str]:
    nanoseconds = Spread.of(each * 1e9 for each in samples[what])
    return what, nanoseconds.shown(unit="ns"), ratio(samples[what], samples[base]).shown(".2f")


if __name__ == "__main__":
    print(measure(quick_from_arguments()))
