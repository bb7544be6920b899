"""A call at a loop's end, a hold on what a loop owns, and generators the loop does not know."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmkeep.core.loops import LoopEnd, at_loop_end, hold_until_closed, unseen


class Thing:
    """Something that can be referred to weakly."""


def test_i5_call_at_the_loops_end(run: Callable[[Any], Any]) -> None:
    """The callback is awaited on the loop, once, before it is closed."""
    called: list[asyncio.AbstractEventLoop] = []
    kept: list[LoopEnd] = []

    async def callback() -> None:
        await asyncio.sleep(0.001)
        called.append(asyncio.get_running_loop())

    async def main() -> asyncio.AbstractEventLoop:
        kept.append(at_loop_end(callback))
        assert not kept[0].cancelled
        return asyncio.get_running_loop()

    loop = run(main())

    assert called == [loop]
    assert kept[0].cancelled


@pytest.mark.parametrize("how", ["cancelled", "dropped"])
def test_i5_no_call_after_all(run: Callable[[Any], Any], how: str) -> None:
    """A handle that is cancelled or dropped calls nothing, and warns of nothing."""
    called: list[str] = []
    kept: list[LoopEnd] = []

    async def callback() -> None:
        called.append("called")

    async def main() -> None:
        handle = at_loop_end(callback)
        if how == "cancelled":
            handle.cancel()
            handle.cancel()
            kept.append(handle)
        del handle
        gc.collect()

    run(main())

    assert called == []


def test_i5_dead_loop_calls_nothing() -> None:
    """A loop closed without `shutdown_asyncgens()` is not touched, whenever the handle goes."""
    called: list[str] = []

    async def callback() -> None:
        called.append("called")

    async def main() -> LoopEnd:
        return at_loop_end(callback)

    loop = asyncio.new_event_loop()
    handle = loop.run_until_complete(main())
    loop.close()
    del handle
    gc.collect()

    assert called == []


def test_failure_at_the_end_is_told_by_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """What the callback raises is the loop's to report, and ends nothing else."""
    kept: list[LoopEnd] = []

    async def callback() -> None:
        raise OSError("broken")

    async def main() -> None:
        kept.append(at_loop_end(callback))

    asyncio.run(main())

    assert "broken" in caplog.text


def test_end_needs_a_loop() -> None:
    """Without a running loop there is no end to wait for."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        at_loop_end(asyncio.Event().wait)  # type: ignore[arg-type]


def test_hooks_are_as_before() -> None:
    """The thread's hooks for generators are left as they were found."""

    async def main() -> None:
        before = sys.get_asyncgen_hooks()
        end = at_loop_end(asyncio.Event().wait)  # type: ignore[arg-type]
        assert sys.get_asyncgen_hooks() == before
        end.cancel()

    asyncio.run(main())


def test_i5_hold_ends_with_the_loop(run: Callable[[Any], Any]) -> None:
    """A held thing lives as long as its loop is open, or until the hold is cancelled."""
    held: list[weakref.ref[Thing]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for thing in (first := Thing(), Thing()):
            handle = hold_until_closed(loop, thing)
            held.append(weakref.ref(thing))
        del thing, first
        handle.cancel()
        gc.collect()
        assert [reference() is None for reference in held] == [False, True]

    run(main())
    gc.collect()

    assert [reference() for reference in held] == [None, None]


def test_i5_hold_keeps_no_loop_alive() -> None:
    """A thing that refers to its loop is held by nobody else, so both can be collected."""

    async def main() -> weakref.ref[Thing]:
        thing = Thing()
        thing.loop = asyncio.get_running_loop()  # type: ignore[attr-defined]
        hold_until_closed(thing.loop, thing)  # type: ignore[attr-defined]
        return weakref.ref(thing)

    loop = asyncio.new_event_loop()
    reference = loop.run_until_complete(main())
    assert reference() is not None
    del loop
    with pytest.warns(ResourceWarning):
        gc.collect()

    assert reference() is None


async def two_layers(steps: list[str]) -> AsyncIterator[int]:
    async def inner() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            steps.append("inner closed")

    async for value in inner():
        yield value


def test_unseen_generators_are_not_closed_by_the_loop(run: Callable[[Any], Any]) -> None:
    """The loop does not know what was started unseen; values come as ever."""
    steps: list[str] = []
    kept: list[Any] = []

    async def main() -> list[int]:
        seen, hidden = two_layers(steps), two_layers(steps)
        kept.extend((seen, hidden))
        return [await anext(seen), await unseen(hidden.__anext__), await anext(hidden)]

    assert run(main()) == [1, 1, 2]
    assert steps == ["inner closed"]
    kept.clear()
    gc.collect()
    assert steps == ["inner closed"]


def test_unseen_passes_everything_on(run: Callable[[Any], Any]) -> None:
    """Results, waiting, exceptions and cancellation go through."""

    async def fail() -> None:
        await asyncio.sleep(0.001)
        raise KeyError("failed")

    async def wait(caught: list[str]) -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            caught.append("cancelled")
            await asyncio.sleep(0.001)
            return "saved"
        return "never"

    async def main() -> None:
        caught: list[str] = []
        assert await unseen(lambda: asyncio.sleep(0, "at once")) == "at once"
        assert await unseen(lambda: asyncio.sleep(0.001, "later")) == "later"
        with pytest.raises(KeyError):
            await unseen(fail)

        async def waiting() -> str:
            return await unseen(lambda: wait(caught))

        task = asyncio.create_task(waiting())
        await asyncio.sleep(0.001)
        task.cancel()
        assert await task == "saved"
        assert caught == ["cancelled"]

    run(main())
