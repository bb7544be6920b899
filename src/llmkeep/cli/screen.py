"""What a conversation looks like: AG-UI events in, something to read out.

`PlainScreen` writes lines, for pipes and terminals that can do no more; `JsonScreen` the events
themselves. The screen of a terminal is in `live_screen.py`. Nothing that a model or a tool says
reaches a terminal as a control sequence.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, final

from ag_ui.core import (
    Event,
    Interrupt,
    ResumeEntry,
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

from .calls import Call, look_of
from .text import arguments_text, cleaned

#: What one's own words stand behind.
PROMPT: Final = "you> "


class Screen(Protocol):
    """Shows events as they come."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def note(self, text: str) -> None:
        """A line of the program's own."""

    def fail(self, text: str) -> None:
        """A line that says what went wrong."""

    def recall(self, question: str, answer: str) -> None:
        """A turn of an earlier day."""

    def expect(self, interrupt: Interrupt, answer: ResumeEntry) -> None:
        """A call that waited is gone on with: the run that follows tells its result alone."""

    def answering(self) -> AbstractContextManager[object]:
        """Around the events of one run."""

    def refresh(self) -> None:
        """Draw again what moves; called several times a second during a run."""

    def hint(self, text: str) -> None:
        """What is said while the run goes on."""


@final
class PlainScreen:
    """Lines. `answers` gets what the model says, `notes` everything else."""

    def __init__(
        self, answers: Console, notes: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._answers: Final = answers
        self._notes: Final = notes
        self._clock: Final = clock
        self._calls: Final[dict[str, Call]] = {}
        self._in_line = False

    def answering(self) -> AbstractContextManager[object]:
        """Nothing is to be done around a run."""
        return nullcontext()

    def refresh(self) -> None:
        """Nothing moves."""

    def hint(self, text: str) -> None:
        """A line of its own."""
        self.note(text)

    def expect(self, interrupt: Interrupt, answer: ResumeEntry) -> None:
        """A call that waited is gone on with."""
        self._calls[interrupt.tool_call_id or ""] = call_of(interrupt, answer, self._clock())

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case TextMessageContentEvent():
                self._say(event.delta)
            case TextMessageEndEvent() | RunFinishedEvent():
                self.end_line()
            case ToolCallStartEvent():
                self._calls[event.tool_call_id] = Call(event.tool_call_name, self._clock())
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
        _print(self._notes, text, "dim")

    def fail(self, text: str) -> None:
        """A line that says what went wrong."""
        self.end_line()
        _print(self._notes, f"error: {text}", "bold red")

    def recall(self, question: str, answer: str) -> None:
        """What was asked, and what was answered."""
        self.note(f"{PROMPT}{question}")
        self._say(answer)
        self.end_line()

    def end_line(self) -> None:
        """Go to a new line, unless there already."""
        if self._in_line:
            self._in_line = False
            self._answers.print()

    def _say(self, text: str) -> None:
        clean = cleaned(text)
        self._answers.print(Text(clean), end="", soft_wrap=True)
        self._answers.file.flush()
        self._in_line = not clean.endswith("\n")

    def _show_call(self, call: Call) -> None:
        self.end_line()
        _print(self._notes, f"  ⚙ {call.name}({arguments_text(call.arguments)})", "cyan")

    def _show_result(self, event: ToolCallResultEvent) -> None:
        self.end_line()
        call = self._calls.pop(event.tool_call_id, None) or Call("tool", self._clock())
        answer(call, event, self._clock())
        look = look_of(call.status or "")
        sign = "→" if call.status == "success" else look.sign
        said = (
            f"{look.word}: {call.result}" if look.word in ("cancelled", "declined") else call.result
        )
        line = f"  {sign} {call.name}: {said} ({call.seconds:.1f} s)"
        _print(self._notes, line, look.style)


@final
class JsonScreen:
    """The events themselves on standard output, one JSON object a line; the rest elsewhere."""

    def __init__(self, notes: PlainScreen) -> None:
        self._notes: Final = notes
        self.note: Final = notes.note
        self.fail: Final = notes.fail
        self.recall: Final = notes.recall
        self.expect: Final = notes.expect
        self.answering: Final = notes.answering
        self.refresh: Final = notes.refresh
        self.hint: Final = notes.hint

    def show(self, event: Event) -> None:
        """Write one event."""
        # ASCII, which every pipe can carry, and halves of characters too.
        print(json.dumps(event.model_dump(by_alias=True)), flush=True)


def call_of(interrupt: Interrupt, answer: ResumeEntry, now: float) -> Call:
    """The call that waited, with the arguments that it was allowed."""
    about = interrupt.metadata or {}
    given = answer.payload if isinstance(answer.payload, dict) else {}
    arguments = json.dumps(given.get("args") or about.get("args") or {})
    return Call(str(about.get("name") or "tool"), now, arguments, are_complete=True)


def answer(call: Call, event: ToolCallResultEvent, now: float) -> None:
    """Enter a result: its status and how long it took, as the event says or as was seen here."""
    about = event.metadata or {}
    seconds = about.get("duration")
    if not isinstance(seconds, int | float):
        seconds = now - call.started
    call.answer(event.content, str(about.get("status", "success")), float(seconds))


def _print(console: Console, text: str, style: str) -> None:
    console.print(Text(cleaned(text), style=style), soft_wrap=True)
