"""Runs with the real agent, asking a provider that refuses what real ones refuse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ag_ui.core import ResumeEntry

from llmkeep.agents import SqliteMemory
from llmkeep.service.agent import ServiceHandlers
from llmkeep.service.records import Run
from llmkeep.service.runs import Runs
from llmkeep.service.storage.sqlite_store import SqliteStore
from llmkeep.settings import Settings
from tests.service.runs.fakes import request
from tests.service.runs.following import (
    USER,
    agree,
    event,
    follow,
    messages,
    over,
    said,
    types,
)
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Args, Call, Failure, Gate, Text
from tests.support.service_tools import VARIABLES, Doors


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with Doors() as doors:
        yield doors


@pytest.fixture
def agents(
    own_settings: Settings, scripted: Scripted, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the real agents are: the scripted model, and the tools of the tests."""
    for name, value in doors.variables.items():
        monkeypatch.setenv(name, value)
    own_settings.agents.conversation_handler_default_model = "openai:scripted"
    own_settings.agents.tools = tuple(VARIABLES["AGENTS__TOOLS"].split(","))
    own_settings.agents.approve_tools = ("ask_first",)


@asynccontextmanager
async def serving(folder: Path, *, memory: str = "memory") -> AsyncIterator[tuple[Any, Runs]]:
    saver = SqliteMemory(folder / f"{memory}.sqlite3")
    try:
        async with SqliteStore(folder / "store.sqlite3") as store:
            handlers = ServiceHandlers(saver, store.sessions)
            async with Runs(store, handlers, write_interval=0.0) as runs:
                yield store, runs
    finally:
        await saver.aclose()


@pytest.fixture
async def service(agents: None, tmp_path: Path) -> AsyncIterator[tuple[Any, Runs]]:
    async with serving(tmp_path) as service:
        yield service


async def run_of(runs: Runs, *arguments: Any, **more: Any) -> Run:
    """A run to its end."""
    run = await runs.start(USER, request(*arguments, **more))
    await follow(runs, run)
    return await runs.find(USER, "t", run.run_id)


async def until(runs: Runs, run: Run, kind: str) -> None:
    async with runs.read(run) as reader:
        async for frames in reader:
            if kind in types([*frames]):
                return
    raise AssertionError(f"no {kind}")


def told(scripted: Scripted) -> list[tuple[str, str]]:
    """What the model was told last: who said what, the prompt left out."""
    history = scripted.asked[-1].messages
    return [(m["role"], m["content"] or "") for m in history if m["role"] != "system"]


async def test_a_conversation_with_branches(
    service: tuple[Any, Runs], scripted: Scripted, doors: Doors
):
    """Appended, answered again, edited: each time the model is told the path, and no other."""
    store, runs = service
    scripted.say(Text("Let me. "), Call(0, "c1", "calculator", '{"expression": "6*7"}'))
    scripted.say(Text("It is 42."))
    first = await run_of(runs, "r1", "m1")
    assert (first.status, first.tokens) == ("success", 30)
    assert told(scripted) == [("user", "say m1"), ("assistant", "Let me. "), ("tool", "42")]

    scripted.say(Text("Two."))
    await run_of(runs, "r2", "m1", "m2")
    scripted.say(Text("Two, again."))
    await run_of(runs, "r3", "m1", is_placed=True, parent_id="m2")
    assert told(scripted)[-2:] == [("assistant", "It is 42."), ("user", "say m2")]
    scripted.say(Text("Anew."))
    await run_of(runs, "r4", "m9", is_placed=True, parent_id=None)
    assert told(scripted) == [("user", "say m9")]
    scripted.say(Text("More."))
    await run_of(runs, "r5", "m9", "m10")
    assert told(scripted) == [("user", "say m9"), ("assistant", "Anew."), ("user", "say m10")]

    table = {m.message_id: m for m in await messages(store)}
    parents = {m.content: table[m.parent_id].content for m in table.values() if m.parent_id}
    assert parents["Two."] == parents["Two, again."] == "say m2"
    assert table["m9"].parent_id is None
    for n in range(1, 6):
        await agree(store, await runs.find(USER, "t", f"r{n}"))


async def test_r8_the_provider_is_left_when_the_starter_leaves(
    service: tuple[Any, Runs], scripted: Scripted
):
    """Its connection is closed at once; the next message is told the partial answer."""
    store, runs = service
    scripted.say(Text("One, "), Gate(), Text("two"))
    run = await runs.start(USER, request("r1", "m1"))
    async with runs.read(run, is_starter=True) as reader:
        async for frames in reader:
            if "TEXT_MESSAGE_CONTENT" in types([*frames]):
                break
    await scripted.asked[0].dropped.come(1.0)
    await over(runs)
    ended = await runs.find(USER, "t", "r1")
    assert (ended.status, ended.code) == ("cancelled", "disconnected")
    _, answer = await messages(store)
    assert (answer.content, answer.status) == ("One, ", "partial")
    await agree(store, ended)

    scripted.say(Text("ok"))
    await run_of(runs, "r2", "m1", "m2")
    assert told(scripted) == [("user", "say m1"), ("assistant", "One, "), ("user", "say m2")]


@pytest.mark.parametrize("is_half", [True, False])
async def test_stopped_in_a_call(
    service: tuple[Any, Runs], scripted: Scripted, doors: Doors, is_half: bool
):
    """In the middle of its arguments, or of its tool: the conversation goes on."""
    store, runs = service
    name = f"stopped-{is_half}"
    arguments = json.dumps({"door": name})
    if is_half:
        scripted.say(Text("Hm"), Call(0, "c1", "wait_at"), Args(0, arguments[:5]), Gate(), Text(""))
    else:
        scripted.say(Text("Hm"), Call(0, "c1", "wait_at", arguments))
    run = await runs.start(USER, request("r1", "m1"))
    await until(runs, run, "TOOL_CALL_ARGS")
    if not is_half:
        await doors[name].reached.come()
    ended = await runs.cancel(USER, "t", "r1")
    frames = await follow(runs, ended)

    assert types(frames)[-2:] == ["TOOL_CALL_RESULT", "RUN_FINISHED"]
    _, answer, tool = await messages(store)
    assert answer.status == ("partial" if is_half else "complete")
    assert (tool.tool_call_id, tool.status) == (answer.calls[0].id, "cancelled")
    await agree(store, ended)
    scripted.say(Text("ok"))
    assert (await run_of(runs, "r2", "m1", "m2")).status == "success"
    assert told(scripted)[-1] == ("user", "say m2")


async def test_approved_and_declined(service: tuple[Any, Runs], scripted: Scripted):
    """A yes goes on with the call; a message declines it; each call has its answer in the table."""
    store, runs = service
    for n in (1, 2):
        scripted.say(Call(0, f"c{n}", "ask_first", f'{{"text": "t{n}"}}'))
        waits = await run_of(runs, f"r{n}", f"m{n}")
        assert (waits.status, waits.code) == ("interrupted", "approval")
        scripted.say(Text(f"done {n}"))
        if n == 1:
            answer = ResumeEntry(
                interrupt_id=waits.interrupts[0]["id"],
                status="resolved",
                payload={"approved": True},
            )
            ended = await run_of(runs, "r1b", "m1", resume=(answer,))
        else:
            ended = await run_of(runs, "r2b", "m1", "m2", "m3")
        assert ended.status == "success"
        await agree(store, ended)

    table = await messages(store)
    answers = [(m.tool_call_id, m.status) for m in table if m.role == "tool"]
    assert [status for _, status in answers] == ["success", "declined"]
    assert len({call for call, _ in answers}) == 2
    path = await store.path(await store.thread(USER, "t"), table[-1].message_id)
    assert len(path) == len(table)


@pytest.mark.parametrize("placed", [{"parent_id": "m1"}, {"parent_id": None}])
async def test_what_waits_on_another_branch_is_declined_there(
    service: tuple[Any, Runs], scripted: Scripted, placed: dict[str, Any]
):
    """The answer hangs under the call; the new branch has its own messages alone."""
    store, runs = service
    scripted.say(Call(0, "c1", "ask_first", '{"text": "t"}'))
    await run_of(runs, "r1", "m1")
    scripted.say(Text("again"))
    new = ("m1",) if placed["parent_id"] else ("m1", "m2")
    run = await run_of(runs, "r2", *new, is_placed=True, **placed)

    table = await messages(store)
    by_role = {m.role: m for m in table}
    caller = next(m for m in table if m.calls)
    assert (by_role["tool"].parent_id, by_role["tool"].status) == (caller.message_id, "declined")
    answer = next(m for m in table if m.content == "again")
    assert answer.parent_id == new[-1]
    assert (await store.thread(USER, "t")).head_id == answer.message_id
    assert "TOOL_CALL_RESULT" not in types(await follow(runs, run))
    await agree(store, run)


async def test_a_provider_that_fails_and_a_retry(service: tuple[Any, Runs], scripted: Scripted):
    """The error says what happened; the same request, sent again, is answered."""
    store, runs = service
    scripted.say(Text("Hm"), Failure("overloaded"))
    failed = await run_of(runs, "r1", "m1")
    assert failed.status == "error"
    scripted.say(Text("ok"))
    again = await run_of(runs, "r2", "m1")

    assert again.status == "success"
    assert told(scripted) == [("user", "say m1")]
    assert {m.content: m.parent_id for m in await messages(store)} == {
        "say m1": None, "Hm": "m1", "ok": "m1",
    }  # fmt: skip


async def test_interrupt_in_the_middle_of_a_tool(
    service: tuple[Any, Runs], scripted: Scripted, doors: Doors
):
    """What was stopped is in order before the next run asks the model."""
    store, runs = service
    scripted.say(Call(0, "c1", "wait_at", '{"door": "interrupted"}'))
    first = await runs.start(USER, request("r1", "m1"))
    await doors["interrupted"].reached.come()
    scripted.say(Text("ok"))
    second = await runs.start(USER, request("r2", "m1", "m2", multitask_strategy="interrupt"))
    assert said(await follow(runs, second)) == "ok"
    await doors["interrupted"].left.come()

    assert (await runs.find(USER, "t", "r1")).code == "superseded"
    assert [role for role, _ in told(scripted)] == ["user", "assistant", "tool", "user"]
    await agree(store, first)


async def test_the_model_forgets_and_the_table_does_not(
    agents: None, scripted: Scripted, tmp_path: Path
):
    """A memory that is gone is filled again from the messages; so after a restart as before."""
    async with serving(tmp_path) as (_, runs):
        scripted.say(Call(0, "c1", "calculator", '{"expression": "6*7"}'))
        scripted.say(Text("42"))
        await run_of(runs, "r1", "m1")
    for memory in ("memory", "another"):
        async with serving(tmp_path, memory=memory) as (_, runs):
            scripted.say(Text(memory))
            await run_of(runs, f"r-{memory}", f"m-{memory}")
            assert [role for role, _ in told(scripted)][:4] == [
                "user",
                "assistant",
                "tool",
                "assistant",
            ]
            assert told(scripted)[-1] == ("user", f"say m-{memory}")


async def test_a_model_that_is_loaded_says_so_once(service: tuple[Any, Runs], scripted: Scripted):
    """The first run waits for the model, the second does not."""
    _, runs = service
    names: list[list[str | None]] = []
    for n in (1, 2):
        scripted.say(Text("ok"))
        run = await runs.start(USER, request(f"r{n}", f"m{n}"))
        names.append([event(frame).get("name") for frame in await follow(runs, run)])

    assert "model_loading" in names[0]
    assert "model_loading" not in names[1]
