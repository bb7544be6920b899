"""What a conversation looks like: AG-UI events in, lines out.

Nothing that a model or a tool says reaches the terminal as a control sequence.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from ag_ui.core import (
    Event,
    RunErrorEvent,
    RunFinishedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from rich.console import Console
from rich.text import Text

#: Characters of a tool's result that are shown.
MAX_RESULT: Final = 1000

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(slots=True)
class _Call:
    name: str
    started: float
    arguments: str = ""


@final
class Screen:
    """Shows events as they come. `answers` gets what the model says, `notes` everything else."""

    def __init__(
        self, answers: Console, notes: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._answers: Final = answers
        self._notes: Final = notes
        self._clock: Final = clock
        self._calls: Final[dict[str, _Call]] = {}
        self._in_line = False

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case TextMessageContentEvent():
                self._say(event.delta)
            case TextMessageEndEvent() | RunFinishedEvent():
                self.end_line()
            case ToolCallStartEvent():
                self._calls[event.tool_call_id] = _Call(event.tool_call_name, self._clock())
            case ToolCallArgsEvent():
                self._calls[event.tool_call_id].arguments += event.delta
            case ToolCallEndEvent():
                self._show_call(self._calls[event.tool_call_id])
            case ToolCallResultEvent():
                self._show_result(event)
            case RunErrorEvent():
                self.fail(event.message)

    def note(self, text: str) -> None:
        """A line of the program's own."""
        self.end_line()
        self._print(self._notes, text, "dim")

    def fail(self, text: str) -> None:
        """A line that says what went wrong."""
        self.end_line()
        self._print(self._notes, f"error: {text}", "bold red")

    def end_line(self) -> None:
        """Go to a new line, unless there already."""
        if self._in_line:
            self._in_line = False
            self._answers.print()

    def _say(self, text: str) -> None:
        clean = _clean(text)
        self._answers.print(Text(clean), end="", soft_wrap=True)
        self._answers.file.flush()
        self._in_line = not clean.endswith("\n")

    def _show_call(self, call: _Call) -> None:
        self.end_line()
        self._print(self._notes, f"  ⚙ {call.name}({_arguments(call.arguments)})", "cyan")

    def _show_result(self, event: ToolCallResultEvent) -> None:
        self.end_line()
        call = self._calls.pop(event.tool_call_id)
        content = event.content if isinstance(event.content, str) else "(not text)"
        if len(content) > MAX_RESULT:
            content = f"{content[: MAX_RESULT - 3]}..."
        is_error = (event.metadata or {}).get("status") == "error"
        sign, style = ("✗", "red") if is_error else ("→", "green")
        seconds = self._clock() - call.started
        self._print(self._notes, f"  {sign} {call.name}: {content} ({seconds:.1f} s)", style)

    def _print(self, console: Console, text: str, style: str) -> None:
        console.print(Text(_clean(text), style=style), soft_wrap=True)


def _clean(text: str) -> str:
    return _CONTROL.sub("", text)


def _arguments(text: str) -> str:
    """Arguments as one would write them; as they came where they are no JSON object."""
    try:
        given = json.loads(text or "{}")
    except ValueError:
        return text
    if not isinstance(given, dict):
        return text
    return ", ".join(
        f"{name}={json.dumps(each, ensure_ascii=False)}" for name, each in given.items()
    )
