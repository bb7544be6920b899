"""The conversation in a terminal: lines in, answers out, until the end of input."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, final

from ag_ui.core import Interrupt, ResumeEntry
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from rich.console import Console

from llmkeep.agents.approvals import told

from .approvals import answer_all, ask_all
from .commands import COMMANDS, Commands, ago, talking_with
from .data import Kept, UnusableFolder, data_folder
from .faults import one_line
from .held import Held
from .interrupts import Interrupts
from .keys import quiet_keys
from .live_screen import LiveScreen
from .markdown import THEME
from .options import Options
from .pick import DEMONSTRATION, Pick
from .prompt import Prompt
from .screen import PlainScreen, Screen
from .turn import Turns


def converse(options: Options, chosen: Pick) -> None:
    """Talk until the end of input. Raises what making the model or opening the data raises."""
    console = Console(highlight=False, markup=False, theme=THEME)
    with quiet_keys(), Interrupts() as interrupts, asyncio.Runner() as runner:
        runner.run(_converse(options, chosen, console, interrupts))


async def _converse(
    options: Options, chosen: Pick, console: Console, interrupts: Interrupts
) -> None:
    is_dumb = console.is_dumb_terminal
    screen: Screen = PlainScreen(console, console) if is_dumb else LiveScreen(console)
    async with AsyncExitStack() as stack:
        held = Held(await _open(options, screen, stack))
        await held.use(chosen)
        screen.note(talking_with(chosen))
        if chosen.is_demonstration:
            screen.note(DEMONSTRATION)
        screen.note("Ctrl-C stops an answer, Ctrl-D ends, /help tells the rest.")
        await _Talk(options, held, console, screen, interrupts).hold()
        interrupts.end()


async def _open(options: Options, screen: Screen, stack: AsyncExitStack) -> Kept | None:
    """The data folder; without one, conversations are not kept, unless one was asked for."""
    try:
        kept = await Kept.open(data_folder(options.data_folder))
    except UnusableFolder as error:
        if options.session is not None:
            raise
        screen.note(str(error))
        return None
    stack.push_async_callback(kept.close)
    return kept


@final
class _Talk:
    """Reads lines and does what they say; lives as long as the program."""

    def __init__(
        self,
        options: Options,
        held: Held,
        console: Console,
        screen: Screen,
        interrupts: Interrupts,
    ) -> None:
        history = held.kept.history if held.kept else None
        self._options: Final = options
        self._held: Final = held
        self._screen: Final = screen
        self._interrupts: Final = interrupts
        self._prompt: Final = Prompt(interrupts, history, list(COMMANDS))
        self._commands: Final = Commands(held, console, screen, options.base_url)
        self._turns: Final = Turns(held, screen, interrupts, self._decide)

    async def hold(self) -> None:
        """Talk until the end of input."""
        if self._options.session is not None:
            await self._go_on_with(self._options.session)
        while await self._take(await self._line()):
            pass
        if self._held.kept is not None and self._held.name is not None:
            name = shlex.quote(self._held.name)
            self._screen.note(f"To go on: llmkeep chat --session {name}")

    async def _line(self) -> str:
        try:
            return (await self._prompt.ask()).strip()
        except EOFError:
            return "/quit"

    async def _take(self, line: str) -> bool:
        """Do what a line says; the outcome is whether one goes on."""
        if not line.startswith("/") or line.startswith("//"):
            await self._turns.hold(line.removeprefix("/") if line.startswith("//") else line)
            return True
        goes_on = await _interruptible(self._commands.do(line), self._interrupts)
        chosen, self._commands.chosen = self._commands.chosen, None
        if chosen is not None:
            await self._go_on_with(chosen)
        return goes_on

    async def _go_on_with(self, name: str) -> None:
        """Show the end of a conversation, and ask for the calls that wait in it."""
        try:
            waiting = await self._recall(name)
        except Exception as error:  # of the database
            self._screen.fail(one_line(error))
        else:
            await self._turns.go_on(waiting)

    async def _recall(self, name: str) -> list[Interrupt]:
        found = await self._held.resume(name)
        if found is None:
            self._screen.note(f"A new conversation: {name}.")
            return []
        turns = "1 turn" if found.turns == 1 else f"{found.turns} turns"
        self._screen.note(f"Going on with {name}: {found.title} ({turns}, {ago(found.used)}).")
        stored = await self._held.stored()
        self._screen.recall(*_last_turn(stored.messages))
        return [told(each) for each in stored.waiting.values()]

    async def _decide(self, waiting: Sequence[Interrupt]) -> list[ResumeEntry] | None:
        """Ask for calls that wait for approval; None leaves them waiting."""
        if self._options.yes:
            return answer_all(waiting, approved=True)
        try:
            return await ask_all(waiting, self._prompt.question, self._screen.note)
        except EOFError:
            self._screen.note("It waits on; your next message counts as no.")
            return None


async def _interruptible(work: Coroutine[Any, Any, bool], interrupts: Interrupts) -> bool:
    """Do what a command says; Ctrl-C gives it up."""
    task = asyncio.create_task(work)
    with interrupts.handled_by(task.cancel):
        await asyncio.wait({task})
    return task.cancelled() or task.result()


def _last_turn(messages: Sequence[BaseMessage]) -> tuple[str, str]:
    """The last question, and all that was said since."""
    answer: list[str] = []
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return str(message.text), "\n\n".join(reversed(answer))
        if isinstance(message, AIMessage):
            answer.append(str(message.text))
    return "", ""
