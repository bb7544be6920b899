"""One turn: a message, its answer, and whatever calls wait for approval in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, final

from ag_ui.core import (
    Event,
    Interrupt,
    ResumeEntry,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
)

from .faults import one_line
from .held import Held
from .interrupts import Interrupts, Stopping
from .live_screen import INTERVAL
from .screen import Screen

Decide = Callable[[Sequence[Interrupt]], Awaitable[list[ResumeEntry] | None]]
"""What is answered to calls that wait; None leaves them waiting."""

Events = AsyncGenerator[Event, None]


@final
class Turns:
    """Holds turns of a conversation, one after the other; lives as long as the program."""

    def __init__(self, held: Held, screen: Screen, interrupts: Interrupts, decide: Decide) -> None:
        self._held: Final = held
        self._screen: Final = screen
        self._interrupts: Final = interrupts
        self._decide: Final = decide

    async def hold(self, message: str) -> Event | None:
        """Answer a message; the outcome is the last event, None if it was stopped before any."""
        end = await self._read(lambda: self._held.answer(message))
        if end is not None:
            await self._held.count_turn()
        return await self.go_on(waiting_calls(end)) or end

    async def go_on(self, waiting: Sequence[Interrupt]) -> Event | None:
        """Ask for the calls that wait, and go on; the last event, None if they are left waiting."""
        end: Event | None = None
        while waiting:
            answers = await self._decide(waiting)
            if answers is None:
                break
            for call, answer in zip(waiting, answers, strict=True):
                self._screen.expect(call, answer)
            end = await self._read(partial(self._held.go_on, answers))
            waiting = waiting_calls(end)
        return end

    async def _read(self, start: Callable[[], Awaitable[Events]]) -> Event | None:
        """Show one run."""
        stopping = Stopping(self._held.stop, self._screen.hint)
        end: Event | None = None
        with self._interrupts.handled_by(stopping.interrupt), self._screen.answering():
            ticking = asyncio.create_task(self._tick())
            try:
                if not stopping.asked:
                    async with aclosing(await start()) as events:
                        async for event in events:
                            self._screen.show(event)
                            end = event
            except BrokenPipeError:
                raise  # nobody reads on
            except Exception as error:  # the handler tells its own; this is ours, or the screen's
                end = RunErrorEvent(message=one_line(error), code="error")
                self._screen.show(end)
            finally:
                stopping.over()
                ticking.cancel()
        if end is not None:
            self._held.take_usage(end)
        return end

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self._screen.refresh()


def waiting_calls(end: Event | None) -> Sequence[Interrupt]:
    """The calls that a run has left waiting for approval."""
    if isinstance(end, RunFinishedEvent) and isinstance(end.outcome, RunFinishedInterruptOutcome):
        return end.outcome.interrupts
    return ()


def outcome_of(end: Event | None) -> str:
    """How a turn ended: "success", "cancelled", "interrupt" or "error"."""
    if isinstance(end, RunErrorEvent) and end.code != "cancelled":
        return "error"
    if isinstance(end, RunFinishedEvent):
        return end.outcome.type if end.outcome else "success"
    return "cancelled"
