"""The fold: which messages the events of a run come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from ag_ui.core import Event, TextMessageEndEvent, ToolCallStartEvent

from llmkeep.service.records import Call, Message, UserMessage
from llmkeep.service.runs import events as told
from llmkeep.service.runs.fold import Fold
from tests.service.runs.fakes import call, result, text

PARTIAL = {"status": "partial"}


def folded(events: Iterable[Any], *, waits: bool | None = None) -> dict[str, Message]:
    """The messages by id, as the table would hold them; with `waits`, the run is closed."""
    fold = Fold("r1", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    rows: dict[str, Message] = {}
    events = [*events]
    for event in events:
        rows |= {row.message_id: row for row in fold.take(event)}
    if waits is not None:
        for event in fold.closing(waits=waits):
            rows |= {row.message_id: row for row in fold.take(event)}
        assert not [*fold.closing(waits=True)]
    return rows


def chain(rows: dict[str, Message]) -> list[tuple[str, str | None]]:
    return [(row.message_id, row.parent_id) for row in rows.values()]


def asked(*ids: str, parent: str | None = None, resume: bool = False) -> Event:
    return told.run_input(parent, [UserMessage(each, each) for each in ids], "m", resume=resume)


def test_the_messages_of_a_run_are_one_chain():
    """User, assistant with two calls, both answers in their order, assistant."""
    rows = folded(
        [
            asked("m1", "m2", parent="a0"),
            *text("a1", "Let ", "me."),
            *call("a1", "c1", "dig", '{"depth":1}'),
            *call("a1", "c2"),
            result("c2", "two"),
            result("c1", "one", "error"),
            *text("a2", "So."),
        ]
    )

    assert chain(rows) == [
        ("m1", "a0"), ("m2", "m1"), ("a1", "m2"), ("c2", "a1"), ("c1", "c2"), ("a2", "c1"),
    ]  # fmt: skip
    assert rows["a1"].content == "Let me."
    assert rows["a1"].calls == (Call("c1", "dig", '{"depth":1}'), Call("c2", "dig", "{}"))
    assert (rows["c1"].status, rows["c1"].duration) == ("error", 0.5)
    assert {row.run_id for row in rows.values()} == {"r1"}


def test_a_message_comes_when_all_in_it_has_ended():
    """What is still arriving is in the log alone."""
    steps = [*text("a1", "Let me."), *call("a1", "c1")]
    start, content, text_end, call_start, arguments, call_end = steps

    assert folded([start, content, call_start, arguments, text_end]) == {}
    rows = folded([start, content, call_start, arguments, text_end, call_end])
    assert [*rows] == ["a1"]


@pytest.mark.parametrize("end", range(1, 8))
def test_a_cut_message_is_partial_and_its_call_answered(end: int):
    """Wherever a run is cut, closing it leaves whole messages, and no call without an answer."""
    steps = [*text("a1", "Let ", "me."), *call("a1", "c1")]
    rows = folded([asked("m1"), *steps[:end]], waits=False)

    is_whole = end == len(steps) or end == 4
    assert rows["a1"].status == ("complete" if is_whole else "partial")
    answers = [row for row in rows.values() if row.role == "tool"]
    assert [row.tool_call_id for row in answers] == [each.id for each in rows["a1"].calls]
    assert all(row.status == "cancelled" for row in answers)


def test_what_waits_is_not_answered():
    """A run that waits for a person leaves its calls open."""
    assert [*folded([asked("m1"), *call("a1", "c1")], waits=True)] == ["m1", "a1"]


def test_an_end_says_that_its_message_was_cut():
    """The agent ends what it cut itself, and tells that."""
    start, content, _ = text("a1", "Let me")
    end = TextMessageEndEvent(message_id="a1", metadata=PARTIAL)

    assert folded([asked("m1"), start, content, end])["a1"].status == "partial"


def test_the_answer_to_a_call_of_an_earlier_run_hangs_in_the_chain():
    """As after an approval."""
    rows = folded([asked(parent="a0", resume=True), result("c0"), *text("a1", "Done.")])

    assert chain(rows) == [("c0", "a0"), ("a1", "c0")]


def test_calls_without_a_message_make_one_each():
    """An agent may name no message; then the call is its own."""
    bare = ToolCallStartEvent(tool_call_id="c1", tool_call_name="dig")
    rows = folded([asked("m1"), bare, *call("x", "c1")[1:]])

    assert chain(rows) == [("m1", None), ("c1", "m1")]


def test_the_last_row_is_the_head():
    """A message that ends after what follows it does not become the head of the thread."""
    fold = Fold("r1", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    start, content, end = text("a1", "Let me.")
    given: Sequence[Message] = ()
    for event in [asked("m1"), start, content, *call("a1", "c1"), result("c1"), end]:
        given = fold.take(event)  # type: ignore[arg-type]

    assert [row.message_id for row in given] == ["a1", "c1"]


def test_an_answer_for_another_branch_hangs_there():
    """It is no part of this run's chain, and the head of the thread stays in this one."""
    fold = Fold("r1", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    fold.take(asked("m1", parent="a0"))
    answer = result("c7", "no", "declined")
    rows = fold.take(told.call_answered(answer, "a7"))  # type: ignore[arg-type]

    assert [(row.message_id, row.parent_id) for row in rows] == [("c7", "a7"), ("m1", "a0")]
    assert (rows[0].tool_call_id, rows[0].status, rows[0].content) == ("c7", "declined", "no")
