"""Each shape in which providers send an answer, raw on a real socket, through the real SDKs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.agents.events import kinds
from tests.support.scripted import Scripted
from tests.support.scripted_agent import Agent
from tests.support.scripted_talk import Heard, arguments, ask, assert_ids_are_kept, kept
from tests.support.scripted_wire import Answer, Args, Call, Gate, Text

pytest_plugins = ["tests.support.scripted_fixtures"]


#: Shapes that both wire formats know: the answer, and each call's name, arguments and result.
SHAPES: dict[str, tuple[Answer, dict[str, tuple[str, Any, str]]]] = {
    "one call whole in one chunk": (
        [Call(0, "c1", "add", '{"a": 1, "b": 2}')],
        {"c1": ("add", {"a": 1, "b": 2}, "3")},
    ),
    "arguments in fragments": (
        [Call(0, "c1", "add"), *(Args(0, each) for each in '{"a": 1, "b": 2}')],
        {"c1": ("add", {"a": 1, "b": 2}, "3")},
    ),
    "no arguments at all": ([Call(0, "c1", "now")], {"c1": ("now", {}, "noon")}),
    "two calls one after the other": (
        [
            Call(0, "c1", "add"),
            Args(0, '{"a":'),
            Args(0, "1}"),
            Call(1, "c2", "shout"),
            Args(1, '{"text":'),
            Args(1, '"hi"}'),
        ],
        {"c1": ("add", {"a": 1}, "1"), "c2": ("shout", {"text": "hi"}, "HI")},
    ),
    "arguments interleaved": (
        [
            Call(0, "c1", "add"),
            Call(1, "c2", "shout"),
            Args(1, '{"te'),
            Args(0, '{"a"'),
            Args(1, 'xt":"'),
            Args(0, ":1"),
            Args(0, "}"),
            Args(1, 'hi"}'),
        ],
        {"c1": ("add", {"a": 1}, "1"), "c2": ("shout", {"text": "hi"}, "HI")},
    ),
    "two calls whole in one chunk": (
        [(Call(0, "c1", "add", '{"a": 1}'), Call(1, "c2", "shout", '{"text": "hi"}'))],
        {"c1": ("add", {"a": 1}, "1"), "c2": ("shout", {"text": "hi"}, "HI")},
    ),
    "fragments of two calls in each chunk": (
        [
            (Call(0, "c1", "add", "{"), Call(1, "c2", "shout", "{")),
            (Args(1, '"text": '), Args(0, '"a": ')),
            (Args(0, "1}"), Args(1, '"hi"}')),
        ],
        {"c1": ("add", {"a": 1}, "1"), "c2": ("shout", {"text": "hi"}, "HI")},
    ),
    "the same tool twice": (
        [Call(0, "c1", "add", '{"a": 1}'), Call(1, "c2", "add", '{"a": 1}')],
        {"c1": ("add", {"a": 1}, "1"), "c2": ("add", {"a": 1}, "1")},
    ),
    "eight calls": (
        [Call(n, f"c{n}", "add", f'{{"a": {n}}}') for n in range(8)],
        {f"c{n}": ("add", {"a": n}, str(n)) for n in range(8)},
    ),
    "text and a call in one message": (
        [Text("Let me "), Text("see."), Call(0, "c1", "add"), Args(0, '{"a": 1}')],
        {"c1": ("add", {"a": 1}, "1")},
    ),
    "text and a call in one chunk": (
        [(Text("See: "), Call(0, "c1", "add", '{"a": 1}'))],
        {"c1": ("add", {"a": 1}, "1")},
    ),
    "arguments that are not ASCII": (
        [Call(0, "c1", "shout"), Args(0, '{"text": "gr\u00fc'), Args(0, '\u00df \u4f60 \\u00e9"}')],
        {"c1": ("shout", {"text": "gr\u00fc\u00df \u4f60 \u00e9"}, "GR\u00dcSS \u4f60 \u00c9")},
    ),
}

#: Shapes of servers that speak OpenAI's format in their own way.
OPENAI_SHAPES: dict[str, tuple[Answer, dict[str, tuple[str, Any, str]]]] = {
    "name and arguments at once, without an index": (
        [Call(None, "c1", "add", '{"a": 1}'), Call(None, "c2", "shout", '{"text": "hi"}')],
        {"c1": ("add", {"a": 1}, "1"), "c2": ("shout", {"text": "hi"}, "HI")},
    ),
    "both in one chunk, without an index": (
        [(Call(None, "c1", "add", '{"a": 1}'), Call(None, "c2", "shout", '{"text": "hi"}'))],
        {"c1": ("add", {"a": 1}, "1"), "c2": ("shout", {"text": "hi"}, "HI")},
    ),
    "text between two calls": (
        [Call(0, "c1", "add", '{"a": 1}'), Text("and"), Call(1, "c2", "shout", '{"text": "hi"}')],
        {"c1": ("add", {"a": 1}, "1"), "c2": ("shout", {"text": "hi"}, "HI")},
    ),
}


async def _assert_told(scripted: Scripted, answer: Answer, calls: dict[str, Any]) -> None:
    """The calls are told right, run right, kept under their ids; the next turn is accepted."""
    scripted.say(*answer)
    scripted.say(Text("Done."))
    scripted.say(Text("And on."))
    handler = Agent("u", None)
    heard = await ask(handler, "go")
    assert kinds(heard.events)[-1] == "RUN_FINISHED"
    assert {
        call_id: (call.name, args, call.result)
        for (call_id, call), args in zip(
            heard.calls.items(), arguments(heard.calls.values()), strict=True
        )
    } == calls
    assert {call.status for call in heard.calls.values()} == {"success"}
    assert len({call.parent for call in heard.calls.values()}) == 1
    assert None not in {call.parent for call in heard.calls.values()}
    assert_ids_are_kept(heard, await kept(handler))
    assert (await ask(handler, "next")).text == "And on."


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_is_start_arguments_end_result(shape: str, wire: str, scripted: Scripted):
    """Whatever shape the calls come in, each is told, run and kept as what it is."""
    await _assert_told(scripted, *SHAPES[shape])


@pytest.mark.parametrize("shape", OPENAI_SHAPES)
async def test_a_call_of_a_compatible_server_is_told_too(shape: str, scripted: Scripted):
    """Servers that speak OpenAI's format loosely are understood."""
    await _assert_told(scripted, *OPENAI_SHAPES[shape])


async def test_two_calls_that_a_server_both_counts_as_number_0(scripted: Scripted):
    """Another id is another call, whatever its number says."""
    scripted.say(Call(0, "c1", "add", '{"a": 1}'), Call(0, "c2", "add", '{"a": 2}'))
    scripted.say(Text("Done."))
    scripted.say(Text("And on."))
    handler = Agent("u", None)
    heard = await ask(handler, "go")
    assert list(heard.calls) == ["c1", "c2"]
    assert all(call.ended for call in heard.calls.values())
    assert (await ask(handler, "next")).text  # whatever became of the two, the history is accepted


async def test_a_call_is_told_while_its_arguments_arrive(wire: str, scripted: Scripted):
    """A consumer sees START and ARGS before the provider has sent the rest."""
    middle = Gate()
    scripted.say(Call(0, "c1", "add"), Args(0, '{"a":'), middle, Args(0, " 1}"))
    scripted.say(Text("Done."))
    heard = Heard()
    async for event in Agent("u", None).stream_response("go", "s"):
        heard.hear(event)
        if "c1" in heard.calls and heard.calls["c1"].args == '{"a":':
            middle.opened.set()
    assert arguments(heard.calls.values()) == [{"a": 1}]


# --- tools that fail -------------------------------------------------------------------------


async def test_a_tool_that_raises(wire: str, scripted: Scripted):
    """It has a result marked as an error, which the model sees, and the run goes on."""
    scripted.say(Call(0, "c1", "explode", '{"reason": "rain"}'))
    scripted.say(Text("It failed."))
    scripted.say(Text("And on."))
    handler = Agent("u", None)
    heard = await ask(handler, "go")
    assert heard.calls["c1"].status == "error"
    assert "boom: rain" in str(heard.calls["c1"].result)
    assert "boom: rain" in json.dumps(scripted.asked[1].body)
    assert heard.text == "It failed."
    assert_ids_are_kept(heard, await kept(handler))
    assert (await ask(handler, "next")).text == "And on."


async def test_a_tool_that_does_not_exist(wire: str, scripted: Scripted):
    """It has a result marked as an error that names it, and the run goes on."""
    scripted.say(Call(0, "c1", "teleport", '{"to": "Mars"}'))
    scripted.say(Text("I cannot."))
    scripted.say(Text("And on."))
    handler = Agent("u", None)
    heard = await ask(handler, "go")
    assert heard.calls["c1"].status == "error"
    assert "teleport" in str(heard.calls["c1"].result)
    assert heard.text == "I cannot."
    assert_ids_are_kept(heard, await kept(handler))
    assert (await ask(handler, "next")).text == "And on."


@pytest.mark.parametrize("failing", [0, 1])
async def test_one_of_two_failing(failing: int, wire: str, scripted: Scripted):
    """The one that fails and the one that does not each have their own result."""
    calls = [("add", '{"a": 1}'), ("explode", '{"reason": "rain"}')]
    if failing == 0:
        calls.reverse()
    scripted.say(*(Call(n, f"c{n}", *call) for n, call in enumerate(calls)))
    scripted.say(Text("Half."))
    scripted.say(Text("And on."))
    handler = Agent("u", None)
    heard = await ask(handler, "go")
    assert [heard.calls[f"c{n}"].status == "error" for n in range(2)] == [
        n == failing for n in range(2)
    ]
    assert heard.calls[f"c{1 - failing}"].result == "1"
    assert_ids_are_kept(heard, await kept(handler))
    assert (await ask(handler, "next")).text == "And on."


# --- the whole -------------------------------------------------------------------------------


async def test_a_long_conversation_of_every_shape(wire: str, scripted: Scripted):
    """Every history on the way is accepted, and every call is told and answered once."""
    handler = Agent("u", None)
    for number, (answer, calls) in enumerate(SHAPES.values()):
        scripted.say(*_renamed(answer, f"t{number}-"))
        scripted.say(Text(f"Done {number}."))
        heard = await ask(handler, f"go {number}")
        assert heard.text.endswith(f"Done {number}.")
        assert [call.result for call in heard.calls.values()] == [
            each[2] for each in calls.values()
        ]
    assert len(scripted.asked) == 2 * len(SHAPES)
    await asyncio.wait_for(scripted.all_over(), 30)


def _renamed(answer: Answer, prefix: str) -> list[Any]:
    """The same answer under ids of its own: no provider gives one id twice."""
    return [
        tuple(_renamed(step, prefix))
        if isinstance(step, tuple)
        else Call(step.index, prefix + step.id, step.name, step.args)
        if isinstance(step, Call)
        else step
        for step in answer
    ]
