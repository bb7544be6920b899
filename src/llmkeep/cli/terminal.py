"""The conversation in a terminal: lines in, answers out, until the end of input."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from ag_ui.core import Interrupt, ResumeEntry
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from .approvals import answer_all, ask_all
from .commands import COMMANDS, Commands, show_last, talking_with
from .data import Kept, data_folder
from .held import Held
from .interrupts import Interrupts
from .keys import quiet_keys
from .live_screen import LiveScreen
from .options import Options
from .pick import DEMONSTRATION, Pick
from .prompt import Prompt
from .screen import PlainScreen, Screen
from .turn import Turns


def converse(options: Options, chosen: Pick) -> None:
    """Talk until the end of input. Raises what making the model or opening the data raises."""
    console = Console(highlight=False, markup=False)
    with quiet_keys(), Interrupts() as interrupts, asyncio.Runner() as runner:
        runner.run(_converse(options, chosen, console, interrupts))


async def _converse(
    options: Options, chosen: Pick, console: Console, interrupts: Interrupts
) -> None:
    screen: Screen = (
        PlainScreen(console, console) if console.is_dumb_terminal else LiveScreen(console)
    )
    async with AsyncExitStack() as stack:
        kept = await _open(options, screen, stack)
        held = Held(kept)
        await held.use(chosen)
        screen.note(talking_with(chosen))
        if chosen.is_demonstration:
            screen.note(DEMONSTRATION)
        if options.session is not None:
            await held.resume(options.session)
            await show_last(held, console, screen)
        screen.note("Ctrl-C stops an answer, Ctrl-D ends, /help tells the rest.")
        prompt = Prompt(interrupts, kept.history if kept else None, list(COMMANDS))
        commands = Commands(held, console, screen, options.base_url)

        async def decide(waiting: Sequence[Interrupt]) -> list[ResumeEntry] | None:
            if options.yes:
                return answer_all(waiting, approved=True)
            try:
                return await ask_all(waiting, prompt.question, screen.note)
            except EOFError:
                screen.note("left waiting; your next message counts as no")
                return None

        turns = Turns(held, screen, interrupts, decide)
        await _answer_lines(prompt, commands, turns, interrupts)
        if held.kept is not None and held.name is not None:
            screen.note(f"To go on: llmkeep chat --session {held.name}")


async def _answer_lines(
    prompt: Prompt, commands: Commands, turns: Turns, interrupts: Interrupts
) -> None:
    while True:
        try:
            line = (await prompt.ask()).strip()
        except EOFError:
            return
        if line.startswith("/") and not line.startswith("//"):
            if not await _interruptible(commands.do(line), interrupts):
                return
        else:
            await turns.hold(line.removeprefix("/") if line.startswith("//") else line)


async def _interruptible(work: Coroutine[Any, Any, bool], interrupts: Interrupts) -> bool:
    """Do what a command says; Ctrl-C gives it up."""
    task = asyncio.create_task(work)
    with interrupts.handled_by(task.cancel):
        await asyncio.wait({task})
    return task.cancelled() or task.result()


async def _open(options: Options, screen: Screen, stack: AsyncExitStack) -> Kept | None:
    """The data folder; without one, conversations are not kept, unless one was asked for."""
    folder = data_folder(options.data_folder)
    try:
        kept = await Kept.open(folder)
    except (OSError, SQLAlchemyError) as error:
        if options.session is not None:
            raise
        screen.note(f"Conversations are not kept: {folder}: {type(error).__name__}.")
        return None
    stack.push_async_callback(kept.close)
    return kept
