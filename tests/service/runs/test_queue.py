"""One run of a thread at a time: order, strategies, joining, and the races between them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmkeep.service.errors import Conflict, NotFound, ServiceError
from llmkeep.service.records import Run
from llmkeep.service.runs import Runs, manager
from tests.service.runs.fakes import Agent, Store, request, text
from tests.service.runs.following import USER, agree, event, follow, messages, over, said, types

Gate = asyncio.Event


def gated(message_id: str, gate: Gate, *parts: str) -> list[Any]:
    start, *content, end = text(message_id, *(parts or ("Hm",)))
    return [start, *content, gate, end]


async def spoken(runs: Runs, run: Run) -> None:
    """Wait until the run has begun to speak."""
    async with runs.read(run) as reader:
        async for frames in reader:
            if "TEXT_MESSAGE_CONTENT" in types([*frames]):
                return


async def status(runs: Runs, run_id: str) -> tuple[str, str | None]:
    run = await runs.find(USER, "t", run_id)
    return run.status, run.code


async def test_r6_runs_of_a_thread_go_in_their_order(runs: Runs, store: Store, agent: Agent):
    """Each hangs behind what the one before it said, though that was not known when it came."""
    gates = [Gate() for _ in range(4)]
    agent.scripts = [gated(f"a{n}", gate) for n, gate in enumerate(gates, 1)]
    started = [
        await runs.start(USER, request(f"r{n}", *(f"m{each}" for each in range(1, n + 1))))
        for n in range(1, 5)
    ]
    assert runs.count(USER) == 4
    active = runs.active(USER, "t")
    assert active is not None
    assert active.run_id == "r1"
    for run, gate in zip(started, gates, strict=True):
        await spoken(runs, run)
        gate.set()
        await follow(runs, run)

    assert agent.most == 1
    assert [(m.message_id, m.parent_id) for m in await messages(store)] == [
        ("m1", None), ("a1", "m1"), ("m2", "a1"), ("a2", "m2"),
        ("m3", "a2"), ("a3", "m3"), ("m4", "a3"), ("a4", "m4"),
    ]  # fmt: skip
    for run in started:
        await agree(store, run)
    assert runs.active(USER, "t") is None


async def test_r6_threads_do_not_wait_for_each_other(runs: Runs, agent: Agent):
    """Nor do users who call their threads the same."""
    gate = Gate()
    agent.scripts = [gated("a1", gate)]
    asked = [(USER, "t"), (USER, "other"), ("v", "t")]
    started = [await runs.start(u, request("r1", "m1", thread_id=t)) for u, t in asked]
    for run in started:
        await spoken(runs, run)
    assert agent.most == 3
    gate.set()
    for run in started:
        await follow(runs, run)


async def test_r7_a_run_begins_when_all_of_the_one_before_is_stored(
    runs: Runs, store: Store, agent: Agent
):
    """The agent is not asked while the store still holds the end of the run before."""
    gate = Gate()
    agent.scripts = [gated("a1", gate), text("a2", "two")]
    first = await runs.start(USER, request("r1", "m1"))
    second = await runs.start(USER, request("r2", "m1", "m2"))
    await spoken(runs, first)
    store.hold, store.held = Gate(), Gate()
    gate.set()
    await store.held.wait()
    while agent.running:
        await asyncio.sleep(0)
    assert len(agent.asked) == 1
    assert await status(runs, "r1") == ("running", None)
    store.hold.set()
    store.hold = None
    await follow(runs, second)

    assert agent.asked[1].head == "a1"


async def test_reject_names_the_run_that_is_in_the_way(runs: Runs, agent: Agent):
    """And goes when there is none."""
    gate = Gate()
    agent.scripts = [gated("a1", gate)]
    first = await runs.start(USER, request("r1", "m1"))
    await spoken(runs, first)
    with pytest.raises(Conflict) as refused:
        await runs.start(USER, request("r2", "m2", multitask_strategy="reject"))
    assert (refused.value.code, refused.value.extras) == ("thread_busy", {"run_id": "r1"})
    with pytest.raises(NotFound):
        await runs.find(USER, "t", "r2")
    gate.set()
    await follow(runs, first)

    await follow(runs, await runs.start(USER, request("r2", "m2", multitask_strategy="reject")))
    assert runs.count(USER) == 0


async def test_reject_waits_for_a_run_that_is_just_ending(runs: Runs, store: Store, agent: Agent):
    """One that has been stopped, but whose end is not stored yet."""
    agent.scripts = [gated("a1", Gate()), text("a2", "two")]
    first = await runs.start(USER, request("r1", "m1"))
    await spoken(runs, first)
    store.hold, store.held = Gate(), Gate()
    await runs.cancel(USER, "t", "r1", wait=False)
    await store.held.wait()
    asking = asyncio.create_task(runs.start(USER, request("r2", "m2", multitask_strategy="reject")))
    while runs.count(USER) != 2:  # it has its place, and waits
        await asyncio.sleep(0)
    assert not asking.done()
    store.hold.set()
    store.hold = None

    assert said(await follow(runs, await asking)) == "two"


async def test_reject_does_not_wait_for_ever(
    runs: Runs, store: Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
):
    """Two seconds, and then it is in the way."""
    monkeypatch.setattr(manager, "REJECT_PATIENCE", 0.01)
    agent.scripts = [gated("a1", Gate())]
    first = await runs.start(USER, request("r1", "m1"))
    await spoken(runs, first)
    store.hold = Gate()
    await runs.cancel(USER, "t", "r1", wait=False)
    with pytest.raises(Conflict) as refused:
        await runs.start(USER, request("r2", "m2", multitask_strategy="reject"))
    store.hold.set()
    store.hold = None
    await follow(runs, first)

    assert refused.value.code == "thread_busy"


async def test_interrupt_takes_the_place_of_all_others(runs: Runs, store: Store, agent: Agent):
    """What runs is stopped, what waits never begins; what those said is in the thread once."""
    agent.scripts = [gated("a1", Gate()), text("a2", "two")]
    first = await runs.start(USER, request("r1", "m1"))
    waiting = await runs.start(USER, request("r2", "m1", "m2"))
    await spoken(runs, first)
    third = await runs.start(USER, request("r3", "m1", "m2", "m3", multitask_strategy="interrupt"))
    assert said(await follow(runs, third)) == "two"

    assert await status(runs, "r1") == ("cancelled", "superseded")
    assert await status(runs, "r2") == ("cancelled", "superseded")
    assert await status(runs, "r3") == ("success", None)
    assert [(m.message_id, m.parent_id) for m in await messages(store)] == [
        ("m1", None), ("a1", "m1"), ("m2", "a1"), ("m3", "m2"), ("a2", "m3"),
    ]  # fmt: skip
    for run in (first, waiting, third):
        await agree(store, run)
    assert len(agent.asked) == 2


async def test_two_interrupts_at_once(runs: Runs, store: Store, agent: Agent):
    """The one that comes later stays: the other is still waiting for the first to end."""
    agent.scripts = [gated("a1", Gate()), text("a3", "three")]
    first = await runs.start(USER, request("r1", "m1"))
    await spoken(runs, first)
    store.hold = Gate()
    asked = [request(f"r{n}", f"m{n}", multitask_strategy="interrupt") for n in (2, 3)]
    started = await asyncio.gather(*(runs.start(USER, each) for each in asked))
    store.hold.set()
    store.hold = None
    for run in started:
        await follow(runs, run)

    assert [await status(runs, f"r{n}") for n in (1, 2, 3)] == [
        ("cancelled", "superseded"), ("cancelled", "superseded"), ("success", None),
    ]  # fmt: skip
    assert agent.most == 1


async def test_a_run_that_is_cancelled_before_its_turn_says_nothing(
    runs: Runs, store: Store, agent: Agent
):
    """It ends at once; its message is appended with the next one of that client."""
    gate = Gate()
    agent.scripts = [gated("a1", gate), text("a2", "two")]
    first = await runs.start(USER, request("r1", "m1"))
    waiting = await runs.start(USER, request("r2", "m1", "m2"))
    cancelled = await runs.cancel(USER, "t", "r2")
    assert (cancelled.status, cancelled.code) == ("cancelled", "stopped")
    frames = await follow(runs, waiting)
    assert types(frames) == ["RUN_STARTED", "CUSTOM", "RUN_FINISHED"]
    assert event(frames[1])["value"]["messages"] == []
    third = await runs.start(USER, request("r3", "m1", "m2", "m3"))
    gate.set()
    await follow(runs, first)
    await follow(runs, third)

    assert [m.message_id for m in await messages(store)] == ["m1", "a1", "m2", "m3", "a2"]
    assert (await store.last_run(await store.thread(USER, "t"))).run_id == "r3"


async def test_a_message_whose_run_is_cancelled_while_it_was_counted_on(
    runs: Runs, store: Store, agent: Agent
):
    """A run that came when another had its message takes it, when that one never begins."""
    gate = Gate()
    agent.scripts = [gated("a1", gate), text("a2", "two")]
    first = await runs.start(USER, request("r1", "m1"))
    await runs.start(USER, request("r2", "m1", "m2"))
    third = await runs.start(USER, request("r3", "m1", "m2", "m3"))
    await runs.cancel(USER, "t", "r2")
    gate.set()
    await follow(runs, first)
    await follow(runs, third)

    assert [m.message_id for m in await messages(store)] == ["m1", "a1", "m2", "m3", "a2"]


async def test_what_hangs_nowhere_when_its_turn_comes_says_so(
    runs: Runs, store: Store, agent: Agent
):
    """A retry behind a run that succeeds has nothing to answer; an unknown parent is none."""
    gate = Gate()
    agent.scripts = [gated("a1", gate)]
    first = await runs.start(USER, request("r1", "m1"))
    retry = await runs.start(USER, request("r2", "m1"))
    edit = await runs.start(USER, request("r3", "m3", is_placed=True, parent_id="nowhere"))
    gate.set()
    await follow(runs, first)

    for run, code in ((retry, "nothing_to_answer"), (edit, "parent_unknown")):
        frames = await follow(runs, run)
        assert types(frames) == ["RUN_STARTED", "CUSTOM", "RUN_ERROR"]
        assert event(frames[-1])["code"] == code
        assert await status(runs, run.run_id) == ("error", code)
        await agree(store, run)
    assert len(await messages(store)) == 2


async def test_a_run_that_ends_while_another_is_placed(
    runs: Runs, store: Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
):
    """What was read of the thread before that end is read again: the next hangs behind it."""
    gate = Gate()
    agent.scripts = [gated("a1", gate), text("a2", "two")]
    first = await runs.start(USER, request("r1", "m1"))
    await spoken(runs, first)
    look = store.thread

    async def slowly(*arguments: Any, **more: Any) -> Any:
        monkeypatch.undo()
        thread = await look(*arguments, **more)
        gate.set()
        await over(runs)
        return thread

    monkeypatch.setattr(store, "thread", slowly, raising=False)
    await follow(runs, await runs.start(USER, request("r2", "m2")))

    assert [(m.message_id, m.parent_id) for m in await messages(store)][2:] == [
        ("m2", "a1"), ("a2", "m2"),
    ]  # fmt: skip


@pytest.mark.parametrize("is_live", [True, False])
async def test_the_same_request_joins_and_another_does_not(runs: Runs, agent: Agent, is_live: bool):
    """By run id and fingerprint, while the run lives and after it."""
    gate = Gate()
    agent.scripts = [gated("a1", gate)]
    run = await runs.start(USER, request("r1", "m1"))
    await spoken(runs, run)
    if not is_live:
        gate.set()
        await follow(runs, run)
    again = await runs.start(USER, request("r1", "m1", multitask_strategy="reject"))
    with pytest.raises(Conflict) as refused:
        await runs.start(USER, request("r1", "m1", fingerprint="another"))
    gate.set()

    assert again.key == run.key
    assert refused.value.code == "run_exists"
    assert types(await follow(runs, again))[0] == "RUN_STARTED"
    assert len(agent.asked) == 1


async def test_the_same_request_many_times_at_once_is_one_run(runs: Runs, agent: Agent):
    """Whoever comes second finds it, however close behind it comes."""
    started = await asyncio.gather(*(runs.start(USER, request("r1", "m1")) for _ in range(8)))
    assert len({run.key for run in started}) == 1
    await asyncio.gather(*(follow(runs, run) for run in started))

    assert len(agent.asked) == 1
    assert runs.count(USER) == 0


async def test_many_at_once_leave_one_chain(runs: Runs, store: Store, agent: Agent):
    """However they race for the thread, and whatever is cancelled among them."""
    agent.scripts = []
    asked = [request(f"r{n}", f"m{n}") for n in range(12)]
    started = await asyncio.gather(*(runs.start(USER, each) for each in asked))
    await asyncio.gather(*(runs.cancel(USER, "t", run.run_id) for run in started[::3]))
    for run in started:
        await follow(runs, run)
        await agree(store, run)

    table = await messages(store)
    assert [m.parent_id for m in table] == [None, *(m.message_id for m in table[:-1])]
    assert agent.most == 1


async def test_a_deleted_thread(runs: Runs, store: Store, agent: Agent):
    """Its runs are stopped, and no other starts."""
    agent.scripts = [gated("a1", Gate())]
    run = await runs.start(USER, request("r1", "m1"))
    waiting = await runs.start(USER, request("r2", "m2"))
    await spoken(runs, run)
    await runs.stop_thread(USER, "t")
    await store.delete_thread(await store.thread(USER, "t"), run.created_at)
    await runs.stop_thread(USER, "t")
    with pytest.raises(Conflict) as refused:
        await runs.start(USER, request("r3", "m3"))

    assert refused.value.code == "thread_deleted"
    assert len(agent.asked) == 1
    for each in (run, waiting):
        ended = types([frame async for batch in runs.read(each) for frame in batch])
        assert ended[-1] == "RUN_FINISHED"


async def test_a_place_is_taken_before_the_first_suspension(runs: Runs, store: Store):
    """Limits are checked right before: two requests at once see each other. It is given back."""
    starting = runs.start(USER, request("r1", "m1"))
    task = asyncio.ensure_future(starting)
    await asyncio.sleep(0)
    assert runs.count(USER) == 1
    await follow(runs, await task)
    with pytest.raises(ServiceError):
        await runs.start(USER, request("r2", is_placed=True, parent_id="x"))

    assert runs.count(USER) == 0
