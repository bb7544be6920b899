"""Turns of an application that keeps the messages itself: the model's memory follows its tree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.agents.application import Application
from tests.support.scripted import Asked, Scripted
from tests.support.scripted_agent import Agent
from tests.support.scripted_talk import kept
from tests.support.scripted_wire import Call, Text

pytest_plugins = ["tests.support.scripted_fixtures"]


@pytest.fixture
def application(wire: str, scripted: Scripted) -> Application:
    """With an agent that has some tools."""
    return Application(Agent("u", None))


def _said(asked: Asked) -> list[str]:
    """What the model was told, block by block, without the prompt."""
    texts: list[str] = []
    for message in asked.messages:
        content: Any = message["content"] or ""
        if message["role"] != "system":
            blocks = [{"text": content}] if isinstance(content, str) else content
            texts += [block.get("text") or json.dumps(block) for block in blocks]
    return texts


async def _matches(application: Application) -> None:
    """What is stored for the model is the application's path."""
    stored = [(each.id, each.text) for each in await kept(application.agent)]
    assert stored == [(each.id, each.text) for each in application.path(application.head)]


async def test_a_conversation_goes_on_without_its_history_being_asked_for(application, scripted):
    """As long as what is stored ends at the head, nothing is loaded."""
    scripted.say(Text("Hel"), Text("lo."))
    scripted.say(Text("Let me see."), Call(0, "c1", "add", '{"a": 1, "b": 2}'))
    scripted.say(Text("Three."))
    assert (await application.say("hello")).text == "Hello."
    assert (await application.say("1 + 2?", "please")).text == "Let me see.Three."
    assert application.loaded == []
    assert _said(scripted.asked[1])[:2] == ["hello", "Hello."]
    await _matches(application)


async def test_an_edit_drops_what_followed(application, scripted):
    """A new message under an earlier one makes the model forget what stood there."""
    for text in ("One.", "Two.", "Other."):
        scripted.say(Text(text))
    await application.say("one")
    first = application.head
    await application.say("two")
    await application.say("not two", under=first)
    assert application.loaded == [first]
    assert _said(scripted.asked[-1]) == ["one", "One.", "not two"]
    await _matches(application)
