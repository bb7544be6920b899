"""I6, second half: whoever builds is cancelled, or its loop ends: a waiter takes the build over."""

from __future__ import annotations

import asyncio
import gc
import warnings
from concurrent.futures import Future
from typing import Any

import pytest

from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    alease,
    crowd,
    lease,
    left_for_dead,
    start,
    sweep,
    until,
    until_waiting,
)


def test_i6_a_cancelled_build_task_concerns_only_the_caller_who_started_it(
    make_cache: MakeCache,
) -> None:
    """An asynchronous build that ends cancelled is taken over by another waiter."""
    gate = Gate()
    tasks: list[Any] = []

    async def abuild(spec: Any) -> Any:
        tasks.append(asyncio.current_task())
        return await gate.abuild(spec)

    cache = make_cache(None, abuild=abuild)
    first, second = crowd((0, 1, 1), cache) + crowd((0, 1, 1), cache)
    until_waiting(cache, 2)

    until(lambda: tasks)
    loop = tasks[0].get_loop()
    loop.call_soon_threadsafe(tasks[0].cancel)
    client = gate.begun(2).release()

    results = [each.exception(WAIT) or each.result(WAIT) for each in (first, second)]
    assert client in results
    assert [type(each) for each in results if each is not client] == [asyncio.CancelledError]


def test_i6_the_end_of_the_builders_loop_hands_the_build_to_a_waiter(
    make_cache: MakeCache, gate: Gate
) -> None:
    """`asyncio.run` ends while a build is a task on its loop: a waiter elsewhere builds instead."""
    cache = make_cache(abuild=gate.abuild)

    async def leave_early() -> None:
        task = asyncio.create_task(alease(cache))
        await asyncio.to_thread(gate.begun)
        others.extend(crowd((1, 0, 0), cache))
        await asyncio.to_thread(until_waiting, cache, 2)
        task.get_name()  # still waiting when this loop ends

    others: list[Any] = []
    asyncio.run(leave_early())

    client = gate.begun(2).release()
    assert others[0].result(WAIT) is client


def test_i6_a_loop_that_ends_begins_no_further_build(
    make_cache: MakeCache, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """`asyncio.run` cancels the build and all who wait for it at once, in any order: none of these
    takes it over.
    """
    cache = make_cache(None, abuild=gate.abuild)

    async def main() -> None:
        tasks.extend(asyncio.create_task(alease(cache)) for _ in range(4))
        await asyncio.to_thread(until_waiting, cache, 4)
        await asyncio.to_thread(gate.begun, number)

    for number in range(1, 21):
        tasks: list[Any] = []
        asyncio.run(main())
        assert all(task.cancelled() for task in tasks)
        assert len(gate.calls) == number
    gc.collect()
    assert "Task was destroyed" not in caplog.text


def test_i6_a_loop_closed_without_ceremony_hands_the_build_to_a_waiter(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Nobody cancels anything there: the housekeeper finds the loop closed."""
    cache = make_cache(abuild=gate.abuild)
    loop = asyncio.new_event_loop()
    task = loop.create_task(alease(cache))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    gate.begun(1)
    other = start(lease, cache)
    until_waiting(cache, 2)
    loop.close()

    sweep(cache, 0)

    client = gate.begun(2).release()
    assert other.result(WAIT) is client
    assert not task.done()
    left_for_dead(task)


def test_i6_a_thousand_waiters_on_a_dead_loop_harm_nobody(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Whoever ends the build finds that nobody there can be told, and goes on."""
    cache = make_cache()
    builder = start(lease, cache)
    gate.begun()
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(alease(cache)) for _ in range(1000)]
    loop.run_until_complete(asyncio.sleep(0))
    until_waiting(cache, 1001)
    loop.close()
    left_for_dead(*tasks)

    gate.open()

    assert builder.result(WAIT) is gate.calls[0].client
    until(lambda: cache.stats().idle == 1)


@pytest.mark.parametrize("ticks", [0, 1, 2, 3])
def test_i6_a_build_that_is_cancelled_before_it_began_hangs_nobody(
    make_cache: MakeCache, gate: Gate, ticks: int
) -> None:
    """All tasks of a loop are cancelled, as at a graceful shutdown, and the loop goes on."""
    cache = make_cache(None, abuild=gate.abuild)
    gate.open()

    async def main() -> None:
        task = asyncio.create_task(alease(cache))
        for _ in range(ticks):
            await asyncio.sleep(0)
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            each.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(WAIT):
            await alease(cache)

    asyncio.run(main())


def test_i6_a_loop_that_is_dropped_without_being_closed_hands_its_build_on(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Nothing of ours keeps such a loop, so that the collector tells that it is gone."""
    cache = make_cache(abuild=gate.abuild)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(alease(cache))
    while not gate.calls:
        loop.run_until_complete(asyncio.sleep(0))
    other = start(lease, cache)
    until_waiting(cache, 2)
    left_for_dead(*asyncio.all_tasks(loop))
    del loop, waiting
    gate.calls[0].outcome = Future()  # the former refers to the loop

    def handed_on() -> bool:
        gc.collect()
        sweep(cache, 0)
        return len(gate.calls) == 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the loop's own, and it is true
        until(handed_on, "a second build")
    client = gate.begun(2).release()
    assert other.result(WAIT) is client
