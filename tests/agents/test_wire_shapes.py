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
from tests.support.scripted_wire import WIRES, Answer, Args, Call, Gate, Text, Thinking

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


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_chunks_end_anywhere(size: int, wire: str, scripted: Scripted):
    """A network cuts where it likes: in an event, in a line, in a character."""
    answer: Answer = [
        Text("gr\u00fc\u00df \u4f60"),
        Call(0, "c1", "shout", '{"text": "\u00e9\u4f60"}'),
    ]
    whole = b"".join(each for each in WIRES[wire].chunks(answer) if isinstance(each, bytes))
    scripted.say_raw(*(whole[at : at + size] for at in range(0, len(whole), size)))
    scripted.say(Text("Done."))
    heard = await ask(Agent("u", None), "go")
    assert heard.text == "gr\u00fc\u00df \u4f60Done."
    assert heard.calls["c1"].result == "\u00c9\u4f60"


async def test_signs_of_life_are_no_events(wire: str, scripted: Scripted):
    """Comments and pings between the chunks, as providers and proxies send them, are nothing."""
    sign = b'event: ping\ndata: {"type": "ping"}\n\n' if wire == "anthropic" else b": ping\n\n"
    chunks = WIRES[wire].chunks([Text("He"), Text("llo"), Call(0, "c1", "now")])
    scripted.say_raw(*(part for chunk in chunks for part in (chunk, sign)))
    scripted.say(Text("."))
    heard = await ask(Agent("u", None), "go")
    assert heard.text == "Hello."
    assert heard.calls["c1"].result == "noon"


@pytest.mark.parametrize("wire", ["anthropic"], indirect=True)
async def test_what_a_model_thinks_is_no_text_and_goes_back_as_it_came(
    wire: str, scripted: Scripted
):
    """Anthropic wants the thinking before a call back with its signature."""
    scripted.say(Thinking("Hm, a sum.", "c2lnbmVk"), Text("See: "), Call(0, "c1", "now"))
    scripted.say(Text("Done."))
    heard = await ask(Agent("u", None), "go")
    assert heard.text == "See: Done."
    [thinking, *_] = scripted.asked[1].messages[1]["content"]
    assert thinking == {"type": "thinking", "thinking": "Hm, a sum.", "signature": "c2lnbmVk"}


async def test_ids_that_a_server_gives_again_in_each_message(wire: str, scripted: Scripted):
    """Each call has a result of its own, although servers number them from nought each time."""
    handler = Agent("u", None)
    results: dict[str, str | None] = {}
    for a in range(3):
        scripted.say(Call(0, "call_0", "add", f'{{"a": {a}}}'))
        scripted.say(Text("Done."))
        heard = await ask(handler, "go")
        assert_ids_are_kept(heard, await kept(handler))
        results |= {call_id: call.result for call_id, call in heard.calls.items()}
    assert list(results.values()) == ["0", "1", "2"]


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


async def test_a_tool_in_which_something_was_cancelled(wire: str, scripted: Scripted):
    """It failed; nobody has stopped the run, which goes on."""
    scripted.say(Call(0, "c1", "give_up"))
    scripted.say(Text("It failed."))
    heard = await ask(Agent("u", None), "go")
    assert heard.calls["c1"].status == "error"
    assert heard.text == "It failed."


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
