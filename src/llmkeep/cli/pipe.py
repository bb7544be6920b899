"""The conversation of a pipe: an answer for each line of the input, or one for all of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

from ag_ui.core import Event, Interrupt, ResumeEntry
from rich.console import Console

from .approvals import answer_all
from .commands import talking_with
from .data import Kept, data_folder
from .held import Held
from .interrupts import Interrupts
from .options import Options
from .pick import DEMONSTRATION, Pick
from .screen import JsonScreen, PlainScreen, Screen
from .turn import Turns, outcome_of

#: The exit status of a program that was interrupted.
INTERRUPTED = 130


def answer_input(options: Options, chosen: Pick) -> int:
    """Answer the input; the exit status.

    One message that fails does not keep the next from its answer. Ctrl-C ends the program: an
    answer under way is stopped first, and kept as far as it goes.
    """
    notes = Console(stderr=True, highlight=False, markup=False)
    plain = PlainScreen(Console(highlight=False, markup=False), notes)
    screen: Screen = JsonScreen(plain) if options.as_json else plain
    interrupts = Interrupts()

    async def decide(waiting: Sequence[Interrupt]) -> list[ResumeEntry]:
        return answer_all(waiting, approved=options.yes)

    async def answer(turns: Turns, message: str) -> Event | None:
        return await turns.hold(message)

    status = 0
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            held = runner.run(_open(options, chosen, stack))
            screen.note(talking_with(chosen))
            if chosen.is_demonstration:
                screen.note(DEMONSTRATION)
            turns = Turns(held, screen, interrupts, decide)
            for message in _messages(options):
                with interrupts:
                    end = outcome_of(runner.run(answer(turns, message)))
                # One that came when the answer had just ended would be lost in the wait for input.
                if end == "cancelled" or interrupts.came:
                    return INTERRUPTED
                status = 1 if end == "error" else status
        finally:
            runner.run(stack.aclose())
    return status


async def _open(options: Options, chosen: Pick, stack: AsyncExitStack) -> Held:
    """The conversation; one that is not kept, unless it has a name."""
    kept = None
    if options.session is not None:
        kept = await Kept.open(data_folder(options.data_folder))
        stack.push_async_callback(kept.close)
    held = Held(kept)
    await held.use(chosen)
    if options.session is not None:
        await held.resume(options.session)
    return held


def _messages(options: Options) -> Iterator[str]:
    if options.once:
        whole = sys.stdin.read().strip()
        if whole:
            yield whole
        return
    for line in sys.stdin:
        if line.strip():
            yield line.strip()
