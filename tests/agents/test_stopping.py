"""Stopping: what was cancelled has ended when we say so, also where a cancellation is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from llmkeep.agents import stopping
from llmkeep.agents.stopping import stop, stoppable


class Work:
    """Waits until cancelled, and lets the first few cancellations be lost."""

    def __init__(self, loses: int = 0) -> None:
        self.loses = loses
        self.started = asyncio.Event()
        self.cancellations = 0
        self.closing = asyncio.Event()
        self.has_ended = False

    async def run(self) -> str:
        self.started.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancellations += 1
                if self.cancellations > self.loses:
                    self.closing.set()
                    for _ in range(10):  # closing something takes turns of the loop
                        await asyncio.sleep(0)
                    self.has_ended = True
                    raise


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", 0.02)


async def test_the_outcome_is_that_of_the_work():
    async def answer() -> int:
        return 42

    async def fail() -> int:
        raise ZeroDivisionError

    assert await stoppable(answer()) == 42
    with pytest.raises(ZeroDivisionError):
        await stoppable(fail())


@pytest.mark.parametrize("loses", [0, 1, 3])
async def test_i7_a_lost_cancellation_is_sent_again(loses: int):
    """A cancellation that `wait_for` swallowed stops the call all the same."""
    work = Work(loses)
    outer = asyncio.create_task(stoppable(work.run()))
    await work.started.wait()
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert work.has_ended
    assert work.cancellations == loses + 1


async def test_i7_what_is_closing_is_not_cancelled_again_by_those_who_hurry():
    """Whoever waits may be cancelled over and over; the work is cancelled once."""
    work = Work()
    task = asyncio.create_task(work.run())
    await work.started.wait()
    stopper = asyncio.create_task(stop(task))
    await work.closing.wait()
    while not task.done():
        stopper.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await stopper
    assert work.cancellations == 1
    assert work.has_ended


async def test_i7_a_cancelled_anyio_scope_waits_for_the_end_too(monkeypatch):
    """It waits once: that it is cancelled again and again does not reach it."""
    waits: list[object] = []
    wait = asyncio.wait

    def counted(*some: Any, **more: Any) -> Any:
        waits.append(some)
        return wait(*some, **more)

    monkeypatch.setattr(asyncio, "wait", counted)
    work = Work()
    task = asyncio.create_task(work.run())
    await work.started.wait()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stop(task)
    assert work.cancellations == 1
    assert work.has_ended
    assert len(waits) == 1


async def test_what_never_ends_is_left_with_a_line_in_the_log(monkeypatch, caplog):
    monkeypatch.setattr(stopping, "STOP_TIMEOUT", 0.05)
    work = Work(loses=1)
    task = asyncio.create_task(work.run(), name="stubborn")
    await work.started.wait()
    await stop(task)
    assert [record.message for record in caplog.records] == [
        "stubborn does not end: something in it ignores being cancelled"
    ]
    await stop(task)
    assert work.has_ended
