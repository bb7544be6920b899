"""Many conversations at once, and many messages at once in one conversation."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import tool

from llmkeep.agents import ConversationHandler
from tests.agents.loops import PATIENCE, on_loops_at_once
from tests.support.scripted import Asked, Scripted
from tests.support.scripted_steps import turns_of_the_loop
from tests.support.scripted_talk import ask, kept
from tests.support.scripted_wire import Answer, Args, Call, Gate, Text

CONVERSATIONS, LOOPS, TURNS = 200, 4, 2

MODELS = ("openai:gpt-5-mini", "anthropic:claude-haiku-4-5")

#: What a question looks like: whose it is, and which turn's.
TAG = re.compile(r"question-(\d+)-(\d+)")


@tool
async def look_up(tag: str) -> str:
    """Look something up."""
    await asyncio.sleep(0)
    return f"found {tag}"


@tool
def compute(tag: str) -> str:
    """Compute something; synchronous."""
    return f"computed {tag}"


class Agent(ConversationHandler):
    @property
    def tools(self):
        return (look_up, compute)


class OfEither(Agent):
    """Every other user's is of the other provider."""

    def _get_default_model(self) -> str:
        return MODELS[int(self.user_id) % 2]


def _calls_then_answers(asked: Asked) -> Answer:
    """Two calls for each question, then an answer that quotes what they gave."""
    body = json.dumps(asked.messages)
    owner, turn = TAG.findall(body)[-1]
    tag = f"{owner}-{turn}"
    found = [f"{verb} {tag}" for verb in ("found", "computed") if f"{verb} {tag}" in body]
    if found:
        return [Text(f"answer-{tag}: "), Text(" and ".join(found))]
    arguments = json.dumps({"tag": tag})
    return [
        Call(0, f"a-{tag}", "look_up"),
        Call(1, f"b-{tag}", "compute"),
        Args(0, arguments[:6]),
        Args(1, arguments[:9]),
        Args(0, arguments[6:]),
        Args(1, arguments[9:]),
    ]


def test_200_conversations_on_four_loops(scripted: Scripted):
    """Each gets its own answers, its own tools' results and its own memory, and none is lost."""
    scripted.answers = _calls_then_answers

    async def converse(owner: int) -> None:
        handler = await OfEither.create(owner, None)
        for turn in range(TURNS):
            heard = await ask(handler, f"question-{owner}-{turn}", "s")
            tag = f"{owner}-{turn}"
            assert heard.text == f"answer-{tag}: found {tag} and computed {tag}"
            results = {call.name: call.result for call in heard.calls.values()}
            assert results == {"look_up": f"found {tag}", "compute": f"computed {tag}"}

    async def talk(loop: int) -> None:
        mine = range(loop * CONVERSATIONS // LOOPS, (loop + 1) * CONVERSATIONS // LOOPS)
        await asyncio.gather(*(converse(owner) for owner in mine))

    on_loops_at_once(talk, LOOPS)
    assert len(scripted.asked) == CONVERSATIONS * TURNS * 2
    for asked in scripted.asked:
        tags = TAG.findall(json.dumps(asked.messages))
        assert len({owner for owner, _ in tags}) == 1
        assert [int(turn) for _, turn in tags] == list(range(len(tags)))


# --- one conversation -------------------------------------------------------------------------


def _echo(asked: Asked) -> Answer:
    return [Text("answer to "), Text(_last_question(asked))]


def _last_question(asked: Asked) -> str:
    content = asked.messages[-1]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def _pairs(messages: Sequence[AnyMessage]) -> list[str]:
    """The questions; each must be followed by its own answer."""
    assert [m.type for m in messages] == ["human", "ai"] * (len(messages) // 2)
    questions = [str(m.text) for m in messages if isinstance(m, HumanMessage)]
    answers = [str(m.text) for m in messages if isinstance(m, AIMessage)]
    assert answers == [f"answer to {question}" for question in questions]
    return questions


async def test_messages_at_once_on_one_loop_are_taken_in_order(wire: str, scripted: Scripted):
    """The turns are all there, in the order in which they were asked for."""
    scripted.answers = _echo
    handler = Agent("u", None)
    questions = [f"question {n}" for n in range(8)]
    await asyncio.gather(*(ask(handler, question) for question in questions))
    assert _pairs(await kept(handler)) == questions


def test_messages_at_once_from_several_loops_are_all_there(scripted: Scripted):
    """No turn is lost, whichever thread, loop and handler it comes from."""
    scripted.answers = _echo
    gate = threading.Barrier(8)

    def say(question: str) -> None:
        gate.wait(PATIENCE)
        asyncio.run(_said(Agent("u", None), question))

    questions = [f"question {n}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for running in [pool.submit(say, question) for question in questions]:
            running.result(PATIENCE)
    assert sorted(_pairs(asyncio.run(kept(Agent("u", None))))) == questions


async def _said(handler: ConversationHandler, question: str) -> None:
    assert (await ask(handler, question)).text == f"answer to {question}"


async def test_a_second_message_waits_for_the_first_on_another_loop(wire: str, scripted: Scripted):
    """While the first is answered the second asks nobody; then it sees the first."""
    held = Gate()
    scripted.say(Text("answer to "), held, Text("first"))
    scripted.answers = _echo
    first = asyncio.create_task(ask(Agent("u", None), "first"))
    await held.reached.come()
    running = threading.Event()

    def other_loop() -> None:
        running.set()
        asyncio.run(_said(Agent("u", None), "second"))

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(other_loop)
        running.wait(PATIENCE)
        other = asyncio.create_task(ask(Agent("u", None), "elsewhere", "another session"))
        assert (await other).text == "answer to elsewhere"  # nobody else waits
        assert not second.done()
        held.opened.set()
        await first
        await asyncio.wrap_future(second)
    assert _pairs(await kept(Agent("u", None))) == ["first", "second"]


async def test_a_message_that_gave_up_waiting_is_not_asked(wire: str, scripted: Scripted):
    """It passes its turn on, and leaves nothing in the conversation."""
    held = Gate()
    scripted.say(Text("answer to "), held, Text("first"))
    scripted.answers = _echo
    handler = Agent("u", None)
    first = asyncio.create_task(ask(handler, "first"))
    await held.reached.come()
    waiting = asyncio.create_task(ask(handler, "second"))
    third = asyncio.create_task(ask(handler, "third"))
    await turns_of_the_loop()
    waiting.cancel()
    await asyncio.wait({waiting})
    held.opened.set()
    await first
    await third
    assert _pairs(await kept(handler)) == ["first", "third"]


async def test_a_stream_nobody_began_to_read_holds_no_turn(scripted: Scripted):
    """A message whose events are not asked for stands in nobody's way."""
    scripted.answers = _echo
    handler = Agent("u", None)
    async with aclosing(handler.stream_response("never read", "s")):
        await _said(handler, "first")
    assert _pairs(await kept(handler)) == ["first"]
