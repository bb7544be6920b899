"""One turn with everything in it, held at each step until a reader has seen the step before.

Text, two calls in one message (an asynchronous tool and a synchronous one), and a second message:
whatever the reader has not been told cannot have happened, so that it can stop at any event and
know what must have been kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from ag_ui.core import Event
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.base import BaseCheckpointSaver

from llmkeep.agents import ConversationHandler
from llmkeep.agents.memory import SHARED_MEMORY
from tests.support.scripted import Asked
from tests.support.scripted_signal import Signal
from tests.support.scripted_talk import Heard
from tests.support.scripted_wire import Answer, Args, Call, Gate, Step, Text

First = Literal["fetch", "crunch"]
Memory = BaseCheckpointSaver[Any]

#: What the two tools answer.
RESULTS = {"fetch": "fetched x", "crunch": "crunched 1"}


class Scene:
    """Lives as long as one conversation. Its gates open for a reader that tells what it has read.

    Args:
        first: the tool that ends while the other still runs.
        held: False, if nothing is to be held.
    """

    def __init__(self, first: First, *, held: bool = True) -> None:
        self.held = held
        #: The calls whose tools have begun.
        self.begun: list[str] = []
        self._gates: dict[str, Gate] = {}
        self._ended = {name: Signal() for name in RESULTS}
        self._first: First = first
        self._second: First = "crunch" if first == "fetch" else "fetch"
        self._messages = (
            self._gated(
                Text("one "),
                Text("two "),
                Call(0, "c-fetch", "fetch"),
                Args(0, '{"what":'),
                Args(0, ' "x"}'),
                Call(1, "c-crunch", "crunch"),
                Args(1, '{"n":'),
                Args(1, " 1}"),
            ),
            self._gated(Text("three "), Text("four")),
        )
        if not held:
            self.release()

    def answer_to(self, asked: Asked) -> Answer:
        """What the model says to this request."""
        last = asked.messages[-1]
        if "next" in json.dumps(last):
            return [Text("fine")]
        return self._messages[0 if "go" in json.dumps(last) else 1]

    def passed(self, event: Event, heard: Heard) -> None:
        """The reader reads on after `event`."""
        gate = self._gates.get(_mark(event))
        if gate is not None:
            gate.opened.set()
        calls = {call.name: call for call in heard.calls.values()}
        if len(calls) == 2 and all(call.ended for call in calls.values()):
            self._ended[self._first].set()
            if calls[self._first].result is not None:
                self._ended[self._second].set()
        if len(calls) == 2 and all(call.result is not None for call in calls.values()):
            self._gates["results"].opened.set()

    def release(self) -> None:
        """Hold nothing any more."""
        for gate in self._gates.values():
            gate.opened.set()
        for ended in self._ended.values():
            ended.set()

    def may_have_ended(self, tool_name: str) -> bool:
        """Whether the tool is not held any more."""
        return self._ended[tool_name].is_set()

    def agent(self, user: str = "u", memory: Memory = SHARED_MEMORY) -> ConversationHandler:
        """A handler with the two tools."""
        tools = self._tools()

        class Agent(ConversationHandler):
            @property
            def tools(self):
                return tools

            @property
            def checkpointer(self):
                return memory

        return Agent(user, None)

    def _tools(self) -> tuple[BaseTool, ...]:
        @tool
        async def fetch(what: str) -> str:
            """Fetch something."""
            self.begun.append("c-fetch")
            await self._ended["fetch"].come()
            return f"fetched {what}"

        @tool
        def crunch(n: int) -> str:
            """Crunch a number."""
            self.begun.append("c-crunch")
            self._ended["crunch"].wait()
            return f"crunched {n}"

        return fetch, crunch

    def _gated(self, *steps: Step) -> list[Step]:
        """Each step waits until the reader has passed what the one before it showed."""
        gated: list[Step] = []
        before = "results" if self._gates else "RUN_STARTED"
        for step in steps:
            self._gates[before] = Gate()
            gated += [self._gates[before], step]
            before = _shown_by(step)
        self._gates[before] = Gate()
        return [*gated, self._gates[before]]


def _shown_by(step: Step) -> str:
    match step:
        case Text():
            return step.text
        case Call():
            return step.id
        case Args():
            return step.args
    raise AssertionError(step)


def _mark(event: Event) -> str:
    """What tells an event from the others of the scene."""
    match event.type.value:
        case "TEXT_MESSAGE_CONTENT" | "TOOL_CALL_ARGS":
            return str(getattr(event, "delta", ""))
        case "TOOL_CALL_START":
            return str(getattr(event, "tool_call_id", ""))
        case name:
            return name


# --- what must have been kept ------------------------------------------------------------------


def assert_kept(
    scene: Scene, heard: Heard, messages: Sequence[AnyMessage], *, told_all: bool
) -> None:
    """What was told is kept, complete calls have an answer, incomplete ones are nowhere.

    `told_all`: the reader stayed to the end, and so must have been told every answer.
    """
    questions = [m.text for m in messages if isinstance(m, HumanMessage)]
    has_begun = any(event.type.value == "RUN_STARTED" for event in heard.events)
    assert questions == ["go"] or (not has_begun and questions == [])
    said = {m.id: m.text for m in messages if isinstance(m, AIMessage)}
    for message_id, text in heard.texts.items():
        # A reader that left may have missed an event that was on its way.
        assert not text.strip() or said[message_id].startswith(text)
        assert not told_all or said.get(message_id, "") == text
    answers = answers_in_order(messages)
    for call_id, call in heard.calls.items():
        answer = answers.pop(call_id, None)
        if call.result is not None:
            assert answer is not None
            assert (answer.id, answer.content) == (call.result_id, call.result)
            continue
        assert not (told_all and answer), f"the answer to {call_id} was never told"
        if _is_json(call.args):
            assert answer is not None, f"{call_id} was complete"
        elif scene.held:
            assert answer is None, f"{call_id} was not complete"
        if answer is not None and not scene.may_have_ended(call.name):
            assert "cancelled" in str(answer.content).lower()
    assert not (told_all and answers), f"nobody was told of {answers}"


def answers_in_order(messages: Sequence[AnyMessage]) -> dict[str, ToolMessage]:
    """The answers by call; each stands directly after the message with its call, once."""
    answers: dict[str, ToolMessage] = {}
    waiting: set[str | None] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in waiting, f"{message.tool_call_id} is answered twice"
            waiting.remove(message.tool_call_id)
            answers[message.tool_call_id] = message
        else:
            assert not waiting, f"not answered: {waiting}"
            if isinstance(message, AIMessage):
                waiting = {call["id"] for call in message.tool_calls}
    assert not waiting, f"not answered: {waiting}"
    return answers


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
