"""Each shape in which providers stream text and tool calls, and the events that come of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from ag_ui.core import (
    Event,
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
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from llmkeep.agents.answers import UNREADABLE
from llmkeep.agents.translate import Spent, Translator


def piece(
    index: int | None, args: str | None, name: str | None = None, call: str | None = None
) -> Any:
    return {"index": index, "args": args, "name": name, "id": call, "type": "tool_call_chunk"}


def chunk(text: str = "", *pieces: Any, own: str = "lc_run--1", last: bool = False):
    return AIMessageChunk(
        content=text,
        id=own,
        tool_call_chunks=list(pieces),
        chunk_position="last" if last else None,
    )


def result(call: str, content: str, status: str = "success") -> ToolMessage:
    return ToolMessage(content, tool_call_id=call, id=f"result-{call}", name="add", status=status)


def short(event: Event) -> str:
    match event:
        case RunStartedEvent():
            return "run started"
        case RunFinishedEvent():
            return "run finished"
        case RunErrorEvent():
            return f"run error {event.code}"
        case TextMessageStartEvent():
            return f"text start {event.message_id}"
        case TextMessageContentEvent():
            return f"text {event.delta}"
        case TextMessageEndEvent():
            return f"text end {event.message_id}"
        case ToolCallStartEvent():
            return f"start {event.tool_call_id} {event.tool_call_name} of {event.parent_message_id}"
        case ToolCallArgsEvent():
            return f"args {event.tool_call_id} {event.delta}"
        case ToolCallEndEvent():
            return f"end {event.tool_call_id}"
        case ToolCallResultEvent():
            status = (event.metadata or {}).get("status")
            return f"result {event.tool_call_id} {event.content} {status} {event.message_id}"
    raise AssertionError(event)


def told(*messages: BaseMessage, taken: Iterable[str] = ()) -> list[str]:
    """What is told of these: chunks, messages that are whole, answers of tools."""
    translator = Translator("thread", "run")
    translator.take(taken)
    events: list[Event] = []
    for message in messages:
        match message:
            case AIMessageChunk():
                events += translator.chunk(message)
            case AIMessage():
                events += translator.answered(translator.named(message))
            case ToolMessage():
                events += translator.results([message])
    return [short(event) for event in [*events, *translator.finished(Spent())]]


def test_text_is_one_message_with_its_fragments():
    assert told(chunk("Hel"), chunk(""), chunk("lo"), chunk(last=True)) == [
        "text start lc_run--1",
        "text Hel",
        "text lo",
        "text end lc_run--1",
        "run finished",
    ]


def test_one_call_whole_in_one_chunk():
    whole = chunk("", piece(0, '{"a": 1}', "add", "c1"), last=True)
    assert told(whole, result("c1", "1")) == [
        "start c1 add of lc_run--1",
        'args c1 {"a": 1}',
        "end c1",
        "result c1 1 success result-c1",
        "run finished",
    ]


def test_a_call_without_arguments_has_none():
    assert told(chunk("", piece(0, "", "now", "c1"), last=True)) == [
        "start c1 now of lc_run--1",
        "end c1",
        "run finished",
    ]


def test_two_calls_one_after_the_other():
    messages = (
        chunk("I add"),
        chunk("", piece(0, "", "add", "c1")),
        chunk("", piece(0, '{"a":')),
        chunk("", piece(0, "1}")),
        chunk("", piece(1, "", "add", "c2")),
        chunk("", piece(1, '{"a":2}')),
        chunk(last=True),
    )
    assert told(*messages, result("c2", "2"), result("c1", "1")) == [
        "text start lc_run--1",
        "text I add",
        "start c1 add of lc_run--1",
        'args c1 {"a":',
        "args c1 1}",
        "start c2 add of lc_run--1",
        'args c2 {"a":2}',
        "text end lc_run--1",
        "end c1",
        "end c2",
        "result c2 2 success result-c2",
        "result c1 1 success result-c1",
        "run finished",
    ]


def test_arguments_of_two_calls_interleaved():
    messages = (
        chunk("", piece(0, "", "add", "c1"), piece(1, "", "add", "c2")),
        chunk("", piece(1, '{"b"')),
        chunk("", piece(0, '{"a"')),
        chunk("", piece(1, ":2}"), piece(0, ":1}")),
        chunk(last=True),
    )
    assert told(*messages) == [
        "start c1 add of lc_run--1",
        "start c2 add of lc_run--1",
        'args c2 {"b"',
        'args c1 {"a"',
        "args c2 :2}",
        "args c1 :1}",
        "end c1",
        "end c2",
        "run finished",
    ]


def test_two_calls_whole_in_one_chunk_without_index():
    both = chunk("", piece(None, "{}", "add", "c1"), piece(None, "{}", "now", "c2"), last=True)
    assert told(both) == [
        "start c1 add of lc_run--1",
        "args c1 {}",
        "start c2 now of lc_run--1",
        "args c2 {}",
        "end c1",
        "end c2",
        "run finished",
    ]


def test_two_calls_that_a_server_both_counts_as_number_0():
    messages = (
        chunk("", piece(0, "{", "add", "c1")),
        chunk("", piece(0, "}")),
        chunk("", piece(0, "[", "add", "c2")),
        chunk("", piece(0, "]"), last=True),
    )
    assert told(*messages) == [
        "start c1 add of lc_run--1",
        "args c1 {",
        "args c1 }",
        "start c2 add of lc_run--1",
        "args c2 [",
        "args c2 ]",
        "end c1",
        "end c2",
        "run finished",
    ]


def test_arguments_that_come_before_the_name_are_not_lost():
    messages = (
        chunk("", piece(0, '{"a"', call="c1")),
        chunk("", piece(0, ":1}", "add")),
        chunk(last=True),
    )
    assert told(*messages) == [
        "start c1 add of lc_run--1",
        'args c1 {"a":1}',
        "end c1",
        "run finished",
    ]


def test_a_failed_tool_has_a_result_that_says_so():
    call = chunk("", piece(0, "{}", "add", "c1"), last=True)
    assert told(call, result("c1", "boom", "error"))[-2:] == [
        "result c1 boom error result-c1",
        "run finished",
    ]


def test_a_result_before_the_call_was_closed_closes_it():
    call = chunk("", piece(0, "{}", "add", "c1"))
    assert told(call, result("c1", "1")) == [
        "start c1 add of lc_run--1",
        "args c1 {}",
        "end c1",
        "result c1 1 success result-c1",
        "run finished",
    ]


def test_a_result_of_an_earlier_runs_call_is_told_alone():
    """That run announced it: a second START would be a second call to a client."""
    assert told(result("c9", "1")) == ["result c9 1 success result-c9", "run finished"]


def test_an_answer_after_tools_is_a_message_of_its_own():
    messages = [
        chunk("look", piece(0, "{}", "add", "c1"), last=True),
        result("c1", "1"),
        chunk("one", own="lc_run--2"),
        chunk(own="lc_run--2", last=True),
    ]
    assert [each for each in told(*messages) if each.startswith("text")] == [
        "text start lc_run--1",
        "text look",
        "text end lc_run--1",
        "text start lc_run--2",
        "text one",
        "text end lc_run--2",
    ]


def test_an_id_that_the_provider_changes_in_the_middle_is_one_message():
    messages = (chunk("a", own="lc_run--1"), chunk("b", own="resp_7"), chunk(last=True))
    assert told(*messages) == [
        "text start lc_run--1",
        "text a",
        "text b",
        "text end lc_run--1",
        "run finished",
    ]


def test_a_second_attempt_in_the_same_node_is_another_message():
    messages = (chunk("par", own="lc_run--1"), chunk("whole", own="lc_run--2", last=True))
    assert told(*messages) == [
        "text start lc_run--1",
        "text par",
        "text end lc_run--1",
        "text start lc_run--2",
        "text whole",
        "text end lc_run--2",
        "run finished",
    ]


def test_a_message_that_was_not_streamed_is_told_whole():
    call = {"id": "c1", "name": "add", "args": {"a": 1}, "type": "tool_call"}
    broken = {"id": "c2", "name": "add", "args": '{"a', "error": None, "type": "invalid_tool_call"}
    message = AIMessage("hm", id="m1", tool_calls=[call], invalid_tool_calls=[broken])
    assert told(message) == [
        "text start m1",
        "text hm",
        "start c1 add of m1",
        'args c1 {"a": 1}',
        "start c2 add of m1",
        'args c2 {"a',
        "text end m1",
        "end c1",
        "end c2",
        "run finished",
    ]


def test_the_sum_of_a_streamed_message_is_not_told_again():
    assert told(chunk("hi", last=True), AIMessage("hi", id="lc_run--1")) == [
        "text start lc_run--1",
        "text hi",
        "text end lc_run--1",
        "run finished",
    ]


def test_ids_that_are_in_the_conversation_already_are_not_used_again():
    """Some servers name every first call alike: the second would take the first one's place."""
    lines = told(
        chunk("", piece(0, "{}", "add", "call_0"), own="m"), taken=("m", "call_0", "elsewhere")
    )
    start, args, end, _ = lines
    call = start.split()[1]
    assert call not in ("call_0", "m", "elsewhere")
    assert not start.endswith(" of m")
    assert (args, end) == (f"args {call} {{}}", f"end {call}")


def test_a_message_is_stored_with_the_ids_under_which_it_was_told():
    translator = Translator("thread", "run")
    translator.take(["m", "c1"])
    events = [*translator.chunk(chunk("hi", piece(0, "{}", "add", "c1"), own="m"))]
    block = {"type": "tool_use", "id": "c1", "name": "add", "input": {}}
    call = {"id": "c1", "name": "add", "args": {}, "type": "tool_call"}
    named = translator.named(AIMessage(["hi", block], id="other", tool_calls=[call]))
    start = next(event for event in events if isinstance(event, ToolCallStartEvent))
    assert named.id == start.parent_message_id
    assert [each["id"] for each in named.tool_calls] == [start.tool_call_id]
    assert named.content == ["hi", {**block, "id": start.tool_call_id}]


def test_two_calls_of_one_id_are_told_apart():
    translator = Translator("thread", "run")
    pieces = [piece(0, "{}", "add", "c"), piece(1, "{}", "now", "c")]
    events = [*translator.chunk(chunk("", *pieces))]
    calls: list[Any] = [
        {"id": "c", "name": name, "args": {}, "type": "tool_call"} for name in ("add", "now")
    ]
    named = translator.named(AIMessage("", tool_calls=calls))
    told = [event for event in events if isinstance(event, ToolCallStartEvent)]
    assert [(each["id"], each["name"]) for each in named.tool_calls] == [
        (event.tool_call_id, event.tool_call_name) for event in told
    ]
    assert len({event.tool_call_id for event in told}) == 2


def test_a_call_that_langchain_completed_is_refused():
    """Half a path is not to be acted on: langchain-core closes what was left open."""
    translator = Translator("thread", "run")
    list(translator.chunk(chunk("", piece(0, '{"path": "/ho', "remove", "c1"))))
    completed = {"id": "c1", "name": "remove", "args": {"path": "/ho"}, "type": "tool_call"}
    [call] = translator.named(AIMessage("", tool_calls=[completed])).tool_calls
    assert call["args"] == {UNREADABLE: '{"path": "/ho'}


@pytest.mark.parametrize(
    ("came", "read"),
    [
        ('{"a": 1e999}', {"a": float("inf")}),
        ('{"a": 99999999999999999999999}', {"a": 99999999999999999999999}),
        ('{"a": "\\ud83d"}', {"a": "\ud83d"}),
        ("[" * 3000, {}),
    ],
    ids=["infinite", "more than 64 bits", "half a character", "deep"],
)
def test_arguments_that_cannot_be_kept_or_sent_back_are_refused(came, read):
    """They would be in every later request, and each would fail."""
    translator = Translator("thread", "run")
    list(translator.chunk(chunk("", piece(0, came, "add", "c1"))))
    call = {"id": "c1", "name": "add", "args": read, "type": "tool_call"}
    [kept] = translator.named(AIMessage("", tool_calls=[call])).tool_calls
    assert kept["args"] == {UNREADABLE: came}


def test_arguments_that_are_null_are_none():
    translator = Translator("thread", "run")
    list(translator.chunk(chunk("", piece(0, "null", "now", "c1"))))
    broken = {"id": "c1", "name": "now", "args": "null", "error": None, "type": "invalid_tool_call"}
    [kept] = translator.named(AIMessage("", invalid_tool_calls=[broken])).tool_calls
    assert kept["args"] == {}


@pytest.mark.parametrize(
    ("name", "kept"), [("multi_tool_use.parallel", "multi_tool_use_parallel"), ("", "unknown")]
)
def test_a_name_that_is_none_is_told_and_kept_as_one_that_can_be_sent_back(name, kept):
    call = {"id": "c" * 50, "name": name, "args": {}, "type": "tool_call"}
    translator = Translator("thread", "run")
    message = translator.named(AIMessage("", tool_calls=[call]))
    assert [each["name"] for each in message.tool_calls] == [kept]
    start = next(translator.answered(message))
    assert isinstance(start, ToolCallStartEvent)
    assert start.tool_call_name == kept
    assert start.tool_call_id == message.tool_calls[0]["id"] != call["id"]


def test_two_blocks_of_one_id_are_renamed_one_by_one():
    calls: list[Any] = [{"id": "c", "name": n, "args": {}, "type": "tool_call"} for n in ("a", "b")]
    blocks: list[Any] = [
        {"type": "tool_use", "id": "c", "name": n, "input": {}} for n in ("a", "b")
    ]
    named = Translator("thread", "run").named(AIMessage([*blocks], tool_calls=calls))
    ids = [call["id"] for call in named.tool_calls]
    assert len(set(ids)) == 2
    told: list[Any] = [*named.content]
    assert [(block["id"], block["name"]) for block in told] == [
        (ids[0], "a"),
        (ids[1], "b"),
    ]


def test_of_a_cut_message_the_complete_calls_are_kept():
    translator = Translator("thread", "run")
    pieces = [piece(0, '{"a": 1}', "add", "c1"), piece(1, '{"a"', "add", "c2")]
    list(translator.chunk(chunk("so", *pieces)))
    calls = [
        {"id": "c1", "name": "add", "args": {"a": 1}, "type": "tool_call"},
        {"id": "c2", "name": "add", "args": {}, "type": "tool_call"},
    ]
    cut = translator.named(AIMessage("so", tool_calls=calls), is_cut=True)
    assert [call["id"] for call in cut.tool_calls] == ["c1"]


def test_a_stream_cut_in_the_middle_ends_closed():
    translator = Translator("thread", "run")
    open_message = chunk("half", piece(0, '{"a', "add", "c1"))
    events: list[Event] = [*translator.started(), *translator.chunk(open_message)]
    events += translator.failed("cut", "unreachable")
    assert [short(event) for event in events] == [
        "run started",
        "text start lc_run--1",
        "text half",
        "start c1 add of lc_run--1",
        'args c1 {"a',
        "text end lc_run--1",
        "end c1",
        "run error unreachable",
    ]


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_cut_message_says_so_where_it_ends(is_whole: bool):
    """The ends of text and calls tell whether there was more to come."""
    translator = Translator("thread", "run")
    events: list[Event] = [*translator.chunk(chunk("Hel", piece(0, '{"a": 1', "add", "c1")))]
    if is_whole:
        call = {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
        message = translator.named(AIMessage("Hel", id="lc_run--1", tool_calls=[call]))
        events = [*translator.answered(message)]
    events += translator.cancelled(Spent())
    ends = [e for e in events if isinstance(e, TextMessageEndEvent | ToolCallEndEvent)]
    assert [each.metadata for each in ends] == [None if is_whole else {"status": "partial"}] * 2


def test_content_in_blocks_is_told_as_text():
    message = AIMessageChunk(
        content=[{"type": "text", "text": "hi", "index": 0}], id="lc_run--1", chunk_position="last"
    )
    answer = ToolMessage([{"type": "image", "url": "u"}], tool_call_id="c1", id="r", name="draw")
    assert told(message, answer) == [
        "text start lc_run--1",
        "text hi",
        "text end lc_run--1",
        'result c1 [{"type": "image", "url": "u"}] success r',
        "run finished",
    ]


def test_every_call_of_a_long_run_is_start_arguments_end_result():
    """For each id the order is START, ARGS*, END, RESULT, whatever else is told in between."""
    messages: list[BaseMessage] = []
    for turn in range(3):
        ids = [f"c{turn}{n}" for n in range(3)]
        opening = [piece(n, "{", "add", call) for n, call in enumerate(ids)]
        closing = [piece(n, "}") for n in reversed(range(3))]
        own = f"lc_run--{turn}"
        messages += [chunk("", *opening, own=own), chunk("", *closing, own=own)]
        messages += [result(call, "1") for call in reversed(ids)]
    steps: dict[str, list[str]] = {}
    for each in told(*messages)[:-1]:
        kind, call = each.split()[:2]
        steps.setdefault(call, []).append(kind)
    assert len(steps) == 9
    assert set(map(tuple, steps.values())) == {("start", "args", "args", "end", "result")}


def test_all_events_are_of_the_wire_format():
    translator = Translator("thread", "run")
    events: Iterable[Event] = [*translator.started(), *translator.finished(Spent())]
    assert [event.model_dump(by_alias=True, mode="json") for event in events] == [
        {
            "type": "RUN_STARTED",
            "threadId": "thread",
            "runId": "run",
            "protocolVersion": "1.0",
        },
        {
            "type": "RUN_FINISHED",
            "threadId": "thread",
            "runId": "run",
            "outcome": {"type": "success"},
        },
    ]
