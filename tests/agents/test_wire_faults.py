"""What providers send wrongly, and streams that break: no conversation is poisoned by it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ag_ui.core import RunErrorEvent
from langchain_core.messages import AIMessage, HumanMessage

from tests.agents.events import kinds
from tests.support.scripted import Scripted
from tests.support.scripted_agent import Agent
from tests.support.scripted_talk import Heard, ask, kept
from tests.support.scripted_wire import Args, Broken, Call, Failure, Gate, Text


async def test_arguments_of_the_wrong_kind(wire: str, scripted: Scripted):
    """Arguments that the tool refuses are a result marked as an error."""
    scripted.say(Call(0, "c1", "add", '{"a": "one"}'))
    scripted.say(Text("Hm."))
    heard = await ask(Agent("u", None), "go")
    assert heard.calls["c1"].status == "error"
    assert heard.text == "Hm."


@pytest.mark.parametrize("broken", ['{"a": 1', "[1, 2]", "one", '{"a": }'])
async def test_arguments_that_are_not_an_object(broken: str, wire: str, scripted: Scripted):
    """They are told as they came; no tool runs on them, and the conversation goes on."""
    scripted.say(Call(0, "c1", "add"), Args(0, broken))
    scripted.say(Text("Again."))
    scripted.say(Text("And on."))
    handler = Agent("u", None)
    heard = await ask(handler, "go")
    assert heard.calls["c1"].args == broken
    assert heard.calls["c1"].ended
    assert heard.calls["c1"].status in (None, "error")
    assert (await ask(handler, "next")).text in ("Again.", "And on.")


async def test_a_good_call_beside_one_that_is_not_json(wire: str, scripted: Scripted):
    """The good one runs and has its result; the history stays acceptable."""
    scripted.say(Call(0, "c1", "add", '{"a": 1}'), Call(1, "c2", "add", '{"a": '))
    scripted.say(Text("Half."))
    scripted.say(Text("And on."))
    handler = Agent("u", None)
    heard = await ask(handler, "go")
    assert heard.calls["c1"].result == "1"
    assert heard.calls["c2"].args == '{"a": '
    assert heard.calls["c2"].status in (None, "error")
    assert heard.text == "Half."
    assert (await ask(handler, "next")).text == "And on."


# --- streams that break ----------------------------------------------------------------------

BREAKS = [Broken.CLOSED, Broken.RESET, Failure("overloaded")]


async def _until_broken(handler: Agent, gate: Gate, last: str) -> Heard:
    """Read on, and let the stream break once `last` has been read."""
    heard = Heard()
    async for event in handler.stream_response("go", "s"):
        heard.hear(event)
        if getattr(event, "delta", None) == last:
            gate.opened.set()
    return heard


@pytest.mark.parametrize("how", BREAKS, ids=["closed", "reset", "failure"])
async def test_a_stream_cut_in_text(how: Any, wire: str, scripted: Scripted):
    """The text is closed, the run ends in an error, what was said is kept; the next turn works."""
    gate = Gate()
    scripted.say(Text("Half an "), Text("answ"), gate, how)
    scripted.say(Text("Whole."))
    handler = Agent("u", None)
    heard = await _until_broken(handler, gate, "answ")
    assert kinds(heard.events)[-2:] == ["TEXT_MESSAGE_END", "RUN_ERROR"]
    messages = await kept(handler)
    assert [m.text for m in messages if isinstance(m, HumanMessage)] == ["go"]
    assert [(m.id, m.text) for m in messages if isinstance(m, AIMessage)] == [*heard.texts.items()]
    assert (await ask(handler, "next")).text == "Whole."


@pytest.mark.parametrize("how", BREAKS, ids=["closed", "reset", "failure"])
async def test_a_stream_cut_in_arguments(how: Any, wire: str, scripted: Scripted):
    """The call is closed and never kept nor run; the next turn works."""
    gate = Gate()
    scripted.say(Text("See: "), Call(0, "c1", "add"), Args(0, '{"a": '), gate, how)
    scripted.say(Text("Whole."))
    handler = Agent("u", None)
    heard = await _until_broken(handler, gate, '{"a": ')
    assert kinds(heard.events)[-1] == "RUN_ERROR"
    assert heard.calls["c1"].ended
    assert heard.calls["c1"].result is None
    messages = await kept(handler)
    assert not any(m.tool_calls for m in messages if isinstance(m, AIMessage))
    assert (await ask(handler, "next")).text == "Whole."
    assert "c1" not in json.dumps(scripted.asked[-1].messages)


async def test_a_stream_cut_before_anything_was_said(wire: str, scripted: Scripted):
    """Nothing is kept but the question, and the next turn works."""
    scripted.say(Broken.CLOSED)
    scripted.say(Text("Whole."))
    handler = Agent("u", None)
    heard = await ask(handler, "go")
    assert isinstance(heard.events[-1], RunErrorEvent)
    assert [m.type for m in await kept(handler)] == ["human"]
    assert (await ask(handler, "next")).text == "Whole."


async def test_an_answer_of_nothing(wire: str, scripted: Scripted):
    """A model that says nothing at all does not poison the conversation."""
    scripted.say()
    scripted.say(Text("Now."))
    handler = Agent("u", None)
    assert kinds((await ask(handler, "go")).events)[-1] == "RUN_FINISHED"
    assert (await ask(handler, "next")).text == "Now."
