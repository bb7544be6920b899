"""A process that is killed in the middle of a turn: the next one goes on with the conversation."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, aclosing, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmkeep.agents.sqlite_memory import SqliteMemory
from tests.support.scripted import Asked, Scripted
from tests.support.scripted_child import IN_TOOL, Child, Turn
from tests.support.scripted_scene import Scene, answers_in_order
from tests.support.scripted_site import Site
from tests.support.scripted_steps import noticed
from tests.support.scripted_talk import ask, kept
from tests.support.scripted_wire import Call, Gate, Text

Children = Callable[..., AbstractContextManager[Child]]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def child(wire: str, scripted: Scripted, tmp_path: Path, journal: Path) -> Children:
    """Starts a process that takes a turn of the test's conversation."""
    environment = {
        f"{wire.upper()}_BASE_URL": scripted.base_url(wire),
        f"{wire.upper()}_API_KEY": "not-a-key",
    }

    def start(message: str | None = None, **more: Any) -> Child:
        turn = partial(Turn, tmp_path / "conversations.db", journal, wire)
        return Child(turn(message, **more), environment)

    return start


def _answer_to(asked: Asked, call_id: str) -> str:
    """What the model was told of a call; there is exactly one answer, or it would be refused."""
    for message in asked.messages:
        if message.get("tool_call_id") == call_id:
            return json.dumps(message["content"])
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in blocks:
            if block.get("tool_use_id") == call_id:
                return json.dumps(block["content"])
    raise AssertionError(f"{call_id} is not answered in {asked.messages}")


def _text(events: list[dict[str, Any]]) -> str:
    assert events[-1]["type"] == "RUN_FINISHED", events[-1]
    return "".join(e["delta"] for e in events if e["type"] == "TEXT_MESSAGE_CONTENT")


def _lines(journal: Path) -> list[str]:
    return journal.read_text().splitlines() if journal.exists() else []


@pytest.mark.parametrize("tool", ["dig", "drill"])
def test_killed_in_the_middle_of_a_tool(
    tool: str, wire: str, scripted: Scripted, child: Children, journal: Path
):
    """The call is answered as interrupted, its neighbour too, and the model is asked again."""
    scripted.say(
        Text("Let me."), Call(0, "c1", "dig", '{"depth": 1}'), Call(1, "c2", tool, '{"depth": 2}')
    )
    with child("go") as killed:
        killed.until(IN_TOOL)
        killed.kill()
    scripted.say(Text("Here I am."))
    with child("next") as later:
        assert _text(list(later.events())) == "Here I am."
    assert "dug 1" in _answer_to(scripted.asked[-1], "c1") or "nterrupted" in _answer_to(
        scripted.asked[-1], "c1"
    )
    assert "nterrupted" in _answer_to(scripted.asked[-1], "c2")
    assert "Let me." in json.dumps(scripted.asked[-1].messages)
    lines = _lines(journal)
    assert f"{tool} 2" in lines
    assert len(lines) == len(set(lines))  # nothing was executed again


def test_killed_while_the_model_speaks(wire: str, scripted: Scripted, child: Children):
    """The question is kept, and the next is answered."""
    scripted.say(Text("Half an "), Gate())
    with child("the question") as killed:
        killed.until("TEXT_MESSAGE_CONTENT")
        killed.kill()
    scripted.say(Text("Here I am."))
    with child("next") as later:
        assert _text(list(later.events())) == "Here I am."
    assert "the question" in json.dumps(scripted.asked[-1].messages)


# --- every moment of a turn -------------------------------------------------------------------


async def test_whatever_is_on_the_disk_the_next_turn_works(
    wire: str, scripted: Scripted, tmp_path: Path
):
    """What a kill at any step of a turn leaves is mended; a tool that has begun is told of."""
    left = await _left_by_kills(scripted, tmp_path / "conversations.db")
    assert len(left) > 5
    for number, (database, begun) in enumerate(left.items()):
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(database)
        memory = SqliteMemory(copy)
        scene = Scene("fetch", held=False)
        scripted.reset()
        scripted.answers = scene.answer_to
        agent = scene.agent("u", memory)
        try:
            again = await ask(agent, "next", earlier=("c-fetch", "c-crunch"))
            assert again.text == "fine"
            answered = answers_in_order(await kept(agent))
            assert begun <= answered.keys()
        except BaseException as error:
            error.add_note(f"killed when the file was in its state {number} of {len(left)}")
            raise
        finally:
            await memory.aclose()
        assert scene.begun == []  # nothing is executed again
        assert scripted.refused == []


async def _left_by_kills(scripted: Scripted, path: Path) -> dict[bytes, set[str]]:
    """Every state of the file during a turn, and the calls whose tools had begun by then."""
    memory, scene = SqliteMemory(path), Scene("fetch", held=False)
    scripted.answers = scene.answer_to
    agent = scene.agent("u", memory)
    await kept(agent)  # which makes the file
    with _states(path, scene.begun) as left:
        assert (await ask(agent, "go")).text == "one two three four"
    await memory.aclose()
    return left


@contextmanager
def _states(path: Path, begun: list[str]) -> Iterator[dict[bytes, set[str]]]:
    """Every state that the file has at a step of this block, and what had begun by then."""
    left: dict[bytes, set[str]] = {}
    with closing(sqlite3.connect(path)) as file:

        def look() -> None:
            left.setdefault(file.serialize(), set()).update(begun)

        with noticed(look):
            yield left


async def test_whatever_is_on_the_disk_a_yes_executes_once(
    wire: str, scripted: Scripted, tmp_path: Path
):
    """A kill at any step after a yes: saying it again executes nothing that had begun."""
    path = tmp_path / "conversations.db"
    memory = SqliteMemory(path)
    site = Site("u", memory)
    scripted.answers = site.answer_to
    interrupt_id = await site.wait_for_approval()
    site.done.set()
    with _states(path, site.begun) as left:
        assert [event.type.value async for event in site.yes(interrupt_id)][-1] == "RUN_FINISHED"
    await memory.aclose()
    assert site.dug == [3]
    assert len(left) > 5
    for number, (database, begun) in enumerate(left.items()):
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(database)
        async with aclosing(SqliteMemory(copy)) as again:
            later = Site("u", again)
            scripted.answers = later.answer_to
            later.done.set()
            ends = [event.type.value async for event in later.yes(interrupt_id)]
            assert ends[-1] in ("RUN_FINISHED", "RUN_ERROR")
            assert not (begun and later.begun), f"executed again in state {number} of {len(left)}"
            assert (await ask(later.handler, "next", earlier=("c-dig", "c-look"))).text == "fine"
            assert "c-dig" in answers_in_order(await kept(later.handler))


# --- approvals --------------------------------------------------------------------------------


def _interrupt(child: Child) -> dict[str, Any]:
    """What the run waits for at its end."""
    outcome = child.until("RUN_FINISHED")["outcome"]
    assert outcome["type"] == "interrupt"
    [interrupt] = outcome["interrupts"]
    return dict(interrupt)


def _answers(interrupt: dict[str, Any], **payload: Any) -> tuple[dict[str, Any], ...]:
    return ({"interrupt_id": interrupt["id"], "status": "resolved", "payload": payload},)


@pytest.mark.parametrize(
    ("approved", "wire"), [(True, "openai"), (False, "anthropic")], indirect=["wire"]
)
def test_killed_while_an_approval_waits(
    approved: bool, wire: str, scripted: Scripted, child: Children, journal: Path
):
    """The approval waits on, and is answered in another process: yes runs the tool, no does not."""
    scripted.say(Call(0, "c1", "dig", '{"depth": 1}'))
    with child("go", approve=("dig",)) as killed:
        interrupt = _interrupt(killed)
        killed.kill()
    assert _lines(journal) == []
    scripted.say(Text("Done."))
    resume = _answers(interrupt, approved=approved)
    with child(resume=resume, approve=("dig",)) as later:
        assert _text(list(later.events())) == "Done."
    assert _lines(journal) == (["dig 1"] if approved else [])
    assert ("dug 1" in _answer_to(scripted.asked[-1], "c1")) == approved


@pytest.mark.parametrize("wire", ["anthropic"], indirect=True)
def test_a_message_while_an_approval_waits_is_a_no(
    wire: str, scripted: Scripted, child: Children, journal: Path
):
    """After a restart too: the tool is not run, the message is answered, a late yes is nothing."""
    scripted.say(Call(0, "c1", "dig", '{"depth": 1}'))
    with child("go", approve=("dig",)) as killed:
        interrupt = _interrupt(killed)
        killed.kill()
    scripted.say(Text("As you say."))
    with child("leave it", approve=("dig",)) as later:
        assert _text(list(later.events())) == "As you say."
    with child(resume=_answers(interrupt, approved=True), approve=("dig",)) as late:
        list(late.events())
    assert _lines(journal) == []
    assert "dug" not in _answer_to(scripted.asked[-1], "c1")


@pytest.mark.parametrize("wire", ["openai"], indirect=True)
def test_killed_in_the_middle_of_an_approved_tool(
    wire: str, scripted: Scripted, child: Children, journal: Path
):
    """A second yes does not execute it again, and the conversation goes on."""
    scripted.say(Call(0, "c1", "dig", '{"depth": 2}'))
    with child("go", approve=("dig",)) as asking:
        interrupt = _interrupt(asking)
    yes = _answers(interrupt, approved=True)
    with child(resume=yes, approve=("dig",)) as killed:
        killed.until(IN_TOOL)
        killed.kill()
    scripted.answers = lambda _asked: [Text("Here I am.")]
    with child(resume=yes, approve=("dig",)) as again:
        kinds = [event["type"] for event in again.events()]
    assert kinds[-1] in ("RUN_FINISHED", "RUN_ERROR")
    assert IN_TOOL not in kinds
    with child("next", approve=("dig",)) as later:
        assert _text(list(later.events())) == "Here I am."
    assert _lines(journal) == ["dig 2"]
    assert "nterrupted" in _answer_to(scripted.asked[-1], "c1")
