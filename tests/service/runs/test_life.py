"""A run's life: what it tells, what is stored of it, and how it ends."""

from __future__ import annotations

import asyncio

from llmkeep.service.runs import Runs
from tests.service.runs.fakes import Agent, Store, call, request, result, text
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
    assert ended.started_at and ended.ended_at


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
