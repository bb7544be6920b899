"""What one can say to the terminal instead of the model: `/help` and the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, final

from rich.console import Console
from rich.table import Table
from rich.text import Text

import llmkeep
from llmkeep.models.providers import PROVIDERS
from llmkeep.settings import load

from .faults import one_line
from .held import Held
from .pick import Pick, pick
from .screen import Screen
from .text import cleaned, usage_text

#: Conversations that are listed.
LISTED: Final = 20

Work = Callable[[str], Awaitable[None]]


class Command(NamedTuple):
    """One command."""

    arguments: str
    meaning: str


COMMANDS: Final[Mapping[str, Command]] = {
    "/new": Command("", "begin a new conversation"),
    "/sessions": Command("[NAME]", "list the conversations, or go on with one"),
    "/model": Command("[MODEL]", "show the model, or talk with another: provider:model"),
    "/stats": Command("", "the tokens of this conversation, and what is kept"),
    "/help": Command("", "this list"),
    "/quit": Command("", "end; so does Ctrl-D"),
}

KEYS: Final = (
    ("Enter", "send"),
    ("Alt-Enter, Ctrl-J or \\", "go on in a new line"),
    ("Ctrl-C", "stop the answer; at the prompt, clear the line"),
    ("Up, Ctrl-R", "what you wrote before"),
    ("//text", "send a text that begins with a slash"),
)


@final
class Commands:
    """Does what a command says; lives as long as the program."""

    def __init__(self, held: Held, console: Console, screen: Screen, base_url: str | None) -> None:
        self._held: Final = held
        self._console: Final = console
        self._screen: Final = screen
        self._base_url: Final = base_url
        #: The conversation that was asked for, until somebody takes it.
        self.chosen: str | None = None
        self._work: Final[Mapping[str, Work]] = {
            "/new": self._new,
            "/sessions": self._sessions,
            "/model": self._model,
            "/stats": self._stats,
            "/help": self._help,
        }

    async def do(self, line: str) -> bool:
        """Do what the line says; the outcome is whether the conversation goes on."""
        name, _, rest = line.partition(" ")
        if name == "/quit":
            return False
        work = self._work.get(name)
        if work is None:
            self._screen.fail(f"there is no command {name}: /help lists them, // sends it as text")
            return True
        try:
            await work(rest.strip())
        except Exception as error:
            self._screen.fail(one_line(error))
        return True

    async def _new(self, _rest: str) -> None:
        self._held.begin_new()
        self._screen.note("A new conversation.")

    async def _sessions(self, name: str) -> None:
        if self._held.kept is None:
            self._screen.fail("conversations are not kept here")
        elif name:
            if await self._held.kept.conversations.find(name) is None:
                self._screen.fail(f"there is no conversation {name}")
            else:
                self.chosen = name
        else:
            await self._list()

    async def _list(self) -> None:
        assert self._held.kept is not None
        found = await self._held.kept.conversations.recent(LISTED)
        if not found:
            self._screen.note("There are no conversations yet.")
            return
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("", "name", "last used", "turns", "title"):
            table.add_column(column, justify="right" if column == "turns" else "left")
        for each in found:
            here = "*" if each.name == self._held.name else ""
            cells = (here, each.name, ago(each.used), str(each.turns), each.title)
            table.add_row(*(Text(cleaned(cell)) for cell in cells))
        self._console.print(table)
        self._screen.note("/sessions NAME goes on with one.")

    async def _model(self, name: str) -> None:
        if name:
            await self._held.use(self._picked(name))
        if self._held.pick is not None:
            self._screen.note(talking_with(self._held.pick))

    def _picked(self, name: str) -> Pick:
        """The model of that name: at the server in use, unless a provider is named."""
        before, colon, _ = name.partition(":")
        has_provider = bool(colon) and before in PROVIDERS
        here = self._held.pick.base_url if self._held.pick is not None else None
        address = self._base_url or (None if has_provider else here)
        return pick(name, address, load())

    async def _stats(self, _rest: str) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        name = self._held.name or "(new)"
        usage = usage_text(self._held.usage) or "no tokens known yet"
        table.add_row("conversation", Text(cleaned(f"{name}: {usage}")))
        for figure, value in vars(llmkeep.stats()).items():
            table.add_row(figure.replace("_", " "), f"{value:,}")
        self._console.print(table)

    async def _help(self, _rest: str) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for name, command in COMMANDS.items():
            table.add_row(Text(f"{name} {command.arguments}", style="bold"), command.meaning)
        for key, meaning in KEYS:
            table.add_row(Text(key, style="bold"), meaning)
        self._console.print(table)


def talking_with(chosen: Pick) -> str:
    """The line that says which model it is, and why."""
    return " ".join(filter(None, [f"Talking with {chosen.model}", chosen.reason])) + "."


def ago(when: datetime) -> str:
    """How long ago, roughly."""
    seconds = (datetime.now(UTC).replace(tzinfo=None) - when).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
