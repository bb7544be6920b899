"""I2: a slow or stuck build of one key delays nobody else, and no loop is ever blocked."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, NoReturn

import pytest

from llmkeep import Scope
from llmkeep.core.workers import workers
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Client,
    Gate,
    alease,
    auntil,
    crowd,
    lease,
    start,
    sweep,
    until,
    until_waiting,
)


def stuck_at_first(gate: Gate) -> Any:
    """A factory that sticks for every spec but "free"."""
    return lambda spec: Client(spec, 0) if spec == "free" else gate.build(spec)


def test_i2_sixty_four_stuck_builds_delay_no_other(make_cache: MakeCache, gate: Gate) -> None:
    """However many keys are stuck, the next is built."""
    cache = make_cache(stuck_at_first(gate))
    stuck = [start(lease, cache, key) for key in range(32)]
    stuck += crowd((0, 1, 1), cache, "on a loop")
    stuck += [start(asyncio.run, alease(cache, key)) for key in range(100, 131)]
    gate.begun(64)

    assert start(lease, cache, "free").result(WAIT).spec == "free"
    assert asyncio.run(alease(cache, "free")).spec == "free"

    gate.open()
    assert len({caller.result(WAIT) for caller in stuck}) == 64


def test_i2_a_stuck_build_holds_up_no_other_operation(make_cache: MakeCache, gate: Gate) -> None:
    """Statistics, snapshots, clearing and leases of what is ready go on beside it."""
    cache = make_cache(stuck_at_first(gate))
    cache.warm("free")
    caller = start(lease, cache, "stuck")
    gate.begun()

    def use_everything() -> None:
        assert cache.stats().building == 1
        assert {row.state for row in cache.snapshot()} == {"building", "ready"}
        assert "1 building" in repr(cache)
        assert lease(cache, "free", timeout=0).spec == "free"
        assert cache.invalidate("free")
        cache.warm("free")

    start(use_everything).result(WAIT)
    gate.open()
    caller.result(WAIT)


def test_i2_a_stuck_close_holds_up_no_lease(make_cache: MakeCache, gate: Gate) -> None:
    """Closes run on threads of their own."""
    go = threading.Event()
    cache = make_cache(close=lambda client: go.wait(WAIT))
    gate.open()
    for key in range(8):
        lease(cache, key)

    cache.clear()

    assert start(lease, cache, "other").result(WAIT).spec == "other"
    assert asyncio.run(alease(cache, "another")).spec == "another"
    go.set()
    until(lambda: cache.stats().closed == 8)


def test_i2_blocking_builds_never_use_the_loops_default_executor(
    make_cache: MakeCache, gate: Gate
) -> None:
    """A hundred blocking builds are awaited side by side, each on a thread of ours."""
    cache = make_cache()

    class Refusing(ThreadPoolExecutor):
        def submit(self, *args: Any, **options: Any) -> NoReturn:
            raise AssertionError("the default executor was used")

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(Refusing())
        callers = [asyncio.create_task(alease(cache, key)) for key in range(100)]
        await auntil(lambda: len(gate.calls) == 100)
        gate.open()
        await asyncio.gather(*callers)
        await cache.aclose()

    asyncio.run(main())
    assert cache.stats().closed == 100


def test_i2_a_loop_runs_on_while_its_tasks_wait(make_cache: MakeCache, gate: Gate) -> None:
    """Joining, building, queueing and closing: whatever a task waits for, its loop goes on."""
    cache = make_cache(scope=Scope.exclusive(1))
    other = cache.lease("held")
    closes = threading.Event()
    closing = make_cache(lambda spec: None, close=lambda client: closes.wait(WAIT))

    async def main() -> None:
        on_loop = threading.get_ident()
        builds = [asyncio.create_task(alease(cache, "k")) for _ in range(3)]
        holder = start(other.__enter__)
        await auntil(lambda: len(gate.calls) == 2)
        gate.begun(2 if gate.calls[1].spec == "held" else 1).release()
        await asyncio.wrap_future(holder)
        queued = asyncio.create_task(alease(cache, "held"))
        await closing.awarm("k")
        shutdown = asyncio.create_task(closing.aclose())
        # All of them wait now, and the loop still comes here.
        await asyncio.sleep(0)
        assert not any(task.done() for task in (*builds, queued, shutdown))
        assert threading.get_ident() == on_loop
        gate.open()
        closes.set()
        other.__exit__(None, None, None)
        await asyncio.gather(*builds, queued, shutdown)

    asyncio.run(main())


def test_i2_a_synchronous_build_without_a_limit_runs_on_the_callers_thread(
    make_cache: MakeCache,
) -> None:
    """With a limit, or awaited from a loop, it runs on a daemon thread of ours."""

    def build(spec: Any) -> threading.Thread:
        return threading.current_thread()

    cache = make_cache(build, close=None)
    limited = make_cache(build, close=None, build_timeout=WAIT)

    assert lease(cache, 1) is threading.current_thread()
    for thread in (
        lease(cache, 2, timeout=WAIT),
        lease(limited, 1),
        asyncio.run(alease(cache, 3)),
    ):
        assert thread is not threading.current_thread()
        assert thread.daemon
        assert thread.name.startswith("llmkeep")


def test_i2_an_asynchronous_build_runs_on_the_loop_of_the_caller_who_started_it(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Others on other loops and threads wait for it."""
    loops: list[Any] = []

    async def abuild(spec: Any) -> Client:
        loops.append(asyncio.get_running_loop())
        return await gate.abuild(spec)

    cache = make_cache(abuild=abuild)

    async def main() -> None:
        first = asyncio.create_task(alease(cache))
        await auntil(lambda: gate.calls)
        others = crowd((1, 1, 1), cache)
        await asyncio.to_thread(until_waiting, cache, 3)
        gate.open()
        await first
        assert loops == [asyncio.get_running_loop()]
        assert {await asyncio.wrap_future(other) for other in others} == {gate.calls[0].client}

    asyncio.run(main())


tenant: ContextVar[str] = ContextVar("tenant", default="nobody's")


async def tenant_of(spec: Any) -> str:
    return tenant.get()


@pytest.mark.parametrize(("context", "seen"), [("empty", "nobody's"), ("copy", "the first's")])
def test_i2_builds_run_in_an_empty_context_unless_told_otherwise(
    make_cache: MakeCache, context: str, seen: str
) -> None:
    """An instance is shared: the first caller's tenant or span is not captured in it."""

    def build(spec: Any) -> str:
        found = tenant.get()
        tenant.set("the build's")
        return found

    def call() -> list[str]:
        tenant.set("the first's")
        cache = make_cache(build, abuild=tenant_of, close=None, context=context)
        found = [
            lease(cache, "here"),
            lease(cache, "on our thread", timeout=WAIT),
            asyncio.run(alease(cache, "on the loop")),
            asyncio.run(alease(cache, "its own factory", build=build)),
        ]
        assert tenant.get() == "the first's"
        return found

    assert start(call).result(WAIT) == [seen] * 4


def test_i2_a_copied_context_serves_a_second_build_beside_the_first(
    make_cache: MakeCache, gate: Gate
) -> None:
    """A build that is overtaken while it runs does not keep the one after it from starting."""
    cache = make_cache(context="copy")

    def call() -> Any:
        tenant.set("mine")
        return lease(cache, timeout=WAIT)

    caller = start(call)
    gate.begun(1)
    cache.invalidate("k")

    second = gate.begun(2).release()

    assert caller.result(WAIT) is second


def test_i2_a_build_that_no_thread_can_be_started_for_is_told_to_its_callers(
    make_cache: MakeCache, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not run on the thread that keeps time for everybody; the next may have more luck."""
    cache = make_cache()
    cache.warm("other", build=lambda spec: Client(spec, 0))

    async def main() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(workers, "_idle", [])
            patched.setattr(threading.Thread, "start", _refused)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await alease(cache)
        gate.open()
        await alease(cache)

    asyncio.run(main())


def _refused(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_i2_a_slow_subscriber_holds_up_no_waiter(make_cache: MakeCache, gate: Gate) -> None:
    """Who waits is woken before anybody is told what happened."""
    go, told = threading.Event(), threading.Event()
    cache = make_cache(build_timeout=1000.0)

    def subscriber(event: Any) -> None:
        told.set()
        go.wait(WAIT)

    cache.subscribe(subscriber)
    callers = [start(lease, cache) for _ in range(3)]
    until_waiting(cache, 3)
    gate.begun().fail(ValueError("refused"))
    try:
        assert told.wait(WAIT)
        for caller in callers:
            with pytest.raises(ValueError, match="refused"):
                caller.result(WAIT)
    finally:
        go.set()


def test_i2_a_slow_subscriber_costs_no_thread_per_event(make_cache: MakeCache, gate: Gate) -> None:
    """What the housekeeper has to tell is told by one thread, in order."""
    gate.open()
    go = threading.Event()
    reasons: list[str] = []

    def subscriber(event: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            go.wait(WAIT)  # this test's own calls may be the ones that tell, too
        reasons.append(type(event).__name__)

    cache = make_cache(idle_ttl=0.01, close=None)
    cache.subscribe(subscriber)
    for key in range(200):
        cache.warm(key)
    try:
        until(lambda: cache.stats().closed == 200)
        busy = [each for each in threading.enumerate() if each.name == "llmkeep-events"]
        assert len(busy) <= 2
    finally:
        go.set()
    until(lambda: len(reasons) == 600)  # built, retired, closed


def test_i1_keeping_house_begins_no_build_twice(make_cache: MakeCache, gate: Gate) -> None:
    """1. a loop stands still; 2. a build is given to one of its tasks; 3. the housekeeper comes by
    before the loop goes on.
    """
    cache = make_cache(None, abuild=gate.abuild)

    async def main() -> None:
        task = asyncio.create_task(alease(cache))
        await auntil(lambda: gate.calls)
        start(cache.invalidate, "k").result(WAIT)
        for _ in range(5):
            start(sweep, cache, 0).result(WAIT)
        await auntil(lambda: len(gate.calls) == 2)
        gate.open()
        assert await task is gate.calls[1].client

    asyncio.run(main())
    assert len(gate.calls) == 2
    until(lambda: cache.stats().idle == 1)
