"""One life of a cache, told by each face: threads, tasks, and both mixed over two loops.

What the other files say of one kind of caller is said here of all, in the order of a life.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop

from llmkeep import BuildTimeout, CacheClosed, LeaseTimeout, Scope
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Crowd,
    Gate,
    crowd,
    sweep,
    until,
    until_waiting,
)

FACES: dict[str, tuple[Crowd, str]] = {
    "threads": ((6, 0, 0), "asyncio"),
    "tasks": ((0, 1, 6), "asyncio"),
    "mixed": ((2, 2, 2), "asyncio"),
    "tasks on uvloop": ((0, 1, 6), "uvloop"),
    "mixed on uvloop": ((2, 2, 2), "uvloop"),
    "eager tasks": ((0, 1, 6), "eager"),
    "mixed and eager": ((2, 2, 2), "eager"),
}


@pytest.fixture(params=list(FACES.values()), ids=list(FACES))
def who(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    """Who calls; every `asyncio.run` of the test uses the kind of loop that goes with it."""
    crowd, kind = request.param
    if kind == "eager" and not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("eager task factories came with Python 3.12")
    loop_factories = {
        "asyncio": asyncio.new_event_loop,
        "uvloop": uvloop.new_event_loop,
        "eager": eager_loop,
    }

    def run(main: Any) -> Any:
        with asyncio.Runner(loop_factory=loop_factories[kind]) as runner:
            return runner.run(main)

    monkeypatch.setattr(asyncio, "run", run)
    return crowd  # type: ignore[no-any-return]


def eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    return loop


def results(callers: list[Any]) -> set[Any]:
    return {caller.result(WAIT) for caller in callers}


def errors(callers: list[Any]) -> set[type]:
    return {type(caller.exception(WAIT)) for caller in callers}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["build", "abuild"])
class TestLife:
    """Each step of it, for each kind of caller, loop and factory."""

    @pytest.fixture
    def cache(self, make_cache: MakeCache, gate: Gate, asynchronous: bool) -> Any:
        abuild = gate.abuild if asynchronous else None
        return make_cache(abuild=abuild, build_timeout=1000.0)

    def test_i1_one_build(self, cache: Any, gate: Gate, who: Crowd) -> None:
        """All get the one instance."""
        callers = crowd(who, cache)
        until_waiting(cache, 6)
        gate.open()
        assert results(callers) == {gate.calls[0].client}
        assert results(crowd(who, cache)) == {gate.calls[0].client}

    def test_i1_a_time_limit(self, cache: Any, gate: Gate, who: Crowd) -> None:
        """All are told, and those who come later have a build of their own."""
        callers = crowd(who, cache)
        until_waiting(cache, 6)
        gate.begun(1)
        sweep(cache, 1001)
        assert errors(callers) == {BuildTimeout}
        later = crowd(who, cache)
        client = gate.begun(2).release()
        assert results(later) == {client}

    def test_i3_leases_keep_alive(self, cache: Any, gate: Gate, who: Crowd) -> None:
        """What all hold is closed after all have let go, and not before."""
        gate.open()
        with cache.lease("k") as client:
            callers = crowd(who, cache)
            results(callers)
            cache.clear()
            assert client.closes == 0
        until(lambda: client.closes == 1)

    def test_i4_an_invalidation(self, cache: Any, gate: Gate, who: Crowd) -> None:
        """Those who waited and those who come get what was built after it."""
        callers = crowd(who, cache)
        until_waiting(cache, 6)
        gate.begun(1)
        assert cache.invalidate("k")
        gate.begun(2)
        gate.calls[0].release()
        until(lambda: gate.calls[0].client.closes == 1)
        gate.open()
        assert results(callers) == {gate.calls[1].client}
        assert results(crowd(who, cache)) == {gate.calls[1].client}

    def test_i6_a_failure(self, cache: Any, gate: Gate, who: Crowd) -> None:
        """All are told, and the next build anew."""
        callers = crowd(who, cache)
        until_waiting(cache, 6)
        gate.begun(1).fail(OSError("refused"))
        assert errors(callers) == {OSError}
        later = crowd(who, cache)
        client = gate.begun(2).release()
        assert results(later) == {client}

    def test_i7_callers_that_run_out_of_time(self, cache: Any, gate: Gate, who: Crowd) -> None:
        """The patient are served all the same."""
        patient = crowd(who, cache)
        until_waiting(cache, 6)
        assert errors(crowd(who, cache, timeout=0.01)) == {LeaseTimeout}
        until_waiting(cache, 6)
        gate.open()
        assert results(patient) == {gate.calls[0].client}

    def test_i4_a_shutdown(self, cache: Any, gate: Gate, who: Crowd) -> None:
        """All who wait are told, and all who come."""
        callers = crowd(who, cache)
        until_waiting(cache, 6)
        cache.close(timeout=WAIT)
        assert errors(callers) == {CacheClosed}
        assert errors(crowd(who, cache)) == {CacheClosed}


def test_i7_turns(make_cache: MakeCache, gate: Gate, who: Crowd) -> None:
    """An exclusive instance serves all, one after the other."""
    gate.open()
    cache = make_cache(scope=Scope.exclusive(1))
    with cache.lease("k") as client:
        callers = crowd(who, cache)
        until_waiting(cache, 6)
    assert results(callers) == {client}


def test_i5_homes(make_cache: MakeCache, gate: Gate, who: Crowd) -> None:
    """With a scope per loop each loop closes its own when it ends, with a close of either kind."""
    gate.open()
    cache = make_cache(abuild=gate.abuild, scope=Scope.LOOP, close=gate.aclose)
    results(crowd(who, cache))
    homes = who[1] + bool(who[0])
    assert len(gate.calls) == homes
    until(lambda: len(gate.closed) == who[1])
