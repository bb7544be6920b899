"""I13: statistics are consistent in themselves at any moment, and counters never go backwards."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import fields
from typing import Any

import pytest

from llmkeep import Scope
from llmkeep.core.stats import Stats
from tests.core.books import check
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Client,
    Gate,
    alease,
    crowd,
    lease,
    start,
    sweep,
    together,
    until,
    until_waiting,
)

GAUGES = ["building", "live", "leased", "idle", "retired"]
COUNTERS = [each.name for each in fields(Stats) if each.name not in GAUGES]


def figures(cache: Any, *names: str) -> tuple[int, ...]:
    stats = cache.stats()
    return tuple(getattr(stats, name) for name in names)


def test_i13_leases_are_counted_by_how_they_were_granted(make_cache: MakeCache, gate: Gate) -> None:
    """Found ready, started the flight, waited for another's; those that failed are none."""
    cache = make_cache()
    names = ("acquired", "hits", "built", "joined")
    builder = start(lease, cache)
    gate.begun()
    joiners = crowd((2, 1, 2), cache)
    until_waiting(cache, 5)
    gate.open()
    for each in (builder, *joiners):
        each.result(WAIT)
    assert figures(cache, *names) == (5, 0, 1, 4)

    lease(cache)
    asyncio.run(alease(cache))
    with cache.lease("k"), cache.lease("k"):
        assert figures(cache, *names) == (9, 4, 1, 4)
    with pytest.raises(ZeroDivisionError):
        lease(cache, "fails", build=lambda spec: 1 / 0)
    with pytest.raises(TimeoutError):
        lease(cache, "not there", timeout=0)
    assert figures(cache, *names) == (9, 4, 1, 4)


def test_i13_warming_counts_as_a_build_and_not_as_a_lease(
    make_cache: MakeCache, gate: Gate
) -> None:
    """The next lease is a hit."""
    gate.open()
    cache = make_cache()
    cache.warm("k")
    asyncio.run(cache.awarm("k"))
    assert figures(cache, "builds", "builds_ok", "acquired") == (1, 1, 0)
    lease(cache)
    assert figures(cache, "hits", "built") == (1, 0)


def test_i13_a_lease_that_had_to_queue_found_its_instance_ready(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Waiting for a turn is not joining a build; after an invalidation it is."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))
    cache.warm("k")
    with cache.lease("k"):
        waiter = start(lease, cache)
        until_waiting(cache, 1)
    waiter.result(WAIT)
    assert figures(cache, "hits", "built", "joined") == (2, 0, 0)

    with cache.lease("k"):
        first, second = start(lease, cache), start(lease, cache)
        until_waiting(cache, 2)
        cache.invalidate("k")
        first.result(WAIT)
        second.result(WAIT)
    assert figures(cache, "acquired", "hits", "built", "joined") == (5, 3, 1, 1)


def test_i13_builds_are_counted_by_how_they_ended(make_cache: MakeCache, gate: Gate) -> None:
    """Each call of a factory is under way, or has succeeded, failed, or been abandoned."""
    cache = make_cache(build_timeout=1000.0)
    names = ("builds", "builds_ok", "build_failures", "builds_abandoned", "building")

    first = start(lease, cache, 1)
    gate.begun(1)
    assert figures(cache, *names) == (1, 0, 0, 0, 1)
    gate.calls[0].release()
    first.result(WAIT)
    assert figures(cache, *names) == (1, 1, 0, 0, 0)

    second = start(lease, cache, 2)
    gate.begun(2).fail(ValueError())
    second.exception(WAIT)
    assert figures(cache, *names) == (2, 1, 1, 0, 0)

    third = start(lease, cache, 3)
    gate.begun(3)
    sweep(cache, 1001)
    third.exception(WAIT)
    assert figures(cache, *names) == (3, 1, 1, 1, 0)
    gate.calls[2].release()  # too late: it stays abandoned
    until(lambda: gate.calls[2].client.closes)
    assert figures(cache, *names) == (3, 1, 1, 1, 0)


def test_i13_gauges_count_instances(make_cache: MakeCache, gate: Gate) -> None:
    """Leased and idle are ready ones; retired are those that are still leased."""
    gate.open()
    cache = make_cache(max_idle=5)
    names = ("live", "leased", "idle", "retired", "closed")
    cache.warm(1)
    with cache.lease(2), cache.lease(2), cache.lease(3):
        assert figures(cache, *names) == (3, 2, 1, 0, 0)
        cache.invalidate(2)
        assert figures(cache, *names) == (3, 1, 1, 1, 0)
        lease(cache, 2)
        assert figures(cache, *names) == (4, 1, 2, 1, 0)
    until(lambda: figures(cache, *names) == (3, 0, 3, 0, 1))


def test_i13_a_storm_is_consistent_at_every_sample(make_cache: MakeCache, gate: Gate) -> None:
    """Every identity holds in every snapshot, and no counter falls, while everything happens."""
    gate.open()
    closed: list[int] = []

    def close(client: Any) -> None:
        closed.append(client.number)
        assert client.number % 7, "some closes fail"

    cache = make_cache(abuild=gate.abuild, max_idle=3, close=close)
    done = threading.Event()

    def use(seed: int) -> None:
        for number in range(60):
            key = (number * seed) % 9
            try:
                lease(cache, key, build=(lambda spec: 1 // 0) if number % 11 == 0 else None)
            except ZeroDivisionError:
                pass
            if number % 13 == 0:
                cache.invalidate(key)
            if number % 29 == 0:
                cache.clear()

    async def ause() -> None:
        for number in range(60):
            three = [alease(cache, (number + each) % 9) for each in range(3)]
            await asyncio.gather(*three, return_exceptions=True)

    def sample() -> int:
        last = cache.stats()
        samples = 0
        while not done.is_set():
            check(cache)
            now = cache.stats()
            for name in COUNTERS:
                assert getattr(now, name) >= getattr(last, name), name
            rows = cache.snapshot()
            assert len({row.id for row in rows}) == len(rows)
            last = now
            samples += 1
        return samples

    sampler = start(sample)
    workers = [start(use, seed) for seed in (2, 5)] + [start(asyncio.run, ause())]
    for worker in workers:
        worker.result(WAIT)
    done.set()
    assert sampler.result(WAIT) > 0
    cache.clear()
    until(lambda: len(closed) == len(gate.calls), "the close of all that was built")
    assert figures(cache, "live", "building") == (0, 0)


def test_i13_statistics_are_frozen_ints_that_add(make_cache: MakeCache, gate: Gate) -> None:
    """The names that the design fixes, and the sum of two caches is consistent too."""
    gate.open()
    caches = [make_cache(), make_cache()]
    for cache in caches:
        lease(cache)
    stats = caches[0].stats()
    assert [field.name for field in fields(stats)][:15] == [
        *("acquired", "hits", "built", "joined"),
        *("builds", "builds_ok", "build_failures", "builds_abandoned", "building"),
        *("live", "leased", "idle", "retired", "closed", "close_failures"),
    ]
    assert {field.name for field in fields(stats)} >= {*COUNTERS, *GAUGES}
    assert all(type(value) is int for value in vars(stats).values())
    with pytest.raises(AttributeError):
        stats.hits = 7  # type: ignore[misc]
    both = stats + caches[1].stats()
    assert (both.acquired, both.built, both.live) == (2, 2, 2)


def test_i13_a_snapshot_has_a_row_per_instance(make_cache: MakeCache, gate: Gate) -> None:
    """Display id, label, scope, state, leases, age, idle time and weight."""
    cache = make_cache(label=lambda spec: f"number {spec}", weigh=lambda client: 2.5)
    gate.open()
    cache.warm(1)
    held = Gate()
    builder = start(lease, cache, 3, build=held.build)
    held.begun()
    with cache.lease(2), cache.lease(2), cache.lease(4):
        cache.invalidate(4)
        rows = {row.label or row.state: row for row in cache.snapshot()}

    assert {label: (row.state, row.leases) for label, row in rows.items()} == {
        "number 1": ("ready", 0),
        "number 2": ("ready", 2),
        "building": ("building", 0),
        "number 4": ("retired", 1),
    }
    assert rows["number 1"].idle > 0
    assert rows["number 2"].idle == 0
    assert all(row.scope == "process" and row.age >= 0 for row in rows.values())
    assert [rows[f"number {n}"].weight for n in (1, 2, 4)] == [2.5] * 3
    held.open()
    builder.result(WAIT)


def test_i13_a_thousand_leases_by_many_are_all_counted(make_cache: MakeCache, gate: Gate) -> None:
    """None is lost where threads meet."""
    gate.open()
    cache = make_cache()

    def use() -> None:
        for number in range(125):
            lease(cache, number % 5)

    together(8, use)
    assert figures(cache, "acquired") == (1000,)
    assert figures(cache, "builds") == (5,)


def test_i13_the_repr_is_the_state_in_a_line(make_cache: MakeCache, gate: Gate) -> None:
    """For error messages and for whoever looks."""
    cache = make_cache(name="telling", max_idle=7)
    waiter = start(lease, cache, 1)
    gate.begun()
    with cache.lease(2, build=lambda spec: Client(spec, 2)):
        assert repr(cache) == (
            "<ClientCache 'telling' process: 1 ready (1 leased), 1 building, 1 waiting, "
            "0 retired, max_idle 7>"
        )
    gate.open()
    waiter.result(WAIT)
