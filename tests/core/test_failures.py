"""I6: a failure is told to those who wait for it and is not kept; what is no `Exception` concerns
only the caller who ran the build.
"""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

from llmkeep import Scope
from llmkeep.core.events import BuildFailed
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Crowd,
    Gate,
    Recorder,
    alease,
    crowd,
    lease,
    start,
    sweep,
    until,
    until_waiting,
)

FACES = {"threads": (4, 0, 0), "tasks": (0, 1, 4), "mixed": (2, 2, 2)}


class RefusedByProvider(Exception):
    """An SDK's own error, which cannot even be made again from its message."""

    def __init__(self, *, status: int) -> None:
        super().__init__("no such key")
        self.status = status


@pytest.mark.parametrize("who", FACES.values(), ids=FACES)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["build", "abuild"])
def test_i6_all_who_wait_get_the_builds_exception_unchanged(
    make_cache: MakeCache, gate: Gate, who: Crowd, asynchronous: bool
) -> None:
    """Its type and its attributes; the next caller builds anew."""
    cache = make_cache(abuild=gate.abuild if asynchronous else None)
    callers = crowd(who, cache)
    until_waiting(cache, len(callers))

    gate.begun(1).fail(RefusedByProvider(status=401))

    for caller in callers:
        with pytest.raises(RefusedByProvider, match="no such key") as raised:
            caller.result(WAIT)
        assert raised.type is RefusedByProvider
        assert raised.value.status == 401
    figures = cache.stats()
    assert (figures.builds, figures.build_failures, figures.acquired) == (1, 1, 0)

    later = start(lease, cache)
    client = gate.begun(2).release()
    assert later.result(WAIT) is client


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("who", [(1, 0, 0), (0, 1, 1)], ids=["thread", "task"])
def test_i6_what_is_no_exception_concerns_only_the_caller_who_ran_the_build(
    make_cache: MakeCache, gate: Gate, error: type[BaseException], who: Crowd
) -> None:
    """A waiter takes the build over, and all but the one get its result."""
    cache = make_cache()
    first = start(lease, cache)
    gate.begun(1)
    others = crowd(who, cache)
    until_waiting(cache, 2)

    gate.calls[0].fail(error())

    with pytest.raises(error):
        first.result(WAIT)
    client = gate.begun(2).release()
    assert others[0].result(WAIT) is client
    assert cache.stats().joined == 0  # it built, in the end
    assert cache.stats().built == 1


def test_i6_each_builder_in_turn_may_be_interrupted(make_cache: MakeCache, gate: Gate) -> None:
    """The build goes from one to the next for as long as somebody waits."""
    cache = make_cache()
    callers = [start(lease, cache)]
    gate.begun(1)
    callers += [start(lease, cache) for _ in range(3)]
    until_waiting(cache, 4)

    for number in (1, 2, 3, 4):
        gate.begun(number).fail(KeyboardInterrupt())

    for caller in callers:
        with pytest.raises(KeyboardInterrupt):
            caller.result(WAIT)
    assert cache.stats().build_failures == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_i6_an_interrupt_of_an_overtaken_build_reaches_the_caller_who_ran_it(
    make_cache: MakeCache, gate: Gate, error: type[BaseException]
) -> None:
    """Ctrl-C is not lost because the build had been invalidated meanwhile."""
    cache = make_cache()
    caller = start(lease, cache)
    gate.begun(1)
    cache.invalidate("k")

    gate.calls[0].fail(error())

    with pytest.raises(error):
        caller.result(WAIT)
    assert len(gate.calls) == 1


def test_i6_a_failure_may_be_told_for_a_while(make_cache: MakeCache, gate: Gate) -> None:
    """With `failure_backoff` callers get the last error without a build, until it is over."""
    cache = make_cache(failure_backoff=30.0)
    first = start(lease, cache)
    gate.begun(1).fail(RefusedByProvider(status=429))
    with pytest.raises(RefusedByProvider):
        first.result(WAIT)

    for again in (lease, lambda cache: asyncio.run(alease(cache)), lambda c: c.warm("k")):
        with pytest.raises(RefusedByProvider) as raised:
            again(cache)
        assert raised.value.status == 429
    assert len(gate.calls) == 1

    sweep(cache, 31)
    later = start(lease, cache)
    client = gate.begun(2).release()
    assert later.result(WAIT) is client


def test_i6_a_failure_that_is_told_again_and_again_does_not_grow(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Its traceback is that of the build and of the caller who reads it, not of all before."""

    def build(spec: Any) -> None:
        raise ValueError("as always")

    cache = make_cache(build, failure_backoff=30.0)
    depths = []
    for _ in range(20):
        with pytest.raises(ValueError, match="as always") as raised:
            lease(cache)
        depths.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert len(set(depths[1:])) == 1


def test_i6_an_interrupt_starts_no_back_off(make_cache: MakeCache, gate: Gate) -> None:
    """It says nothing about the spec."""
    cache = make_cache(failure_backoff=30.0)
    first = start(lease, cache)
    gate.begun(1).fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        first.result(WAIT)

    gate.open()
    assert lease(cache) is gate.calls[1].client


@pytest.mark.parametrize("broken", ["label", "weigh"])
def test_i6_a_label_or_weigher_that_raises_fails_the_build_and_closes_what_it_made(
    make_cache: MakeCache, gate: Gate, broken: str
) -> None:
    """The build's result has no weight or name, so it is not kept, and not left open either."""
    gate.open()
    options: dict[str, Any] = {broken: lambda _: 1 / 0}
    cache = make_cache(**options)
    events = Recorder()
    cache.subscribe(events)

    with pytest.raises(ZeroDivisionError):
        lease(cache)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(alease(cache))

    until(lambda: len(gate.closed) == 2)
    assert [event.error for event in events.of(BuildFailed)] == ["ZeroDivisionError"] * 2
    assert cache.stats().build_failures == 2


def test_i6_warming_raises_what_the_build_raises(make_cache: MakeCache, gate: Gate) -> None:
    """In a thread and in a task."""
    cache = make_cache()
    callers = [start(cache.warm, "k"), start(asyncio.run, cache.awarm("k"))]
    until_waiting(cache, 2)

    gate.begun(1).fail(RefusedByProvider(status=500))

    for caller in callers:
        with pytest.raises(RefusedByProvider):
            caller.result(WAIT)


def test_i6_a_failure_reaches_an_exclusive_queue(make_cache: MakeCache, gate: Gate) -> None:
    """There is no turn to take where there is no instance."""
    cache = make_cache(scope=Scope.exclusive(1))
    callers = crowd((2, 1, 2), cache)
    until_waiting(cache, 4)

    gate.begun(1).fail(RefusedByProvider(status=401))

    for caller in callers:
        with pytest.raises(RefusedByProvider):
            caller.result(WAIT)
