"""What a test reads of a run, and what must hold of it."""

from __future__ import annotations

import json
from typing import Any

from llmkeep.service.records import Frame, Message, Run
from llmkeep.service.runs import Runs
from llmkeep.service.runs.events import parsed
from llmkeep.service.runs.fold import Fold

USER = "u"


async def follow(runs: Runs, run: Run, after: int = 0, **more: Any) -> list[Frame]:
    """All frames from there to the end; they are checked."""
    frames: list[Frame] = []
    async with runs.read(run, after=after, **more) as reader:
        async for batch in reader:
            frames += batch
    check(frames, after)
    return frames


async def over(runs: Runs, run_id: str = "r1", thread_id: str = "t") -> None:
    """Wait until a run lives no more; nobody reads it meanwhile."""
    live = runs._live.get((USER, thread_id, run_id))
    if live is not None:
        await live.over.wait()


def check(frames: list[Frame], after: int = 0) -> None:
    """They are numbered without a gap, and there is one terminal event, the last."""
    assert [frame.number for frame in frames] == [*range(after + 1, after + 1 + len(frames))], (
        frames
    )
    ends = [frame for frame in frames if frame.is_terminal]
    assert ends == frames[-1:] or not frames
    for frame in frames:
        is_end = event(frame)["type"] in ("RUN_FINISHED", "RUN_ERROR")
        assert is_end == frame.is_terminal


def event(frame: Frame) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(frame.data)
    return parsed


def types(frames: list[Frame]) -> list[str]:
    return [event(frame)["type"] for frame in frames]


def said(frames: list[Frame]) -> str:
    """The text of all messages."""
    events = map(event, frames)
    return "".join(e["delta"] for e in events if e["type"] == "TEXT_MESSAGE_CONTENT")


async def messages(store: Any, thread_id: str = "t") -> list[Message]:
    thread = await store.thread(USER, thread_id, deleted=True)
    return [*await store.messages(thread)] if thread is not None else []


async def agree(store: Any, run: Run) -> None:
    """What the table holds of a run is what its events come to."""
    log = await store.events(run, after=0, limit=100_000)
    fold = Fold(run.run_id, lambda: run.created_at)
    rows = {}
    for frame in log:
        for row in fold.take(parsed(frame.data)):
            rows[row.message_id] = row
    table = [each for each in await messages(store, run.thread_id) if each.run_id == run.run_id]
    assert {m.message_id: _plain(m) for m in table} == {k: _plain(m) for k, m in rows.items()}


def _plain(message: Message) -> tuple[Any, ...]:
    m = message
    return (
        m.parent_id, m.role, m.content, m.status, m.calls, m.tool_call_id, m.duration,
    )  # fmt: skip
