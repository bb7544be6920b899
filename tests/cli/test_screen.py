"""What events look like in the terminal."""

from __future__ import annotations

import io

import pytest
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

from llmkeep.cli.screen import PlainScreen
from llmkeep.cli.text import MAX_RESULT


def shown(*events: Event) -> tuple[str, str]:
    answers, notes = (Console(file=io.StringIO(), width=80, markup=False) for _ in range(2))
    screen = PlainScreen(answers, notes, clock=lambda: 0.0)
    for event in events:
        screen.show(event)
    return answers.file.getvalue(), notes.file.getvalue()  # type: ignore[attr-defined]


def said(*deltas: str) -> list[Event]:
    texts: list[Event] = [TextMessageContentEvent(message_id="m", delta=each) for each in deltas]
    return [*texts, TextMessageEndEvent(message_id="m")]


def called(call: str, *arguments: str, name: str = "add") -> list[Event]:
    pieces: list[Event] = [ToolCallArgsEvent(tool_call_id=call, delta=each) for each in arguments]
    return [
        ToolCallStartEvent(tool_call_id=call, tool_call_name=name),
        *pieces,
        ToolCallEndEvent(tool_call_id=call),
    ]


def answered(call: str, content: str, status: str = "success") -> Event:
    return ToolCallResultEvent(
        message_id="r", tool_call_id=call, content=content, metadata={"status": status}
    )


def test_text_is_shown_as_it_comes_and_ends_its_line():
    assert shown(*said("Hel", "lo [b]you[/b]\n", "and on")) == ("Hello [b]you[/b]\nand on\n", "")
    assert shown(*said("Hello\n")) == ("Hello\n", "")


def test_text_is_not_folded():
    long = "word " * 100
    assert shown(*said(long)) == (f"{long}\n", "")


def test_a_tool_call_is_shown_with_its_arguments_and_its_result():
    events = [*called("c1", '{"a": 1, "b"', ': "ü"}'), answered("c1", "3")]
    assert shown(*events)[1] == '  ⚙ add(a=1, b="ü")\n  → add: 3 (0.0 s)\n'


def test_calls_side_by_side_are_told_apart():
    events = [
        *called("c1", "{}"),
        *called("c2", '{"q": 1}', name="find"),
        answered("c2", "two"),
        answered("c1", "one", "error"),
    ]
    assert shown(*events)[1].splitlines() == [
        "  ⚙ add()",
        "  ⚙ find(q=1)",
        "  → find: two (0.0 s)",
        "  ✗ add: one (0.0 s)",
    ]


@pytest.mark.parametrize("arguments", ['{"a', "[1]", "5"])
def test_arguments_that_are_no_object_are_shown_as_they_came(arguments: str):
    assert shown(*called("c1", arguments))[1] == f"  ⚙ add({arguments})\n"


def test_a_long_result_is_cut():
    result = shown(*called("c1"), answered("c1", "x" * 5000))[1]
    assert "x" * (MAX_RESULT - 3) + "... (0.0 s)" in result


def test_an_error_is_a_line_of_its_own():
    answers, notes = shown(*said("half")[:-1], RunErrorEvent(message="no key", code="x"))
    assert answers == "half\n"
    assert notes == "error: no key\n"


def test_a_finished_run_ends_the_line():
    end = RunFinishedEvent(thread_id="t", run_id="r")
    assert shown(*said("half")[:-1], end)[0] == "half\n"


def test_nothing_reaches_the_terminal_as_a_control_sequence():
    evil = "\x1b]0;title\x07\x1b[2J\x9b31m\rfine\tstill\n"
    answers, notes = shown(*said(evil), *called("c1", evil, name=evil), answered("c1", evil))
    for text in (answers, notes):
        assert "fine" in text
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\r"}
