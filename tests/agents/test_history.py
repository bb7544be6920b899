"""Turns of an application that keeps the messages itself: the model's memory follows its tree."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ag_ui.core import ResumeEntry, RunErrorEvent, ToolCallResultEvent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage

from llmkeep.agents import Turn, thread_of
from llmkeep.agents.answers import LOST, PASSED_OVER, answer_to
from llmkeep.agents.history import asked, sound
from llmkeep.agents.memory import ConversationMemory
from llmkeep.agents.sqlite_memory import SqliteMemory
from llmkeep.settings import settings
from tests.agents.application import Application, drained
from tests.agents.events import kinds
from tests.support.scripted import Asked, Scripted
from tests.support.scripted_agent import Agent
from tests.support.scripted_site import Site
from tests.support.scripted_steps import Steps, noticed
from tests.support.scripted_talk import kept
from tests.support.scripted_wire import Args, Broken, Call, Failure, Gate, Text, Thinking, Usage


class Remembering(Agent):
    """The agent with tools, and a memory of the test's."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        super().__init__("u", None)

    @property
    def checkpointer(self):
        return self._memory


@pytest.fixture
def application(wire: str, scripted: Scripted) -> Application:
    return Application(Agent("u", None))


def told(request: Asked) -> list[str]:
    """What the model was told, block by block, without the prompt."""
    texts: list[str] = []
    for message in request.messages:
        content: Any = message["content"] or ""
        if message["role"] != "system":
            blocks = [{"text": content}] if isinstance(content, str) else content
            texts += [block.get("text") or json.dumps(block) for block in blocks]
    return texts


def end_of(heard: Any) -> Any:
    return heard.events[-1]


async def forget(application: Application) -> None:
    """Lose what is stored for the model."""
    await application.agent.checkpointer.adelete_thread(thread_of("u", "s"))


async def assert_follows(application: Application) -> None:
    """What is stored for the model is the application's path, and each call has its answer."""
    path, added = sound(
        application.path(application.head), lambda call: answer_to(call, "", "error")
    )
    assert added == []
    stored = await kept(application.agent)
    assert [(each.id, each.text) for each in stored] == [(each.id, each.text) for each in path]


# --- where the memory goes on --------------------------------------------------------------------


async def test_a_conversation_goes_on_without_its_history_being_asked_for(application, scripted):
    """As long as what is stored ends at the head, nothing is loaded."""
    scripted.say(Text("Hel"), Text("lo."))
    scripted.say(Text("Let me see."), Call(0, "c1", "add", '{"a": 1, "b": 2}'))
    scripted.say(Text("Three."))
    assert (await application.say("hello")).text == "Hello."
    heard = await application.say("1 + 2?", "please", run_id="my run")
    assert heard.text == "Let me see.Three."
    assert {heard.events[0].run_id, end_of(heard).run_id} == {"my run"}
    assert [call.parent for call in heard.calls.values()] == [next(iter(heard.texts))]
    assert application.loaded == []
    assert told(scripted.asked[1]) in (
        ["hello", "Hello.", "1 + 2?", "please"],
        ["hello", "Hello.", "1 + 2?\nplease"],
    )
    await assert_follows(application)


async def test_a_turn_that_goes_on_reads_the_store_as_often_as_a_message(wire, scripted):
    """What the application keeps costs the memory nothing."""

    class Counting(ConversationMemory):
        reads = 0

        async def aget_tuple(self, config):
            self.reads += 1
            return await super().aget_tuple(config)

    scripted.answers = lambda _asked: [Text("Yes.")]
    counts = []
    memory = Counting()
    agent = Remembering(memory)
    application = Application(agent)
    await application.say("one")
    for turn in (application.say("two"), drained(agent.stream_response("three", "s"))):
        before = memory.reads
        await turn
        counts.append(memory.reads - before)
    assert counts[0] == counts[1]
    memory.close()


@pytest.mark.parametrize("how", [Broken.RESET, Failure("overloaded")])
async def test_a_message_whose_answer_failed_is_answered_again(how, application, scripted):
    """A retry asks the model once more, with the message in its place once."""
    scripted.say(how)
    scripted.say(Text("Here."))
    failed = await application.say("hello")
    assert isinstance(end_of(failed), RunErrorEvent)
    assert (await application.redo()).text == "Here."
    assert told(scripted.asked[-1]) == ["hello"]
    assert application.loaded == []
    await assert_follows(application)


async def test_there_is_nothing_to_answer_behind_an_answer(application, scripted):
    """A turn without a message, behind the model's own, is refused, whatever is stored."""
    scripted.say(Text("Hello."))
    await application.say("hello")
    for _ in range(2):
        heard = await application.redo()
        assert kinds(heard.events) == ["RUN_ERROR"]
        assert end_of(heard).code == "nothing_to_answer"
        await forget(application)
    assert kinds(await drained(application.agent.run(Turn(), "new"))) == ["RUN_ERROR"]
    assert len(scripted.asked) == 1


async def test_text_that_no_wire_takes_is_mended(application, scripted):
    """Halves of characters in a message, also in a part of one, do not poison the conversation."""
    scripted.answers = lambda _asked: [Text("Yes.")]
    await application.say("half \ud83d")
    part = HumanMessage([{"type": "text", "text": "part \ude00"}], id="parts")
    await application.read(replace(application.turn([], application.head), messages=[part]))
    assert told(scripted.asked[-1]) == ["half \ufffd", "Yes.", "part \ufffd"]


# --- where it is made anew -----------------------------------------------------------------------


async def test_an_edit_drops_what_followed(application, scripted):
    """A new message under an earlier one, or at the root, makes the model forget the rest."""
    for text in ("One.", "Two.", "Other.", "Anew."):
        scripted.say(Text(text))
    await application.say("one")
    first = application.head
    await application.say("two")
    await application.say("not two", under=first)
    assert application.loaded == [first]
    assert told(scripted.asked[-1]) == ["one", "One.", "not two"]
    await assert_follows(application)
    await application.say("anew", under=None)
    assert application.loaded == [first]  # before the first message is nothing to load
    assert told(scripted.asked[-1]) == ["anew"]
    await assert_follows(application)


async def test_a_regeneration_answers_the_message_anew(application, scripted):
    """The model is asked as it was, and both answers are kept beside each other."""
    for text in ("One.", "Two.", "Two again."):
        scripted.say(Text(text))
    await application.say("one")
    await application.say("two")
    question = application.rows[application.head].parent
    assert (await application.redo(question)).text == "Two again."
    assert told(scripted.asked[-1]) == told(scripted.asked[-2]) == ["one", "One.", "two"]
    answers = [row.content for row in application.rows.values() if row.parent == question]
    assert answers == ["Two.", "Two again."]
    await assert_follows(application)


async def test_another_branch_and_back(application, scripted):
    """Whichever branch is talked on, the model knows that one alone."""
    for text in ("One.", "Left.", "Right.", "Left on.", "Right on."):
        scripted.say(Text(text))
    await application.say("one")
    root = application.head
    await application.say("left", under=root)
    left = application.head
    await application.say("right", under=root)
    right = application.head
    await application.say("go on left", under=left)
    assert told(scripted.asked[-1]) == ["one", "One.", "left", "Left.", "go on left"]
    await application.say("go on right", under=right)
    assert told(scripted.asked[-1]) == ["one", "One.", "right", "Right.", "go on right"]
    assert application.loaded == [root, left, right]
    await assert_follows(application)


async def test_ids_that_a_provider_repeats_are_no_ids_of_another_branch(application, scripted):
    """A message or a call is never named like one that the model has forgotten: fold would mix."""
    for _ in range(3):
        scripted.say(Text("See."), Call(0, "c1", "add", '{"a": 1}'))
        scripted.say(Text("Done."))
    await application.say("one", under=None)
    await application.say("two", under=None)
    await application.redo(application.path(application.head)[0].id)
    assert sum(row.content == "See." for row in application.rows.values()) == 3
    assert sum(row.content == "1" for row in application.rows.values()) == 3
    await assert_follows(application)


async def test_a_lost_memory_is_made_anew(application, scripted):
    """Calls that went side by side have their answers behind them, in whichever order they came."""
    late, early = Call(0, "c1", "add", '{"a": 1}'), Call(1, "c2", "shout", '{"text": "a"}')
    scripted.say(Text("See."), late, early)
    scripted.say(Text("Done."))
    scripted.say(Text("Again."), Call(0, "c1", "now"))  # which is none that is free
    scripted.say(Text("Still here."))
    await application.say("both")
    answers = [row for row in application.rows.values() if row.role == "tool"]
    first, second = answers
    first.parent, second.parent = second.id, first.parent  # as if they had come the other way
    application.rows[application.head].parent = first.id
    await forget(application)
    await application.say("and now?")
    assert len(application.loaded) == 1
    assert "Done." in told(scripted.asked[-1])
    await assert_follows(application)


async def test_two_memories_of_one_tree(wire, scripted, tmp_path: Path):
    """Where each run may meet another memory, each catches up before it answers."""
    scripted.answers = lambda asked: [Text(f"Answer {len(told(asked))}.")]
    memories = [SqliteMemory(tmp_path / f"{name}.db") for name in "ab"]
    agents = [Remembering(memory) for memory in memories]
    application = Application(agents[0])
    for number in range(5):
        application.agent = agents[number % 2]
        await application.say(f"message {number}")
        assert len(told(scripted.asked[-1])) == 2 * number + 1
        await assert_follows(application)
    assert len(application.loaded) == 4
    for memory in memories:
        await memory.aclose()


async def test_what_a_conversation_has_spent_outlives_a_rebuild(application, scripted):
    """Tokens of branches that are left count, too."""
    for _ in range(2):
        scripted.say(Text("One."), Usage(100, 10))
    await application.say("one")
    heard = await application.say("other", under=None)
    assert end_of(heard).metadata["conversationUsage"]["total_tokens"] == 220


async def test_a_summary_does_not_make_it_another_history(llmock):
    """What is stored is shorter than the tree, ends where it ends, and is kept."""
    settings.agents.context_strategy, settings.agents.context_tokens = "summarize", 1000
    application = Application(Agent("u", None))
    llmock.reply("So it is. " * 20, times=None)
    for _ in range(8):
        await application.say("tell me more " * 20)
    stored = await kept(application.agent)
    assert stored[0].additional_kwargs["lc_source"] == "summarization"
    assert application.loaded == []


@pytest.mark.parametrize("wire", ["anthropic"], indirect=True)
async def test_what_a_model_thought_is_kept_until_a_rebuild(application, scripted):
    """Blocks of a provider's own are not in the tree: made anew, the memory has text alone."""
    for _ in range(3):
        scripted.say(Thinking("Hm.", "signed"), Text("So."))
    await application.say("one")
    first = application.head
    await application.say("two")
    assert "signed" in json.dumps(scripted.asked[-1].messages)
    await application.say("other", under=first)
    assert "signed" not in json.dumps(scripted.asked[-1].messages)


# --- calls without an answer ---------------------------------------------------------------------


def answers_in(heard: Any) -> dict[str, tuple[str, str]]:
    """Status and text of the results that were told, by call; each is told once."""
    told = [event for event in heard.events if isinstance(event, ToolCallResultEvent)]
    found = {e.tool_call_id: ((e.metadata or {})["status"], str(e.content)) for e in told}
    assert len(found) == len(told)
    return found


async def died_in_the_middle(application: Application, scripted: Scripted) -> None:
    """The history ends in two calls without an answer, and there is no memory of them."""
    scripted.say(Text("See."), Call(0, "c1", "add", '{"a": 1}'), Call(1, "c2", "now"))
    scripted.say(Text("Done."))
    await application.say("go")
    lost = [row.id for row in application.rows.values() if row.role == "tool"]
    lost += [row.id for row in application.rows.values() if row.content == "Done."]
    for name in lost:
        del application.rows[name]
    application.head = next(row.id for row in application.rows.values() if row.calls)
    await forget(application)


async def test_calls_that_a_crash_left_open_are_answered_and_told(application, scripted):
    """The application learns of every answer that was made up, so that the next run agrees."""
    await died_in_the_middle(application, scripted)
    scripted.say(Text("Here."))
    heard = await application.say("next")
    assert kinds(heard.events)[:3] == ["RUN_STARTED", "TOOL_CALL_RESULT", "TOOL_CALL_RESULT"]
    assert answers_in(heard) == {"c1": ("cancelled", LOST), "c2": ("cancelled", LOST)}
    await forget(application)
    scripted.say(Text("Still."))
    assert answers_in(await application.say("more")) == {}
    await assert_follows(application)


async def test_a_history_that_ends_in_open_calls_can_be_gone_on_with(application, scripted):
    """Without a new message the model reads that they were lost, and says what it makes of it."""
    await died_in_the_middle(application, scripted)
    scripted.say(Text("They were lost."))
    assert (await application.redo()).text == "They were lost."
    await assert_follows(application)


async def test_the_application_may_have_answered_what_the_memory_has_not(application, scripted):
    """Its history is the truth: the memory is made anew from it, and nothing more is told."""
    scripted.say(Call(0, "c1", "add", '{"a": 1}'), gate := Gate())
    scripted.say(Text("Done."))
    stream = application.agent.run(application.turn(["go"], None), "s")
    async with aclosing(stream):
        async for event in stream:
            application.fold(event)
            if event.type.value == "TOOL_CALL_ARGS":
                gate.opened.set()
            if event.type.value == "TOOL_CALL_RESULT":
                break
    [answer] = [row for row in application.rows.values() if row.role == "tool"]
    await forget(application)
    answer.content = "It ended with the server."
    scripted.reset()
    scripted.say(Text("Here."))
    heard = await application.say("next")
    assert answers_in(heard) == {}
    assert "It ended with the server." in json.dumps(scripted.asked[-1].messages)


@pytest.mark.parametrize("known", [1, 2])
async def test_of_several_results_an_application_may_know_the_last_alone(
    known, application, scripted
):
    """After a run that was cut: what it does not know is told as lost, and the model agrees."""
    scripted.say(Call(0, "c1", "add", '{"a": 1}'), Call(1, "c2", "add", '{"a": 2}'))
    scripted.say(Broken.RESET)
    await application.say("go")
    assert isinstance((await kept(application.agent))[-1], ToolMessage)
    if known == 1:
        parent = application.rows.pop("c1").parent
        application.rows["c2"].parent, application.head = parent, "c2"
        application.is_cut = True
    scripted.say(Text("Here."))
    heard = await application.say("next")
    assert answers_in(heard) == ({"c1": ("cancelled", LOST)} if known == 1 else {})
    await assert_follows(application)


async def test_a_stop_leaves_what_the_next_turn_goes_on_from(application, scripted):
    """Text that was cut is in both, under one id; a call that had not come whole is in neither."""
    scripted.say(Text("Half an "), Call(0, "c1", "add", '{"a":'), gate := Gate(), Args(0, " 1}"))
    stream = application.agent.run(application.turn(["go"], None), "s")
    async with aclosing(stream):
        async for event in stream:
            application.fold(event)
            if event.type.value == "TOOL_CALL_ARGS":
                application.agent.stop("s")
    gate.opened.set()
    del application.rows[application.head].calls["c1"]
    scripted.say(Text("Here."))
    await application.say("next")
    assert application.loaded == []
    await assert_follows(application)


# --- approvals -----------------------------------------------------------------------------------


def site_of(scripted: Scripted) -> Site:
    site = Site("u")
    site.looked.set()
    site.done.set()
    scripted.answers = site.answer_to
    return site


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_turn_is_no_to_all_that_waits(elsewhere, wire, scripted):
    """Also where it hangs on another branch; a yes that comes later does nothing."""
    site = site_of(scripted)
    application = Application(site.handler)
    [waiting] = end_of(await application.say("go")).outcome.interrupts
    heard = await application.say("next", under=None if elsewhere else application.head)
    assert answers_in(heard) == {"c-dig": ("declined", PASSED_OVER)}
    assert heard.text == "fine"
    assert len(application.loaded) == 0
    assert site.dug == []
    yes = ResumeEntry(interrupt_id=waiting.id, status="resolved", payload={"approved": True})
    assert end_of(await application.read([yes])).code == "not_waiting"
    assert site.dug == []


async def test_a_run_that_goes_on_gives_no_id_of_another_branch(wire, scripted):
    """The ids that an application has elsewhere are said beside its answers."""
    site = site_of(scripted)
    application = Application(site.handler)
    [waiting] = end_of(await application.say("go")).outcome.interrupts
    yes = ResumeEntry(interrupt_id=waiting.id, status="resolved", payload={"approved": True})
    scripted.say(Call(0, "c-elsewhere", "look"))
    heard = await application.read([yes], taken={"c-elsewhere"}, run_id="r2")
    assert heard.text == "It is done."
    assert site.dug == [3]
    assert heard.calls.keys() >= {"c-dig"}
    assert "c-elsewhere" not in heard.calls
    assert end_of(heard).run_id == "r2"
    await assert_follows(application)


# --- what goes wrong in between ------------------------------------------------------------------


async def test_a_history_that_cannot_be_loaded_changes_nothing(application, scripted):
    """The run fails with a line, and the next one goes on with what was stored."""
    scripted.say(Text("One."))
    await application.say("one")
    before = await kept(application.agent)

    async def load() -> list[BaseMessage]:
        raise OSError("the disk is gone")

    heard = await application.read(Turn([HumanMessage("x", id="x")], "elsewhere", load))
    assert kinds(heard.events) == ["RUN_ERROR"]
    assert await kept(application.agent) == before


async def test_a_stop_while_the_history_is_loaded_changes_nothing(application, scripted):
    """It ends at once, before it began, with the code cancelled."""
    scripted.say(Text("One."))
    await application.say("one")
    before = await kept(application.agent)
    loading = Gate()

    async def load() -> list[BaseMessage]:
        loading.reached.set()
        await loading.opened.come()
        return []

    reading = asyncio.create_task(
        drained(application.agent.run(Turn([HumanMessage("x", id="x")], "elsewhere", load), "s"))
    )
    await loading.reached.come()
    assert application.agent.stop("s")
    [end] = await reading
    assert isinstance(end, RunErrorEvent)
    assert end.code == "cancelled"
    assert await kept(application.agent) == before


async def test_a_stop_at_every_step_of_a_rebuild_leaves_one_history_or_the_other(
    application, scripted
):
    """Never a part of both, and the same turn again is answered."""
    scripted.answers = lambda _asked: [Text("Yes.")]
    await application.say("one")
    first, number, was_cancelled = application.head, 0, True
    while was_cancelled:
        number += 1
        await application.say("two", under=first)
        old = [each.id for each in await kept(application.agent)]
        turn = application.turn([f"other {number}"], None)
        was_cancelled = await _cancelled_at(number, application, turn)
        stored = [each.id for each in await kept(application.agent)]
        assert stored == old or stored[0] == turn.messages[0].id
        application.head = turn.messages[-1].id
        assert (await application.redo()).text == "Yes."
        await assert_follows(application)
    assert number > 10


async def _cancelled_at(number: int, application: Application, turn: Turn) -> bool:
    """Whether the run takes so many steps, at which it is cancelled."""

    async def read() -> None:
        async with aclosing(application.agent.run(turn, "s")) as stream:
            async for event in stream:
                application.fold(event)

    steps = Steps({number: lambda: reading.cancel()})
    with noticed(steps.next):
        reading = asyncio.create_task(read())
        await asyncio.wait({reading})
    return steps.has_acted


def test_of_a_message_in_parts_the_texts_are_mended():
    """What is no text stays as it is, and a message without an id gets one."""
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    [message] = asked([HumanMessage([image, "\ud83d", {"type": "text", "text": "\ud83d"}])])
    assert message.content == [image, "\ufffd", {"type": "text", "text": "\ufffd"}]
    assert message.id


def test_a_turn_behind_others_says_how_to_have_them():
    """Or a lost memory would leave the model with nothing, and nobody would notice."""
    with pytest.raises(ValueError, match="load"):
        Turn([HumanMessage("x", id="x")], "elsewhere")


# --- making it sound -----------------------------------------------------------------------------


def call(name: str) -> ToolCall:
    return ToolCall(type="tool_call", name="add", args={}, id=name)


def test_answers_stand_behind_their_calls_and_nothing_else_does():
    """Whatever order a history has, every provider takes what comes of it."""
    both = AIMessage(" ", id="a", tool_calls=[call("1"), call("2")])
    two = ToolMessage("two", id="2", tool_call_id="2")
    history = [
        HumanMessage("q", id="q"),
        ToolMessage("nobody's", id="9", tool_call_id="9"),
        both,
        HumanMessage("r", id="r"),
        two,
        AIMessage(" ", id="empty"),
        AIMessage("done", id="b"),
    ]
    path, added = sound(history, lambda each: answer_to(each, "made up", "cancelled"))
    assert [each.id for each in path] == ["q", "a", "1", "2", "r", "b"]
    assert [each.id for each in added] == ["1"]
    assert path[3] is two
