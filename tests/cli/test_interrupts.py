"""Ctrl-C at every point of a conversation: it stops an answer, never the program."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from ag_ui.core import (
    Event,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    TextMessageContentEvent,
)
from rich.console import Console

from llmkeep.cli.interrupts import DOUBLE, MAX_UNSERVED, Interrupts, Stopping
from llmkeep.cli.live_screen import LiveScreen
from llmkeep.cli.turn import Turns, outcome_of
from tests.cli.emulated import Emulated

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a signal to oneself ends it there")

PIECES = 30


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Talk:
    """A conversation whose answers press Ctrl-C themselves, at the step that a test says."""

    def __init__(self, press_at: int) -> None:
        self._press_at = press_at
        self._is_running = self._is_stopped = False
        self.steps = 0

    def _step(self) -> None:
        if self.steps == self._press_at:
            press()
        self.steps += 1

    async def answer(self, message: str) -> AsyncGenerator[Event, None]:
        self._step()
        await asyncio.sleep(0)
        return self._events()

    async def _events(self) -> AsyncGenerator[Event, None]:
        self._step()
        await asyncio.sleep(0)
        self._is_running = True
        yield RunStartedEvent(thread_id="t", run_id="r")
        for n in range(PIECES):
            self._step()
            yield TextMessageContentEvent(message_id="m", delta=f"{n} ")
            if self._is_stopped:
                break
            await asyncio.sleep(0)
        while self._press_at < PIECES and not self._is_stopped:
            await asyncio.sleep(0.01)  # a provider that stalls: without a stop, for ever
        self._is_running = False
        outcome: Any = RunFinishedCancelledOutcome()
        if not self._is_stopped:
            outcome = RunFinishedSuccessOutcome()
        yield RunFinishedEvent(thread_id="t", run_id="r", outcome=outcome)

    def stop(self) -> bool:
        self._is_stopped = self._is_running
        return self._is_running

    def take_usage(self, end: Event) -> None:
        """Nothing is known of it."""

    async def count_turn(self) -> None:
        """Nothing is counted."""


def turns_of(talk: Talk, interrupts: Interrupts) -> Turns:
    console = Console(file=Emulated(80, 24), force_terminal=True, width=80, height=24)
    return Turns(talk, LiveScreen(console), interrupts, None)  # type: ignore[arg-type]


def test_it_stops_the_answer_wherever_it_comes():
    """While it is got ready, before its first event, and at each of its events."""
    for at in range(PIECES):
        with Interrupts() as interrupts, asyncio.Runner() as runner:
            talk = Talk(at)
            end = runner.run(turns_of(talk, interrupts).hold("hi"))
            assert outcome_of(end) == "cancelled", at
            again = Talk(PIECES + 99)
            end = runner.run(turns_of(again, interrupts).hold("hi"))
            assert outcome_of(end) == "success", at


async def test_it_stops_an_answer_that_has_not_begun():
    """What comes between a line and its answer is meant for the answer."""
    with Interrupts() as interrupts:
        with interrupts.handled_by(lambda: None):
            interrupts.release()  # the line was sent
            press()
            await asyncio.sleep(0)
        talk = Talk(PIECES + 99)
        assert await turns_of(talk, interrupts).hold("hi") is None
        assert talk.steps == 0


async def test_one_that_waits_can_be_forgotten():
    with Interrupts() as interrupts:
        with interrupts.handled_by(lambda: None):
            pass
        press()
        await asyncio.sleep(0)
        interrupts.forget()
        assert outcome_of(await turns_of(Talk(PIECES + 99), interrupts).hold("hi")) == "success"


async def test_a_second_press_means_the_first_and_a_later_one_ends_the_program():
    now = 0.0
    hints: list[str] = []
    stopping = Stopping(lambda: True, hints.append, lambda: now)
    stopping.interrupt()
    stopping.interrupt()
    now = DOUBLE
    with pytest.raises(KeyboardInterrupt):
        stopping.interrupt()
    stopping.over()
    assert hints == ["stopping"]


async def test_a_loop_that_is_blocked_does_not_hold_the_program():
    with Interrupts() as interrupts, interrupts.handled_by(lambda: None):
        for _ in range(MAX_UNSERVED):
            press()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_what_was_there_before_is_there_again():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


async def test_one_that_has_nothing_to_stop_is_remembered():
    """A pipe ends by it, although the answer it was meant for had just ended."""
    with Interrupts() as interrupts:
        with interrupts.handled_by(lambda: None):
            assert not interrupts.came
        press()
        assert interrupts.came
        await asyncio.sleep(0)
