"""The screen of a terminal: markdown and tool calls, drawn while they arrive.

What will not change any more is printed for good, and scrolls away as everything does; what may
still change is drawn again and again below it, never higher than the terminal. A text that is
higher shows its end there, and is printed whole when it is finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, final

from ag_ui.core import (
    Event,
    Interrupt,
    ResumeEntry,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from .calls import Call, CallBox, spinner
from .markdown import ChatMarkdown, split
from .screen import PROMPT, answer, call_of
from .text import cleaned, usage_text

#: Seconds between two drawings.
INTERVAL: Final = 0.08

#: Lines of one block that are decorated while they arrive: that takes time, each time.
MAX_DRAWN: Final = 200


@dataclass(slots=True, eq=False)
class _Answer:
    """One message of the model; lives until it has been printed for good."""

    text: str = ""
    """What has not been printed yet."""
    is_begun: bool = False
    """Whether some of it has been printed."""
    finished: bool = False

    def take(self) -> str:
        """Take what will not change any more."""
        done, self.text = (self.text, "") if self.finished else split(self.text)
        return done

    def drawn(self) -> RenderableType:
        """What has not been printed yet; of a very long block its last lines, undecorated."""
        if self.text.count("\n") <= MAX_DRAWN:
            return ChatMarkdown(self.text, self.is_begun)
        return Text("\n".join(self.text.splitlines()[-MAX_DRAWN:]))


@final
class LiveScreen:
    """Shows a conversation; lives as long as the program."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console: Final = console
        self._clock: Final = clock
        #: What has not been printed for good, in the order in which it began.
        self._items: list[_Answer | Call] = []
        self._answers: dict[str, _Answer] = {}
        #: Every call that has had no result; one that waits for approval has it in a later run.
        self._calls: dict[str, Call] = {}
        self._live: Live | None = None
        self._began = self._drawn = 0.0
        self._hint = ""
        self._is_running = False

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Draw, from here to the end of the block."""
        self._began, self._hint, self._is_running = self._clock(), "", True
        self._live = Live(
            get_renderable=lambda: _Region(self._visible()),
            console=self._console,
            auto_refresh=False,
            transient=True,
            vertical_overflow="crop",
        )
        try:
            self._live.start(refresh=True)
            yield
        finally:
            self._is_running = False
            self._print_everything("cancelled")
            live, self._live = self._live, None
            live.stop()

    def refresh(self) -> None:
        """Draw what moves."""
        if self._live is not None:
            self._drawn = self._clock()
            with self._console:  # one piece of output: a terminal never shows half of it
                self._print_finished()
                self._live.refresh()

    def hint(self, text: str) -> None:
        """What is said beside the timer until the run ends."""
        self._hint = text
        self.refresh()

    def note(self, text: str) -> None:
        """A line of the program's own."""
        self._console.print(Text(cleaned(text), style="dim"))

    def fail(self, text: str) -> None:
        """A line that says what went wrong."""
        self._console.print(Text(f"error: {cleaned(text)}", style="bold red"))

    def recall(self, question: str, answer: str) -> None:
        """A turn of an earlier day."""
        self._console.print(Text.assemble((PROMPT, "bold"), cleaned(question)))
        self._console.print(ChatMarkdown(cleaned(answer)))

    def expect(self, interrupt: Interrupt, answer: ResumeEntry) -> None:
        """A call that waited is gone on with."""
        call = call_of(interrupt, answer, self._clock())
        self._calls[interrupt.tool_call_id or ""] = call
        self._items.append(call)

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case RunStartedEvent():
                self._answers.clear()
            case TextMessageStartEvent() | TextMessageContentEvent():
                self._say(event)
            case TextMessageEndEvent():
                self._answers.pop(event.message_id, _Answer()).finished = True
            case ToolCallStartEvent():
                call = Call(event.tool_call_name, self._clock())
                self._calls[event.tool_call_id] = call
                self._items.append(call)
            case ToolCallArgsEvent():
                self._calls[event.tool_call_id].arguments += event.delta
            case ToolCallEndEvent():
                self._calls[event.tool_call_id].are_complete = True
            case ToolCallResultEvent():
                self._show_result(event)
            case RunErrorEvent():
                self._is_running = False
                self._print_everything("cancelled")
                self._calls.clear()
                if event.code == "cancelled":
                    self.note("stopped")
                else:
                    self.fail(event.message)
            case RunFinishedEvent():
                self._show_end(event)
        if self._clock() - self._drawn >= INTERVAL:
            self.refresh()

    # --- the parts of an answer --------------------------------------------------------------

    def _say(self, event: TextMessageStartEvent | TextMessageContentEvent) -> None:
        message = self._answers.get(event.message_id)
        if message is None or message not in self._items[-1:]:
            # What was said before a call stays before it.
            if message is not None:
                message.finished = True
            message = self._answers[event.message_id] = _Answer()
            self._items.append(message)
        if isinstance(event, TextMessageContentEvent):
            message.text += cleaned(event.delta)

    def _show_result(self, event: ToolCallResultEvent) -> None:
        call = self._calls.pop(event.tool_call_id, None) or Call("tool", self._clock())
        if not any(item is call for item in self._items):  # it was shown waiting, or never
            self._items.append(call)
        answer(call, event, self._clock())

    def _show_end(self, event: RunFinishedEvent) -> None:
        seconds = f"{self._clock() - self._began:.1f} s"
        kind = event.outcome.type if event.outcome else "success"
        self._is_running = False
        self._print_everything("waiting" if kind == "interrupt" else "cancelled")
        if kind == "interrupt":
            return
        self._calls.clear()
        state = "stopped" if kind == "cancelled" else ""
        self.note(" · ".join(filter(None, [state, seconds, usage_text(_summed(event))])))

    # --- what is drawn -----------------------------------------------------------------------

    def _visible(self) -> list[RenderableType]:
        now = self._clock()
        drawn: list[RenderableType] = []
        for item in self._items:
            if isinstance(item, Call):
                drawn.append(CallBox(item, now))
            elif item.text.strip():
                drawn.append(item.drawn())
        if self._is_running and (self._hint or not drawn):
            seconds = now - self._began
            line = f"{spinner(seconds)} {seconds:.0f} s {self._hint}".rstrip()
            drawn.append(Text(line, style="dim"))
        return drawn

    def _print_everything(self, status: str) -> None:
        """Print what there is; calls without a result have this status."""
        for item in self._items:
            if isinstance(item, _Answer):
                item.finished = True
            elif item.status is None:
                item.are_complete, item.status = True, status
        self._print_finished()

    def _print_finished(self) -> None:
        while self._items:
            first = self._items[0]
            if isinstance(first, Call):
                if first.finished:
                    self._console.print(CallBox(first, self._clock()))
            else:
                self._print_piece(first)
            if not first.finished:
                return
            self._items.pop(0)

    def _print_piece(self, message: _Answer) -> None:
        piece = message.take()
        if piece.strip():
            self._console.print(ChatMarkdown(piece, message.is_begun))
            message.is_begun = True


@dataclass(frozen=True, slots=True)
class _Region:
    """What is drawn again and again; its last lines where it is higher than the terminal."""

    parts: list[RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        most = max(console.height - 1, 1)
        options = options.update(height=None)
        lines = _drawn(console, options, self.parts)
        boxes = [part for part in self.parts if isinstance(part, CallBox)]
        if len(lines) > most and len(boxes) > 1:
            short = [p.call.line(p.now) if isinstance(p, CallBox) else p for p in self.parts]
            lines = _drawn(console, options, short)
        for line in lines[-most:]:
            yield from line
            yield Segment.line()


def _drawn(
    console: Console, options: ConsoleOptions, parts: list[RenderableType]
) -> list[list[Segment]]:
    return [line for part in parts for line in console.render_lines(part, options, pad=False)]


def _summed(event: RunFinishedEvent) -> dict[str, int]:
    sums: dict[str, int] = {}
    for each in event.usage or ():
        for name in ("input_tokens", "output_tokens"):
            sums[name] = sums.get(name, 0) + (getattr(each, name) or 0)
    return sums
