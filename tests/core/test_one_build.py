"""I1: for one key at most one current build is under way, and none beside a ready instance.

Builds that were overtaken or ran out of time are in test_abandoned.py.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmkeep import Scope
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Crowd,
    Gate,
    alease,
    crowd,
    lease,
    start,
    together,
    until,
    until_waiting,
)

STORMS = {"threads": (100, 0, 0), "tasks": (0, 1, 100), "mixed": (50, 4, 25)}


@pytest.mark.parametrize("who", STORMS.values(), ids=STORMS)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["build", "abuild"])
def test_i1_a_storm_gets_one_build(
    make_cache: MakeCache, gate: Gate, who: Crowd, asynchronous: bool
) -> None:
    """Whoever asks while a build is under way waits for that one."""
    cache = make_cache(abuild=gate.abuild if asynchronous else None)
    callers = crowd(who, cache)
    until_waiting(cache, len(callers))

    gate.open()

    assert {caller.result(WAIT) for caller in callers} == {gate.calls[0].client}
    assert len(gate.calls) == 1
    figures = cache.stats()
    assert (figures.built, figures.joined, figures.hits) == (1, len(callers) - 1, 0)


@pytest.mark.parametrize("who", STORMS.values(), ids=STORMS)
def test_i1_a_ready_instance_is_not_built_again(
    make_cache: MakeCache, gate: Gate, who: Crowd
) -> None:
    """No build starts while a ready instance exists."""
    gate.open()
    cache = make_cache()
    cache.warm("k")

    clients = {caller.result(WAIT) for caller in crowd(who, cache)}

    assert clients == {gate.calls[0].client}
    assert cache.stats().hits == sum(who[:1]) + who[1] * who[2]


def test_i1_a_hundred_threads_that_begin_at_once_get_one_build(
    make_cache: MakeCache, gate: Gate
) -> None:
    """The first to come builds, also where all come in the same instant and builds take no time."""
    gate.open()
    cache = make_cache()

    assert len(set(together(100, lambda: lease(cache)))) == 1
    assert len(gate.calls) == 1


def test_i1_keys_are_built_side_by_side_once_each(make_cache: MakeCache, gate: Gate) -> None:
    """One build per key, all at the same time."""
    cache = make_cache()
    callers = [start(lease, cache, key) for key in range(10) for _ in range(3)]
    gate.begun(10)
    until_waiting(cache, 30)

    gate.open()

    assert len({caller.result(WAIT) for caller in callers}) == 10
    assert sorted(call.spec for call in gate.calls) == list(range(10))


@pytest.mark.parametrize("scope", [Scope.PROCESS, Scope.exclusive(1), Scope.exclusive(3)])
def test_i1_holds_in_every_scope(make_cache: MakeCache, gate: Gate, scope: Scope) -> None:
    """An exclusive instance is built once, and then handed from one to the next."""
    cache = make_cache(scope=scope)
    callers = crowd((8, 2, 4), cache)
    until_waiting(cache, 16)

    gate.open()

    assert {caller.result(WAIT) for caller in callers} == {gate.calls[0].client}
    assert len(gate.calls) == 1


def test_i1_a_loop_scope_builds_once_per_loop_and_once_for_all_threads(
    make_cache: MakeCache, gate: Gate
) -> None:
    """The key of a build is the spec and the home: each loop, and all synchronous callers."""
    cache = make_cache(scope=Scope.LOOP)
    callers = crowd((10, 3, 10), cache)
    until_waiting(cache, 40)

    gate.open()

    assert len({caller.result(WAIT) for caller in callers}) == 4
    assert len(gate.calls) == 4


def test_i1_warming_and_leasing_share_a_build(make_cache: MakeCache, gate: Gate) -> None:
    """Who warms waits for the build that a lease has started, and the other way round."""
    cache = make_cache(abuild=gate.abuild)
    callers = [
        start(cache.warm, "k"),
        start(lease, cache),
        start(asyncio.run, cache.awarm("k")),
        start(asyncio.run, alease(cache)),
    ]
    until_waiting(cache, 4)

    gate.open()

    results = [caller.result(WAIT) for caller in callers]
    assert results[0] is results[2] is None
    assert results[1] is results[3] is gate.calls[0].client
    assert (len(gate.calls), cache.stats().acquired) == (1, 2)


def test_i1_the_first_flights_factory_wins(make_cache: MakeCache, gate: Gate) -> None:
    """A factory of a call's own is not called where a build is under way already."""
    cache = make_cache()
    first = start(lease, cache, build=gate.build)
    gate.begun()
    second = start(lease, cache, build=lambda spec: pytest.fail("a second build"))
    until_waiting(cache, 2)

    gate.open()

    assert first.result(WAIT) is second.result(WAIT)


def test_i1_an_asynchronous_caller_has_the_asynchronous_factory_and_a_thread_the_other(
    make_cache: MakeCache,
) -> None:
    """`abuild` serves those on a loop, `build` those who are on none, one instance both."""
    cache = make_cache(lambda spec: "from build", abuild=_from_abuild, close=None)

    assert lease(cache, 1) == asyncio.run(alease(cache, 1)) == "from build"
    assert asyncio.run(alease(cache, 2)) == lease(cache, 2) == "from abuild"


async def _from_abuild(spec: Any) -> str:
    return "from abuild"


def test_i1_a_factory_may_return_none(make_cache: MakeCache) -> None:
    """None is an instance as any other: built once, kept, leased."""
    calls: list[Any] = []
    cache = make_cache(calls.append, close=None)

    assert lease(cache) is lease(cache) is asyncio.run(alease(cache)) is None
    assert calls == ["k"]


def test_i1_no_build_starts_between_a_lease_and_its_return(
    make_cache: MakeCache, gate: Gate
) -> None:
    """An instance that is leased, idle, leased again is the same one."""
    gate.open()
    cache = make_cache()
    with cache.lease("k") as first, cache.lease("k") as second:
        assert first is second
    until(lambda: cache.stats().idle == 1)

    assert lease(cache) is first
    assert len(gate.calls) == 1
