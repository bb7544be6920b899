"""What mutation testing of the builds, and of who is told of them, found unproved."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from llmkeep import CacheClosed, Scope
from llmkeep.core.waiters import TaskWaiter, ThreadWaiter
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    auntil,
    lease,
    resource_warning,
    start,
    until_waiting,
)


def test_i6_an_interrupt_of_a_build_reaches_its_caller_although_the_cache_was_closed(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Ctrl-C is not lost because there was something else to be told."""
    cache = make_cache()
    caller = start(lease, cache)
    call = gate.begun()
    cache.close(timeout=0)

    call.fail(KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        caller.result(WAIT)


def test_i6_who_was_served_meanwhile_is_not_told_that_the_own_build_failed(
    make_cache: MakeCache, gate: Gate
) -> None:
    """1. a build is overtaken; 2. the next one serves its caller too; 3. then it fails."""
    cache = make_cache()
    overtaken = start(lease, cache)
    gate.begun(1)
    cache.invalidate("k")
    other = start(lease, cache)
    gate.begun(2)
    until_waiting(cache, 2)
    client = gate.calls[1].release()
    assert other.result(WAIT) is client

    gate.calls[0].fail(ZeroDivisionError())

    assert overtaken.result(WAIT) is client


async def test_i6_a_failed_build_is_told_to_who_waits_and_to_nobody_else(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Its task ends in peace: the loop has nothing to say of an error that was told."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    cache = make_cache(None, abuild=gate.abuild)
    caller = asyncio.create_task(alease(cache))
    await auntil(lambda: gate.calls, "the build")
    gate.calls[0].fail(ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        await caller

    await asyncio.sleep(0)
    gc.collect()
    assert not said


def test_i3_a_lease_that_a_shutdown_broke_before_it_was_had_is_refused(
    make_cache: MakeCache, open_gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. its turn comes; 2. the cache is closed; 3. whoever waited wakes, and has no client."""
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    holder.__enter__()

    def wait(waiter: ThreadWaiter, deadline: float | None) -> bool:
        monkeypatch.undo()
        holder.__exit__(None, None, None)
        with resource_warning("was closed while 1 leases were out"):
            cache.close(timeout=0)
        return True

    monkeypatch.setattr(ThreadWaiter, "wait", wait)

    with pytest.raises(CacheClosed, match="in this very moment"):
        start(lease, cache).result(WAIT)


async def test_i3_a_lease_that_a_shutdown_broke_before_a_task_had_it_is_refused(
    make_cache: MakeCache, open_gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for tasks."""
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    await holder.__aenter__()

    async def wait(waiter: TaskWaiter, deadline: float | None) -> bool:
        monkeypatch.undo()
        holder.__exit__(None, None, None)
        with resource_warning("was closed while 1 leases were out"):
            await cache.aclose(timeout=0)
        return True

    monkeypatch.setattr(TaskWaiter, "wait", wait)

    with pytest.raises(CacheClosed, match="in this very moment"):
        await asyncio.create_task(alease(cache))
