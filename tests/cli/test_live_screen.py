"""What a conversation looks like in a terminal: events in, and an emulator that shows the rest."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from ag_ui.core import (
    Event,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from rich.console import Console

from llmkeep.cli.live_screen import LiveScreen
from tests.cli.emulated import Emulated

STARTED = RunStartedEvent(thread_id="t", run_id="r")
FINISHED = RunFinishedEvent(thread_id="t", run_id="r")


class Shown:
    """A screen, a clock of the test's own, and what is to be seen."""

    def __init__(self, columns: int = 60, lines: int = 20) -> None:
        self.now = 100.0
        self.terminal = Emulated(columns, lines)
        console = Console(
            file=self.terminal, force_terminal=True, width=columns, height=lines, highlight=False
        )
        self.screen = LiveScreen(console, clock=lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return self.terminal.text.splitlines()

    def show(self, *events: Event) -> list[str]:
        """Show events, draw, and give the lines that are to be seen then."""
        for event in events:
            self.screen.show(event)
        self.screen.refresh()
        return self.lines


@pytest.fixture
def shown() -> Iterator[Shown]:
    it = Shown()
    with it.screen.answering():
        yield it


def said(*deltas: str, message: str = "m") -> list[Event]:
    return [
        TextMessageStartEvent(message_id=message),
        *(TextMessageContentEvent(message_id=message, delta=each) for each in deltas),
    ]


def called(call: str, *arguments: str, name: str = "add") -> list[Event]:
    return [
        ToolCallStartEvent(tool_call_id=call, tool_call_name=name),
        *(ToolCallArgsEvent(tool_call_id=call, delta=each) for each in arguments),
    ]


def ended(call: str) -> Event:
    return ToolCallEndEvent(tool_call_id=call)


def answered(call: str, content: str, **metadata: Any) -> Event:
    return ToolCallResultEvent(
        message_id=f"r{call}",
        tool_call_id=call,
        content=content,
        metadata={"status": "success", **metadata},
    )


# --- text --------------------------------------------------------------------------------------


def test_text_is_seen_as_it_comes(shown: Shown):
    assert shown.show(STARTED)[0].endswith(" 0 s")
    assert shown.show(*said("Hel")) == ["Hel"]
    assert shown.show(*said("lo **you**")[1:]) == ["Hello you"]


@pytest.mark.parametrize("text", ["42.", "-", "#", ">", "***bold", "[x]: http://y", "<br>"])
def test_nothing_that_was_said_is_left_out(shown: Shown, text: str):
    """Not what is markdown for something empty, nor what rich does not draw."""
    shown.show(*said(text), TextMessageEndEvent(message_id="m"))
    assert shown.lines[: text.count("\n") + 1] == text.split("\n")


def test_a_long_answer_is_all_there_when_it_has_ended():
    """Whatever the pieces, no line is lost, none is there twice, and none stays half drawn."""
    pick = random.Random(7)
    text = "\n".join(
        [
            "# Title",
            *(f"paragraph {n} " + "word " * (1 + n % 30) + "\n" for n in range(40)),
            *(f"- item {n}" for n in range(60)),
            "\n```python",
            *(f"line_{n} = {n}" for n in range(70)),
            "```\n\nThe end.",
        ]
    )
    at, whole = 0, Shown(lines=12)
    with whole.screen.answering():
        whole.show(STARTED, TextMessageStartEvent(message_id="m"))
        while at < len(text):
            piece = text[at : at + pick.randint(1, 40)]
            at += len(piece)
            whole.show(TextMessageContentEvent(message_id="m", delta=piece))
        whole.show(TextMessageEndEvent(message_id="m"), FINISHED)
    at_once = Shown(lines=12)
    with at_once.screen.answering():
        at_once.show(STARTED, *said(text), TextMessageEndEvent(message_id="m"), FINISHED)
    assert whole.lines == at_once.lines
    found = "\n".join(whole.lines)
    for n in range(40):
        assert found.count(f"paragraph {n} ") == 1
    for n in range(60):
        assert found.count(f"• item {n}\n") == 1
    for n in range(70):
        assert found.count(f"line_{n} = {n}\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "one\n#two is no heading\n# three is\n",
        "Title\n---\nand\n-- no rule\n",
        "- a\n- b\n\n  still b\n\nafter\n-no item\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n1. x\n10. y\n",
        "``\n```py\n# code\n\n\nmore\n```\nend",
    ],
)
def test_a_text_looks_the_same_however_it_arrives(text: str):
    """The beginning of a line does not tell yet what it is."""
    for size in (1, 2, 3, 5, 99):
        it = Shown()
        with it.screen.answering():
            it.show(STARTED, *said())
            for at in range(0, len(text), size):
                it.show(TextMessageContentEvent(message_id="m", delta=text[at : at + size]))
            it.show(TextMessageEndEvent(message_id="m"), FINISHED)
        at_once = Shown()
        with at_once.screen.answering():
            at_once.show(STARTED, *said(text), TextMessageEndEvent(message_id="m"), FINISHED)
        assert it.lines == at_once.lines, size


def test_what_is_drawn_again_is_never_higher_than_the_terminal(shown: Shown):
    lines = shown.show(*said("```\n" + "".join(f"row {n}\n" for n in range(200))))
    assert lines[-1].strip() == "row 199"
    assert len(lines) < 20
    assert shown.show(TextMessageEndEvent(message_id="m"))[0].strip() == "row 0"
    assert "".join(shown.lines).count("row 100") == 1


def test_a_finished_block_is_not_drawn_again(shown: Shown):
    shown.show(*said("first\n\nsecond\n\nthi"))
    shown.terminal.written.clear()
    shown.show(*said("rd")[1:])
    drawn = "".join(shown.terminal.written)
    assert "third" in drawn
    assert "first" not in drawn


# --- calls -------------------------------------------------------------------------------------


def test_two_calls_at_once_are_told_apart_by_their_ids(shown: Shown):
    """Arguments, results and times find their own box, whatever the order they come in."""
    shown.show(STARTED, *called("a", '{"q": "on', name="search"), *called("b", '{"q": "tw'))
    shown.now += 1.5
    lines = shown.show(
        ToolCallArgsEvent(tool_call_id="b", delta='o"}'),
        ToolCallArgsEvent(tool_call_id="a", delta='e"}'),
    )
    assert lines[0].startswith("╭─ search ──")
    assert lines[1].startswith('│ {"q": "one"}')
    assert lines[3].startswith("╭─ add ─────")
    assert lines[4].startswith('│ {"q": "two"}')
    assert lines[2].endswith(" 1.5 s ─╯")
    shown.now += 1.0
    lines = shown.show(ended("a"), ended("b"), answered("b", "second", duration=0.25))
    assert lines[1].startswith('│ q="one"')
    assert lines[2].endswith(" 2.5 s ─╯")
    assert lines[5].startswith("│ second")
    assert lines[6].endswith("─ ✓ 0.2 s ─╯")
    lines = shown.show(answered("a", "first", status="error", duration=3.0), FINISHED)
    assert lines[2].startswith("│ first")
    assert lines[3].endswith("─ ✗ error 3.0 s ─╯")
    assert lines[6].startswith("│ second")


@pytest.mark.parametrize("status", ["cancelled", "declined"])
def test_a_call_that_did_not_run_says_so(shown: Shown, status: str):
    shown.show(*called("a", "{}"), ended("a"), answered("a", "no", status=status))
    assert f"■ {status} 0.0 s" in shown.terminal.text


def test_what_was_said_before_a_call_stays_before_it(shown: Shown):
    lines = shown.show(
        STARTED, *said("Let me see"), *called("a", "{}"), *said(" after", message="m")[1:]
    )
    assert lines[0] == "Let me see"
    assert lines[-1].strip() == "after"


def test_more_calls_than_there_is_room_for_are_a_line_each(shown: Shown):
    lines = shown.show(*(e for n in range(12) for e in called(f"c{n}", "{}", name=f"tool{n}")))
    assert len(lines) == 12
    assert lines[3].endswith("tool3")
    results = [answered(f"c{n}", f"result {n}") for n in range(12)]
    shown.show(*(ended(f"c{n}") for n in range(12)), *results, FINISHED)
    assert sum("│ result" in line for line in shown.lines) == 12


def test_long_arguments_and_results_are_cut(shown: Shown):
    arguments = '{"text": "' + "x" * 5000
    assert len(shown.show(*called("a", arguments))) < 12
    lines = shown.show(ended("a"), answered("a", "\n".join("abc" for _ in range(99))))
    assert "more lines" in "".join(lines)
    assert len(lines) < 20


# --- the end -----------------------------------------------------------------------------------


def test_the_end_tells_time_and_tokens(shown: Shown):
    shown.show(STARTED, *said("Hi."))
    shown.now += 2.0
    usage = [TokenUsage(input_tokens=1200, output_tokens=30)]
    assert shown.show(RunFinishedEvent(thread_id="t", run_id="r", usage=usage))[:2] == [
        "Hi.",
        "2.0 s · 1,200 in, 30 out tokens",
    ]


def test_a_stopped_answer_is_kept_and_says_so(shown: Shown):
    outcome = RunFinishedCancelledOutcome()
    end = RunFinishedEvent(thread_id="t", run_id="r", outcome=outcome)
    assert shown.show(STARTED, *said("Half a"), end)[:2] == ["Half a", "stopped · 0.0 s"]


def test_an_error_comes_after_what_was_said(shown: Shown):
    lines = shown.show(STARTED, *said("Half a"), RunErrorEvent(message="no key", code="x"))
    assert lines[:2] == ["Half a", "error: no key"]


def test_nothing_reaches_the_terminal_as_a_control_sequence():
    """Not from text, code, entities, addresses, names, arguments, results or errors."""
    evil = "\x1b]0;title\x07\x1b[2J\x9b31m\rfine&#27;[31m&#x9b;\u202e&#x202e;"
    shown = Shown(columns=500, lines=200)
    with shown.screen.answering():
        shown.show(
            STARTED,
            *said(
                f"{evil}\n\n[{evil}](http://x/{evil})\n\n```{evil}\n{evil}\n```\n\n<b>{evil}</b>"
            ),
            *called("a", f'{{"{evil}": "{evil}"}}', name=evil),
            answered("a", evil, status="error"),
            RunErrorEvent(message=evil, code="x"),
        )
        shown.screen.note(evil)
    assert shown.terminal.text.count("fine") == 11
    written = "".join(shown.terminal.written)
    assert not set(written) & {"\x07", "\x9b", "\u202e"}
    assert "title" not in shown.terminal.title
    assert all(each in ALLOWED for each in controls(written)), set(controls(written))


ALLOWED = "mKAhl"


def controls(written: str) -> list[str]:
    """The last character of every control sequence: which kind it is."""
    import re

    rest = re.sub(r"\x1b\[[0-9;?]*([a-zA-Z])", "", written)
    assert "\x1b" not in rest
    return re.findall(r"\x1b\[[0-9;?]*([a-zA-Z])", written)
