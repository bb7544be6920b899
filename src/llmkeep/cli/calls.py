"""A tool call as a box: its arguments as they come, a timer, then what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from .text import arguments_text, cleaned, one_line, result_text

#: Lines of arguments and of a result that a box shows, and how wide it is.
MAX_LINES: Final = 8
MAX_WIDTH: Final = 100

_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TURNS_PER_SECOND: Final = 10


class Look(NamedTuple):
    """How a state is shown."""

    sign: str
    style: str
    word: str = ""


LOOKS: Final = {
    "success": Look("✓", "green"),
    "error": Look("✗", "red", "error"),
    "cancelled": Look("■", "yellow", "cancelled"),
    "declined": Look("■", "yellow", "declined"),
    "waiting": Look("?", "magenta", "waits for approval"),
}


def look_of(status: str) -> Look:
    """How a status is shown; one that is not known as a success."""
    return LOOKS.get(status, LOOKS["success"])


def spinner(seconds: float) -> str:
    """A sign that turns."""
    return _SPINNER[int(seconds * _TURNS_PER_SECOND) % len(_SPINNER)]


@dataclass(slots=True, eq=False)
class Call:
    """One tool call; lives from its start until it has been printed for good."""

    name: str
    started: float
    arguments: str = ""
    are_complete: bool = False
    status: str | None = None
    """None while it is under way."""
    result: str = ""
    seconds: float | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing of it will change."""
        return self.status is not None

    def answer(self, content: object, status: str, seconds: float) -> None:
        """What came of it."""
        self.status, self.result, self.seconds = status, result_text(content), seconds

    def line(self, now: float) -> Text:
        """All of it in one line, for where there is no room."""
        state, style = self.state(now)
        return Text(f"{state} {one_line(self.name, 30)}", style=style, no_wrap=True)

    def state(self, now: float) -> tuple[str, str]:
        """How it goes, in a few characters, and their style."""
        if self.status is None:
            running = now - self.started
            return f"{spinner(running)} {running:.1f} s", "cyan"
        look = look_of(self.status)
        seconds = "" if self.seconds is None else f"{self.seconds:.1f} s"
        return " ".join(filter(None, [look.sign, look.word, seconds])), look.style


@dataclass(frozen=True, slots=True)
class CallBox:
    """How a call looks at a moment."""

    call: Call
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        call = self.call
        state, style = call.state(self.now)
        width = min(options.max_width, MAX_WIDTH)
        inner = options.update(width=max(width - 4, 1))
        if call.are_complete or call.finished:
            parts = [_first_lines(console, inner, Text(arguments_text(call.arguments)))]
        else:
            parts = [_last_lines(console, inner, Text(cleaned(call.arguments)))]
        if call.result:
            result = Text(call.result, style=style if call.status == "error" else "bold")
            parts.append(_first_lines(console, inner, result))
        yield Panel(
            _Lines([line for part in parts for line in part]),
            title=Text(one_line(call.name, 60), style="bold"),
            title_align="left",
            subtitle=Text(state, style=style),
            subtitle_align="right",
            border_style=style,
            box=box.ROUNDED,
            width=width,
        )


_Line = list[Segment]


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines that have been drawn already."""

    lines: list[_Line]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines:
            yield from line
            yield Segment.line()


def _lines(console: Console, options: ConsoleOptions, text: Text) -> list[_Line]:
    return console.render_lines(text, options, pad=False) if text.plain.strip() else []


def _first_lines(console: Console, options: ConsoleOptions, text: Text) -> list[_Line]:
    lines = _lines(console, options, text)
    if len(lines) <= MAX_LINES:
        return lines
    more = len(lines) - MAX_LINES + 1
    return [*lines[: MAX_LINES - 1], [Segment(f"... {more} more lines")]]


def _last_lines(console: Console, options: ConsoleOptions, text: Text) -> list[_Line]:
    return _lines(console, options, text)[-MAX_LINES:]
