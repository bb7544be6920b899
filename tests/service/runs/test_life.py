"""A run's life: what it tells, what is stored of it, and how it ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from ag_ui.core import ResumeEntry
from langchain_core.messages import HumanMessage

from llmkeep.agents import Turn
from llmkeep.core.errors import LLMKeepError
from llmkeep.service.errors import Invalid, NotFound
from llmkeep.service.runs import Runs
from tests.service.runs.conftest import Serve
from tests.service.runs.fakes import (
    Agent,
    Store,
    call,
    failed,
    interrupted,
    request,
    result,
    text,
)
from tests.service.runs.following import USER, agree, event, follow, messages, said, types


async def test_a_run_is_told_stored_and_told_again(runs: Runs, store: Store, agent: Agent):
    """Its readers, live and later, get the same events; the messages are in the table."""
    agent.scripts = [[*text("a1", "Let me."), *call("a1", "c1"), result("c1"), *text("a2", "So.")]]

    run = await runs.start(USER, request("r1", "m1"))
    live = await follow(runs, run, is_starter=True)

    assert live == await follow(runs, await runs.find(USER, "t", "r1"))
    assert types(live)[:3] == ["RUN_STARTED", "CUSTOM", "CUSTOM"]
    assert event(live[1])["value"] == {
        "parent_id": None,
        "messages": [{"id": "m1", "content": "say m1"}],
        "model": "fake:model",
        "resume": False,
    }
    assert event(live[2])["value"] == {"title": "say m1"}
    assert said(live) == "Let me.So."
    table = await messages(store)
    assert [(m.message_id, m.parent_id, m.role) for m in table] == [
        ("m1", None, "user"),
        ("a1", "m1", "assistant"),
        ("c1", "a1", "tool"),
        ("a2", "c1", "assistant"),
    ]
    await agree(store, run)
    ended = await runs.find(USER, "t", "r1")
    assert (ended.status, ended.code, ended.tokens) == ("success", None, 11)
    assert ended.last_event == live[-1].number
    assert ended.started_at is not None
    assert ended.ended_at is not None


async def test_a_cancelled_run_keeps_what_it_said(runs: Runs, store: Store, agent: Agent):
    """The end is `cancelled`, the text is partial, and the call is answered."""
    gate = asyncio.Event()
    agent.scripts = [[*text("a1", "Let me.")[:2], *call("a1", "c1"), gate]]
    run = await runs.start(USER, request("r1", "m1"))
    async with runs.read(run) as reader:
        async for frames in reader:
            if "TOOL_CALL_END" in types(list(frames)):
                break
        cancelled = await runs.cancel(USER, "t", "r1")

    assert (cancelled.status, cancelled.code) == ("cancelled", "stopped")
    frames = await follow(runs, cancelled)
    assert types(frames)[-3:] == ["TEXT_MESSAGE_END", "TOOL_CALL_RESULT", "RUN_FINISHED"]
    assert event(frames[-1])["outcome"] == {"type": "cancelled"}
    _, answer, tool = await messages(store)
    assert (answer.content, answer.status) == ("Let me.", "partial")
    assert (tool.tool_call_id, tool.status) == ("c1", "cancelled")
    await agree(store, cancelled)


STEPS = [*text("a1", "Let ", "me."), *call("a1", "c1"), result("c1"), *text("a2", "So.")]


@pytest.mark.parametrize("at", range(len(STEPS) + 1))
async def test_r2_cancelled_at_every_event(runs: Runs, store: Store, agent: Agent, at: int):
    """Wherever it is stopped: one end, all that was opened is closed, log and table agree."""
    agent.scripts = [[*STEPS[:at], asyncio.Event()], text("b1", "ok")]
    run = await runs.start(USER, request("r1", "m1"))
    async with runs.read(run) as reader:
        async for frames in reader:
            if frames[-1].number >= at + 3:
                break
    cancelled = await runs.cancel(USER, "t", "r1")

    assert (cancelled.status, cancelled.code) == ("cancelled", "stopped")
    frames = await follow(runs, cancelled)
    assert cancelled.last_event == frames[-1].number
    assert_closed(types(frames))
    await agree(store, cancelled)
    again = await runs.start(USER, request("r2", "m2"))
    assert said(await follow(runs, again)) == "ok"
    await agree(store, again)
    assert [turn.is_cut for turn in agent.asked] == [False, True]


def assert_closed(told: list[str]) -> None:
    for kind in ("TEXT_MESSAGE", "TOOL_CALL"):
        assert told.count(f"{kind}_START") == told.count(f"{kind}_END")
    assert told.count("TOOL_CALL_START") == told.count("TOOL_CALL_RESULT")


async def test_cancelled_while_the_model_is_loading(runs: Runs, store: Store, agent: Agent):
    """The model is not waited for; the message stays, and is answered when it is sent again."""
    agent.is_loaded, agent.loading = False, asyncio.Event()
    run = await runs.start(USER, request("r1", "m1"))
    async with runs.read(run) as reader:
        async for frames in reader:
            if event(frames[-1]).get("name") == "model_loading":
                break
    assert (await runs.cancel(USER, "t", "r1")).status == "cancelled"
    assert agent.asked == []

    agent.loading.set()
    again = await runs.start(USER, request("r2", "m1"))
    frames = await follow(runs, again)
    assert event(frames[1])["value"]["parent_id"] == "m1"
    assert event(frames[2]) == {
        "type": "CUSTOM", "name": "model_loading", "value": {"model": "fake:model"},
    }  # fmt: skip
    assert [m.message_id for m in await messages(store)] == ["m1", "a1"]


async def test_what_the_agent_is_asked(runs: Runs, store: Store, agent: Agent):
    """New messages behind the head; another time the message that is answered again."""
    agent.scripts = [text("a1", "one"), text("a2", "two"), text("a3", "three"), text("a4", "four")]
    asked = [
        request("r1", "m1"),
        request("r2", "m1", "m2"),
        request("r3", is_placed=True, parent_id="m2"),
        request("r4", "m3", is_placed=True, parent_id=None),
    ]
    for each in asked:
        await follow(runs, await runs.start(USER, each))

    turns: list[Turn] = agent.asked
    assert [([m.id for m in turn.messages], turn.head) for turn in turns] == [
        (["m1"], None), (["m2"], "a1"), ([], "m2"), (["m3"], None),
    ]  # fmt: skip
    assert turns[0].messages == [HumanMessage("say m1", id="m1")]
    assert [set(turn.taken) for turn in turns] == [
        set(), set(), {"a2"}, {"m1", "a1", "m2", "a2", "a3"},
    ]  # fmt: skip
    load = turns[2].load
    assert load is not None
    assert [m.id for m in await load()] == ["m1", "a1", "m2"]
    assert {m.message_id: m.parent_id for m in await messages(store)} == {
        "m1": None, "a1": "m1", "m2": "a1", "a2": "m2", "a3": "m2", "m3": None, "a4": "m3",
    }  # fmt: skip


async def test_a_run_waits_for_approval_and_goes_on(runs: Runs, store: Store, agent: Agent):
    """It ends as interrupted, without an answer to its call; another run gives that."""
    agent.scripts = [
        [*text("a1", "May I?"), *call("a1", "c1"), interrupted("c1")],
        [result("c1"), *text("a2", "Done.")],
    ]
    await follow(runs, await runs.start(USER, request("r1", "m1")))
    waits = await runs.find(USER, "t", "r1")
    assert (waits.status, waits.code) == ("interrupted", "approval")
    assert waits.interrupts[0]["toolCallId"] == "c1"
    assert [m.message_id for m in await messages(store)] == ["m1", "a1"]

    answers = (ResumeEntry(interrupt_id="interrupt-c1", status="resolved", payload={}),)
    run = await runs.start(USER, request("r2", "m1", resume=answers))
    frames = await follow(runs, run)

    assert agent.asked[1] == answers
    assert event(frames[1])["value"] == {
        "parent_id": "a1", "messages": [], "model": "fake:model", "resume": True,
    }  # fmt: skip
    assert [(m.message_id, m.parent_id) for m in await messages(store)][2:] == [
        ("c1", "a1"), ("a2", "c1"),
    ]  # fmt: skip
    await agree(store, run)


async def test_a_title_is_given_once(runs: Runs, store: Store):
    """The first run of a thread gives it, and no other; nor where somebody has given one."""
    await follow(runs, await runs.start(USER, request("r1", "m1")))
    frames = await follow(runs, await runs.start(USER, request("r2", "m2")))
    await store.open_thread(USER, "named", title="mine")
    named = request("r3", "m1", thread_id="named")
    frames += await follow(runs, await runs.start(USER, named))

    names = [event(frame).get("name") for frame in frames]
    assert "thread_title" not in names
    assert (await store.thread(USER, "t")).title == "say m1"
    assert (await store.thread(USER, "named")).title == "mine"


@pytest.mark.parametrize(
    ("steps", "code", "status"),
    [
        ([*text("a1", "Hm")[:2], failed("it is down", "unreachable")], "unreachable", "error"),
        ([*text("a1", "Hm")[:2], RuntimeError("a secret")], "internal", "error"),
        ([failed("stopped", "cancelled")], "stopped", "cancelled"),
    ],
)
async def test_r2_an_agent_that_fails(
    runs: Runs, store: Store, agent: Agent, steps: list[Any], code: str, status: str
):
    """What it said stays, and is closed; an exception is not told."""
    agent.scripts = [steps]
    run = await runs.start(USER, request("r1", "m1"))
    frames = await follow(runs, run)

    assert_closed(types(frames))
    assert "a secret" not in frames[-1].data
    ended = await runs.find(USER, "t", "r1")
    assert (ended.status, ended.code) == (status, code)
    await agree(store, ended)


async def test_r2_an_agent_that_ends_without_an_end(runs: Runs, agent: Agent):
    """There is one all the same."""
    agent.scripts, agent.ends_without_end = [text("a1", "Hm")], True
    frames = await follow(runs, await runs.start(USER, request("r1", "m1")))

    assert event(frames[-1])["code"] == "internal"


async def test_r2_nothing_follows_the_end(runs: Runs, agent: Agent):
    """An agent that goes on after its end is not heard."""
    agent.scripts = [[*text("a1", "x"), failed(), *text("a2", "more")]]
    agent.goes_on_after_end = True
    frames = await follow(runs, await runs.start(USER, request("r1", "m1")))

    assert said(frames) == "x"


async def test_a_model_that_cannot_be_made(runs: Runs, agent: Agent):
    """The run says what to do about it."""
    agent.failure = LLMKeepError("set FAKE_API_KEY")
    frames = await follow(runs, await runs.start(USER, request("r1", "m1")))

    assert (event(frames[-1])["code"], event(frames[-1])["message"]) == (
        "configuration", "set FAKE_API_KEY",
    )  # fmt: skip


async def test_a_model_that_is_not_configured(runs: Runs, store: Store):
    """It is refused at once, and nothing is left of it."""
    with pytest.raises(Invalid):
        await runs.start(USER, request("r1", "m1", model="unknown"))

    assert await store.thread(USER, "t") is None
    assert runs.count(USER) == 0


async def test_r8_a_run_has_a_time_limit(serve: Serve, store: Store, agent: Agent):
    """It ends with `timeout`, and keeps what was said."""
    agent.scripts = [[*text("a1", "Hm")[:2], asyncio.Event()]]
    async with serve(run_timeout=0.05) as runs:
        run = await runs.start(USER, request("r1", "m1", on_disconnect="continue"))
        frames = await follow(runs, run)
        ended = await runs.find(USER, "t", "r1")

    assert event(frames[-1])["code"] == "timeout"
    assert event(frames[-1])["usage"][0]["inputTokens"] == 10
    assert (ended.status, ended.code, ended.tokens) == ("timeout", "timeout", 11)
    assert (await messages(store))[-1].status == "partial"
    await agree(store, ended)


async def test_r2_an_agent_that_does_not_stop(serve: Serve, store: Store, agent: Agent):
    """It is cancelled, and the run ends; what it says later is not heard."""
    agent.scripts, agent.ignores_stop = [[*text("a1", "Hm")[:2], asyncio.Event()]], True
    async with serve(patience=0.05) as runs:
        run = await runs.start(USER, request("r1", "m1"))
        async with runs.read(run) as reader:
            await anext(reader)
            cancelled = await runs.cancel(USER, "t", "r1")
        frames = await follow(runs, run)

    assert cancelled.status == "cancelled"
    assert_closed(types(frames))
    assert agent.running == 0


async def test_r2_an_agent_that_cannot_be_stopped(serve: Serve, store: Store, agent: Agent):
    """It is left to itself: the run ends without it, and what it says then is not heard."""
    free = asyncio.Event()

    async def stay() -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    agent.ignores_stop = True
    agent.scripts = [[*text("a1", "Hm")[:2], stay, *text("a2", "late")], text("b1", "ok")]
    async with serve(patience=0.02) as runs:
        run = await runs.start(USER, request("r1", "m1"))
        async with runs.read(run) as reader:
            await anext(reader)
            cancelled = await runs.cancel(USER, "t", "r1")
        frames = await follow(runs, cancelled)
        again = await runs.start(USER, request("r2", "m2"))
        assert said(await follow(runs, again)) == "ok"
        free.set()
        while agent.running:
            await asyncio.sleep(0)
        await runs._journal.flush()
        assert await follow(runs, cancelled) == frames

    assert said(frames) == "Hm"
    await agree(store, cancelled)


class Breaking:
    """A context manager that fails where it shall."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        if self._place == "enter":
            raise RuntimeError("cannot be entered")

    def __exit__(self, *_: object) -> None:
        if self._place == "exit":
            raise RuntimeError("cannot be left")


class Uncountable:
    """Metrics that always fail."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any) -> None:
            raise RuntimeError(f"cannot count {name}")

        return fail


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"around": lambda _: Breaking("enter")}, "error"),
        ({"around": lambda _: Breaking("exit")}, "success"),
        ({"metrics": Uncountable()}, "success"),
    ],
)
async def test_r2_what_is_around_a_run_fails(serve: Serve, settings: Any, status: str):
    """Spans and metrics are no reason for a run not to end."""
    async with serve(**settings) as runs:
        run = await runs.start(USER, request("r1", "m1"))
        await follow(runs, run)
        ended = await runs.find(USER, "t", "r1")
        assert ended.status == status
        await follow(runs, await runs.start(USER, request("r2", "m2")))


class Counting:
    """Metrics that count what comes of a run."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.counts.update([name])


async def test_what_is_counted(serve: Serve, agent: Agent):
    """What metrics and the readiness check are told."""
    metrics = Counting()
    agent.scripts = [text("a1", "x"), [failed(code="unreachable")], [failed(code="max_steps")]]
    async with serve(metrics=metrics) as runs:
        assert runs.provider_status == "unknown"
        seen = []
        for n in range(3):
            await follow(runs, await runs.start(USER, request(f"r{n}", f"m{n}")))
            seen.append(runs.provider_status)

    counted = {name: n for name, n in metrics.counts.items() if "run" in name or "token" in name}
    assert metrics.counts["reader_opened"] == metrics.counts["reader_closed"] == 3
    assert seen == ["ok", "unreachable", "unreachable"]
    assert counted == {"run_started": 3, "first_token": 1, "run_ended": 3}


async def test_cancelling_what_has_ended_and_what_is_not_there(runs: Runs):
    """An ended run stays as it is; another's is not found."""
    run = await runs.start(USER, request("r1", "m1"))
    await follow(runs, run)

    assert (await runs.cancel(USER, "t", "r1")).status == "success"
    for who, thread, which in [("v", "t", "r1"), (USER, "x", "r1"), (USER, "t", "x")]:
        with pytest.raises(NotFound):
            await runs.cancel(who, thread, which)


async def test_r1_a_run_is_looked_at_as_it_is_stored(runs: Runs, store: Store):
    """Neither status nor number tells what a killed process would forget."""
    store.hold = asyncio.Event()
    run = await runs.start(USER, request("r1", "m1"))
    await store.held.wait()
    assert (await runs.find(USER, "t", "r1")).status == "pending"
    assert (await runs.find(USER, "t", "r1")).last_event == 0
    assert runs.active(USER, "t") is not None
    store.hold.set()
    store.hold = None
    await follow(runs, run)

    assert (await runs.find(USER, "t", "r1")).status == "success"
