"""Each shape in which providers stream text and tool calls, and the events that come of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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

from llmkeep.agents.translate import Translator

FIRST = {"langgraph_node": "model", "langgraph_checkpoint_ns": "model:1"}
SECOND = {"langgraph_node": "model", "langgraph_checkpoint_ns": "model:2"}
TOOLS = {"langgraph_node": "tools", "langgraph_checkpoint_ns": "tools:1"}


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


def told(*messages: tuple[BaseMessage, dict[str, str]]) -> list[str]:
    translator = Translator("thread", "run")
    events: list[Event] = []
    for message, metadata in messages:
        events += translator.message(message, metadata)
    return [short(event) for event in [*events, *translator.finished()]]


def of_model(*messages: BaseMessage, source: dict[str, str] = FIRST):
    return [(message, source) for message in messages]


def test_text_is_one_message_with_its_fragments():
    assert told(*of_model(chunk("Hel"), chunk(""), chunk("lo"), chunk(last=True))) == [
        "text start lc_run--1",
        "text Hel",
        "text lo",
        "text end lc_run--1",
        "run finished",
    ]


def test_one_call_whole_in_one_chunk():
    whole = chunk("", piece(0, '{"a": 1}', "add", "c1"), last=True)
    assert told(*of_model(whole), (result("c1", "1"), TOOLS)) == [
        "start c1 add of lc_run--1",
        'args c1 {"a": 1}',
        "end c1",
        "result c1 1 success result-c1",
        "run finished",
    ]


def test_a_call_without_arguments_has_none():
    assert told(*of_model(chunk("", piece(0, "", "now", "c1"), last=True))) == [
        "start c1 now of lc_run--1",
        "end c1",
        "run finished",
    ]


def test_two_calls_one_after_the_other():
    messages = of_model(
        chunk("I add"),
        chunk("", piece(0, "", "add", "c1")),
        chunk("", piece(0, '{"a":')),
        chunk("", piece(0, "1}")),
        chunk("", piece(1, "", "add", "c2")),
        chunk("", piece(1, '{"a":2}')),
        chunk(last=True),
    )
    assert told(*messages, (result("c2", "2"), TOOLS), (result("c1", "1"), TOOLS)) == [
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
    messages = of_model(
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
    assert told(*of_model(both)) == [
        "start c1 add of lc_run--1",
        "args c1 {}",
        "start c2 now of lc_run--1",
        "args c2 {}",
        "end c1",
        "end c2",
        "run finished",
    ]


def test_two_calls_that_a_server_both_counts_as_number_0():
    messages = of_model(
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
    messages = of_model(
        chunk("", piece(0, '{"a"', call="c1")), chunk("", piece(0, ":1}", "add")), chunk(last=True)
    )
    assert told(*messages) == [
        "start c1 add of lc_run--1",
        'args c1 {"a":1}',
        "end c1",
        "run finished",
    ]


def test_a_failed_tool_has_a_result_that_says_so():
    call = chunk("", piece(0, "{}", "add", "c1"), last=True)
    assert told(*of_model(call), (result("c1", "boom", "error"), TOOLS))[-2:] == [
        "result c1 boom error result-c1",
        "run finished",
    ]


def test_a_result_before_the_call_was_closed_closes_it():
    call = chunk("", piece(0, "{}", "add", "c1"))
    assert told(*of_model(call), (result("c1", "1"), TOOLS)) == [
        "start c1 add of lc_run--1",
        "args c1 {}",
        "end c1",
        "result c1 1 success result-c1",
        "run finished",
    ]


def test_a_result_that_nobody_announced_is_announced():
    assert told((result("c9", "1"), TOOLS)) == [
        "start c9 add of None",
        "end c9",
        "result c9 1 success result-c9",
        "run finished",
    ]


def test_a_repair_of_an_earlier_turn_is_not_told():
    assert told((result("c9", "cancelled"), FIRST)) == ["run finished"]


def test_an_answer_after_tools_is_a_message_of_its_own():
    messages = [
        *of_model(chunk("look", piece(0, "{}", "add", "c1"), last=True)),
        (result("c1", "1"), TOOLS),
        *of_model(chunk("one", own="lc_run--2"), chunk(own="lc_run--2", last=True), source=SECOND),
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
    messages = of_model(chunk("a", own="lc_run--1"), chunk("b", own="resp_7"), chunk(last=True))
    assert told(*messages) == [
        "text start lc_run--1",
        "text a",
        "text b",
        "text end lc_run--1",
        "run finished",
    ]


def test_a_second_attempt_in_the_same_node_is_another_message():
    messages = of_model(chunk("par", own="lc_run--1"), chunk("whole", own="lc_run--2", last=True))
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
    assert told(*of_model(message)) == [
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
    assert told(*of_model(chunk("hi", last=True), AIMessage("hi", id="other"))) == [
        "text start lc_run--1",
        "text hi",
        "text end lc_run--1",
        "run finished",
    ]


def test_what_a_model_says_inside_a_tool_is_not_the_answer():
    assert told((chunk("secret thoughts"), TOOLS)) == ["run finished"]


def test_a_stream_cut_in_the_middle_ends_closed():
    translator = Translator("thread", "run")
    open_message = chunk("half", piece(0, '{"a', "add", "c1"))
    events: list[Event] = [*translator.started(), *translator.message(open_message, FIRST)]
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


def test_content_in_blocks_is_told_as_text():
    message = AIMessageChunk(
        content=[{"type": "text", "text": "hi", "index": 0}], id="lc_run--1", chunk_position="last"
    )
    answer = ToolMessage([{"type": "image", "url": "u"}], tool_call_id="c1", id="r", name="draw")
    assert told(*of_model(message), (answer, TOOLS)) == [
        "text start lc_run--1",
        "text hi",
        "text end lc_run--1",
        "start c1 draw of None",
        "end c1",
        'result c1 [{"type": "image", "url": "u"}] success r',
        "run finished",
    ]


def test_every_call_of_a_long_run_is_start_arguments_end_result():
    """For each id the order is START, ARGS*, END, RESULT, whatever else is told in between."""
    messages: list[tuple[BaseMessage, dict[str, str]]] = []
    for turn in range(3):
        source = {**FIRST, "langgraph_checkpoint_ns": f"model:{turn}"}
        ids = [f"c{turn}{n}" for n in range(3)]
        opening = [piece(n, "{", "add", call) for n, call in enumerate(ids)]
        closing = [piece(n, "}") for n in reversed(range(3))]
        own = f"lc_run--{turn}"
        messages += of_model(
            chunk("", *opening, own=own), chunk("", *closing, own=own), source=source
        )
        messages += [(result(call, "1"), TOOLS) for call in reversed(ids)]
    steps: dict[str, list[str]] = {}
    for each in told(*messages)[:-1]:
        kind, call = each.split()[:2]
        steps.setdefault(call, []).append(kind)
    assert len(steps) == 9
    assert set(map(tuple, steps.values())) == {("start", "args", "args", "end", "result")}


def test_all_events_are_of_the_wire_format():
    translator = Translator("thread", "run")
    events: Iterable[Event] = [*translator.started(), *translator.finished()]
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
