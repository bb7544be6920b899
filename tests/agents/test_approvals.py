"""Tools that need approval: the run ends as an interrupt, and goes on as the person says."""

from __future__ import annotations

import asyncio
import copy
from contextlib import aclosing, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ag_ui.core import (
    Event,
    Interrupt,
    ResumeEntry,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    ToolCallResultEvent,
)
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from llmock.scenarios import Reply, ToolCall

from llmkeep.agents import StatefulAgent
from llmkeep.agents.run import RunInterrupted
from llmkeep.agents.sqlite_memory import SqliteMemory
from llmkeep.agents.tools import needs_approval
from llmkeep.settings import settings
from tests.agents.events import assert_well_formed, kinds

removed: list[str] = []
looked: list[str] = []


@needs_approval
@tool
def remove(path: str) -> str:
    """Remove a file."""
    removed.append(path)
    return f"removed {path}"


@tool
async def look(path: str) -> str:
    """Look at a file."""
    looked.append(path)
    return f"{path} is empty"


class Clerk(StatefulAgent):
    """May look without asking."""

    @property
    def tools(self) -> list[BaseTool]:
        return [remove, look]


@pytest.fixture(autouse=True)
def nothing_done():
    removed.clear()
    looked.clear()


async def read(stream) -> list[Event]:
    async with aclosing(stream):
        events = [event async for event in stream]
    assert_well_formed(events, goes_on=True)
    return events


def waiting(events: list[Event]) -> list[Interrupt]:
    last = events[-1]
    assert isinstance(last, RunFinishedEvent), last
    assert isinstance(last.outcome, RunFinishedInterruptOutcome), last
    return last.outcome.interrupts


def results(events: list[Event]) -> dict[str, tuple[str, str]]:
    return {
        event.tool_call_id: ((event.metadata or {})["status"], str(event.content))
        for event in events
        if isinstance(event, ToolCallResultEvent)
    }


def yes(one: Interrupt, **more: object) -> ResumeEntry:
    return ResumeEntry(interrupt_id=one.id, status="resolved", payload={"approved": True, **more})


def no(one: Interrupt) -> ResumeEntry:
    return ResumeEntry(interrupt_id=one.id, status="resolved", payload={"approved": False})


async def ask_to_remove(llmock, agent: StatefulAgent, *paths: str) -> list[Interrupt]:
    """A turn in which the model wants to remove these; gives what waits."""
    llmock.add(Reply(tool_calls=tuple(ToolCall("remove", {"path": path}) for path in paths)))
    events = await read(agent.stream_response("remove them", "s"))
    assert removed == []
    return waiting(events)


async def test_a_marked_call_waits_and_its_neighbour_does_not(llmock):
    """One interrupt for each call that waits, with what a person needs to decide."""
    calls = [ToolCall("look", {"path": "a"}), ToolCall("remove", {"path": "b"})]
    llmock.add(Reply(tool_calls=tuple(calls)))
    events = await read(Clerk("u", None).stream_response("go", "s"))
    [one] = waiting(events)
    assert one.reason == "tool_call"
    assert one.metadata == {"name": "remove", "args": {"path": "b"}}
    assert one.expires_at is not None
    assert datetime.fromisoformat(one.expires_at) > datetime.now(UTC)
    assert [content for _, content in results(events).values()] == ["a is empty"]
    assert one.tool_call_id not in results(events)
    assert (removed, looked) == ([], ["a"])


async def test_a_yes_goes_on_with_the_call(llmock):
    agent = Clerk("u", None)
    [one] = await ask_to_remove(llmock, agent, "a")
    llmock.reply("It is gone.")
    events = await read(agent.resume([yes(one)], "s"))
    assert results(events) == {one.tool_call_id: ("success", "removed a")}
    assert kinds(events)[:2] == ["RUN_STARTED", "TOOL_CALL_RESULT"]
    assert removed == ["a"]
    assert looked == []


async def test_a_no_is_an_answer_that_the_model_reads(llmock):
    agent = Clerk("u", None)
    [one] = await ask_to_remove(llmock, agent, "a")
    llmock.reply("As you like.")
    events = await read(agent.resume([no(one)], "s"))
    [(status, content)] = results(events).values()
    assert status == "declined"
    assert "declined" in content
    assert removed == []
    assert "declined" in str(llmock.requests[-1].body)


async def test_edited_arguments_are_what_is_called(llmock):
    """And the model reads that it was another call."""
    agent = Clerk("u", None)
    [one] = await ask_to_remove(llmock, agent, "a")
    llmock.reply("Done.")
    events = await read(agent.resume([yes(one, args={"path": "b"})], "s"))
    assert removed == ["b"]
    [(_, content)] = results(events).values()
    assert content.startswith('The user changed the arguments to {"path": "b"}.')


async def test_a_plain_message_counts_as_no_and_goes_on(llmock):
    agent = Clerk("u", None)
    first, second = await ask_to_remove(llmock, agent, "a", "b")
    llmock.reply("Fine.")
    events = await read(agent.stream_response("leave it", "s"))
    assert {status for status, _ in results(events).values()} == {"declined"}
    assert set(results(events)) == {first.tool_call_id, second.tool_call_id}
    assert kinds(events)[-1] == "RUN_FINISHED"
    late = await read(agent.resume([yes(first)], "s"))
    assert kinds(late) == ["RUN_ERROR"]
    assert removed == []


async def test_what_is_not_answered_goes_on_waiting(llmock):
    agent = Clerk("u", None)
    first, second = await ask_to_remove(llmock, agent, "a", "b")
    [still] = waiting(await read(agent.resume([yes(first)], "s")))
    assert (still.id, still.tool_call_id) == (second.id, second.tool_call_id)
    assert removed == ["a"]
    llmock.reply("Both.")
    await read(agent.resume([yes(still)], "s"))
    assert removed == ["a", "b"]


async def test_a_yes_executes_once_whoever_says_it_twice(llmock):
    agent, other = Clerk("u", None), Clerk("u", None)
    [one] = await ask_to_remove(llmock, agent, "a")
    llmock.reply("Gone.")
    ends = await asyncio.gather(
        read(agent.resume([yes(one)], "s")), read(other.resume([yes(one)], "s"))
    )
    assert removed == ["a"]
    [error] = [events[-1] for events in ends if isinstance(events[-1], RunErrorEvent)]
    assert "no longer" in error.message
    assert error.code == "not_waiting"


async def test_an_answer_that_is_neither_yes_nor_no_changes_nothing(llmock):
    agent = Clerk("u", None)
    [one] = await ask_to_remove(llmock, agent, "a")
    entry = ResumeEntry(interrupt_id=one.id, status="resolved", payload="perhaps")
    assert kinds(await read(agent.resume([entry], "s"))) == ["RUN_ERROR"]
    assert kinds(await read(agent.resume([], "s"))) == ["RUN_ERROR"]
    llmock.reply("Gone.")
    await read(agent.resume([yes(one)], "s"))
    assert removed == ["a"]


async def test_an_abandoned_interrupt_counts_as_no(llmock):
    agent = Clerk("u", None)
    [one] = await ask_to_remove(llmock, agent, "a")
    llmock.reply("As you like.")
    entry = ResumeEntry(interrupt_id=one.id, status="cancelled")
    events = await read(agent.resume([entry], "s"))
    assert [status for status, _ in results(events).values()] == ["declined"]
    assert removed == []


async def test_waiting_expires(llmock):
    settings.agents.approval_timeout = 0.001
    agent = Clerk("u", None)
    [one] = await ask_to_remove(llmock, agent, "a")
    llmock.reply("Too late.")
    events = await read(agent.resume([yes(one)], "s"))
    [(status, content)] = results(events).values()
    assert (status, "in time" in content) == ("declined", True)
    assert removed == []


@pytest.mark.parametrize("names", [("look",), ("*",)])
async def test_settings_name_tools_that_need_approval(llmock, names):
    settings.agents.approve_tools = names
    llmock.add(Reply(tool_calls=(ToolCall("look", {"path": "a"}),)))
    [one] = waiting(await read(Clerk("u", None).stream_response("go", "s")))
    assert one.metadata == {"name": "look", "args": {"path": "a"}}
    assert looked == []


def test_waiting_survives_a_restart(llmock, tmp_path: Path):
    """Another handler, another loop, another opening of the file."""

    class Kept(Clerk):
        memory: SqliteMemory

        @property
        def checkpointer(self) -> SqliteMemory:
            return self.memory

    async def first() -> Interrupt:
        [one] = await ask_to_remove(llmock, Kept("u", None), "a")
        return one

    async def second(one: Interrupt) -> None:
        llmock.reply("Gone.")
        await read(Kept("u", None).resume([yes(one)], "s"))

    with closing(SqliteMemory(tmp_path / "memory.db")) as Kept.memory:
        one = asyncio.run(first())
    with closing(SqliteMemory(tmp_path / "memory.db")) as Kept.memory:
        asyncio.run(second(one))
    assert removed == ["a"]


async def test_a_stop_answers_what_waits_beside_it(llmock):
    """The step is over then, for all of its calls."""
    agent = Clerk("u", None)
    started = asyncio.Event()

    @tool
    async def dig() -> str:
        """Dig."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    class Digger(Clerk):
        @property
        def tools(self) -> list[BaseTool]:
            return [remove, needs_approval(dig)]

    agent = Digger("u", None)
    llmock.add(Reply(tool_calls=(ToolCall("remove", {"path": "a"}), ToolCall("dig", {}))))
    both = waiting(await read(agent.stream_response("go", "s")))
    digging = next(each for each in both if (each.metadata or {})["name"] == "dig")
    reading = asyncio.create_task(read(agent.resume([yes(digging)], "s")))
    await started.wait()
    assert agent.stop("s")
    events = await reading
    assert {status for status, _ in results(events).values()} == {"cancelled"}
    assert len(results(events)) == 2
    llmock.reply("Well.")
    assert kinds(await read(agent.stream_response("and now?", "s")))[-1] == "RUN_FINISHED"
    assert removed == []


async def test_a_no_is_a_no_where_nothing_needs_approval_any_more(llmock):
    """The call waited: that the settings say otherwise by now does not make it run."""
    settings.agents.approve_tools = ("look",)
    llmock.add(Reply(tool_calls=(ToolCall("look", {"path": "a"}),)))
    [one] = waiting(await read(Clerk("u", None).stream_response("go", "s")))
    settings.agents.approve_tools = ()
    llmock.reply("As you like.")
    events = await read(Clerk("u", None).resume([no(one)], "s"))
    assert [status for status, _ in results(events).values()] == ["declined"]
    assert looked == []


async def test_what_goes_on_waiting_expires_when_it_would_have(llmock):
    agent = Clerk("u", None)
    first, second = await ask_to_remove(llmock, agent, "a", "b")
    settings.agents.approval_timeout = 1e6
    [still] = waiting(await read(Clerk("u", None).resume([yes(first)], "s")))
    assert still.expires_at == second.expires_at


async def test_a_call_that_a_dead_run_had_begun_does_not_begin_again(llmock):
    """Its neighbour's answer goes on with the step, where it has no result, without it."""
    began, never = asyncio.Event(), asyncio.Event()

    @needs_approval
    @tool
    async def dig() -> str:
        """Dig."""
        removed.append("dug")
        began.set()
        await never.wait()
        return "never"

    class Digger(Clerk):
        @property
        def tools(self) -> list[BaseTool]:
            return [remove, dig]

    memory = InMemorySaver()

    class Dying(Digger):
        checkpointer = memory

    class Next(Digger):
        """Reads what was stored when the other one died."""

        checkpointer = InMemorySaver()

    llmock.add(Reply(tool_calls=(ToolCall("remove", {"path": "a"}), ToolCall("dig", {}))))
    both = waiting(await read(Dying("u", None).stream_response("go", "s")))
    digging, other = sorted(both, key=lambda each: (each.metadata or {})["name"])
    stream = Dying("u", None).resume([yes(digging)], "s")
    reading = asyncio.create_task(read(stream))
    await began.wait()
    Next.checkpointer.storage = copy.deepcopy(memory.storage)
    Next.checkpointer.writes = copy.deepcopy(memory.writes)
    Next.checkpointer.blobs = copy.deepcopy(memory.blobs)
    never.set()
    llmock.reply("Well.").reply("Well.")
    await reading
    events = await read(Next("u", None).resume([yes(other)], "s"))
    assert results(events)[other.tool_call_id or ""] == ("success", "removed a")
    assert results(events)[digging.tool_call_id or ""][0] == "cancelled"
    assert removed == ["dug", "a"]


async def test_a_tools_own_question_is_an_interrupt_too(llmock):
    @tool
    async def choose() -> str:
        """Let the user choose."""
        return f"the user chose {interrupt('Red or blue?')}"

    class Asking(StatefulAgent):
        @property
        def tools(self) -> list[BaseTool]:
            return [choose]

    agent = Asking("u", None)
    llmock.add(Reply(tool_calls=(ToolCall("choose", {}),)))
    [one] = waiting(await read(agent.stream_response("go", "s")))
    assert (one.reason, one.message) == ("input", "Red or blue?")
    llmock.reply("Blue it is.")
    entry = ResumeEntry(interrupt_id=one.id, status="resolved", payload="blue")
    events = await read(agent.resume([entry], "s"))
    assert [content for _, content in results(events).values()] == ["the user chose blue"]


async def test_respond_says_that_something_waits(llmock):
    llmock.add(Reply(tool_calls=(ToolCall("remove", {"path": "a"}),)))
    with pytest.raises(RunInterrupted, match="resume"):
        await Clerk("u", None).respond("go", "s")
