"""Stopping at every point of a turn, in every way: nothing is poisoned, lost, or left running.

The turn is that of `tests.support.scripted_scene`. Each way of stopping is tried after each of its
events, and at each step that a task of the loop takes.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from ag_ui.core import Event, RunFinishedEvent

from llmkeep.agents import ConversationHandler
from llmkeep.agents.memory import SHARED_MEMORY
from llmkeep.agents.sqlite_memory import SqliteMemory
from tests.agents.events import assert_well_formed, kinds
from tests.support.scripted import Scripted
from tests.support.scripted_scene import First, Memory, Scene, assert_kept
from tests.support.scripted_signal import PATIENCE
from tests.support.scripted_steps import Steps, noticed, turns_of_the_loop
from tests.support.scripted_talk import Heard, ask, kept
from tests.support.scripted_wire import Gate

Stream = AsyncGenerator[Event, None]
#: Reads a stream until its stop-th event, then stops it.
Way = Callable[[ConversationHandler, Scene, Heard, int], Coroutine[Any, Any, None]]


async def _by_handler(handler: ConversationHandler, scene: Scene, heard: Heard, stop: int) -> None:
    """Ask the handler to stop; read on."""
    await _stop_and_read_on(handler, scene, heard, {stop: lambda: handler.stop("s")})


async def _by_thread(handler: ConversationHandler, scene: Scene, heard: Heard, stop: int) -> None:
    """The same from another thread, which does not wait for this loop."""

    def stop_elsewhere() -> None:
        thread = threading.Thread(target=handler.stop, args=["s"])
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    await _stop_and_read_on(handler, scene, heard, {stop: stop_elsewhere})


async def _stop_and_read_on(
    handler: ConversationHandler, scene: Scene, heard: Heard, acts: dict[int, Callable[[], object]]
) -> None:
    async with aclosing(handler.stream_response("go", "s")) as stream:
        async for event in stream:
            heard.hear(event)
            if act := acts.get(len(heard.events)):
                act()
            elif len(heard.events) < min(acts):
                scene.passed(event, heard)


async def _by_closing(handler: ConversationHandler, scene: Scene, heard: Heard, stop: int) -> None:
    """Close the stream."""
    async with aclosing(handler.stream_response("go", "s")) as stream:
        async for event in stream:
            heard.hear(event)
            if len(heard.events) == stop:
                break
            scene.passed(event, heard)


async def _by_cancelling(
    handler: ConversationHandler, scene: Scene, heard: Heard, stop: int
) -> None:
    """Cancel the task that reads, at its next wait."""

    async def read() -> None:
        async for event in handler.stream_response("go", "s"):
            heard.hear(event)
            if len(heard.events) == stop:
                cast("asyncio.Task[None]", asyncio.current_task()).cancel()
            else:
                scene.passed(event, heard)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(read())


async def _by_anyio(handler: ConversationHandler, scene: Scene, heard: Heard, stop: int) -> None:
    """Cancel the scope that it is read in: that cancels again and again."""
    async with anyio.create_task_group() as group:
        async for event in handler.stream_response("go", "s"):
            heard.hear(event)
            if len(heard.events) == stop:
                group.cancel_scope.cancel()
            else:
                scene.passed(event, heard)


STAYING = [_by_handler, _by_thread]
LEAVING = [_by_closing, _by_cancelling, _by_anyio]


def _other_tasks() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def _whole_turn(scripted: Scripted, first: First) -> Heard:
    """The turn, when nobody stops it."""
    scene, heard = Scene(first), Heard()
    scripted.answers = scene.answer_to
    async for event in scene.agent("whole").stream_response("go", "s"):
        heard.hear(event)
        scene.passed(event, heard)
    assert_well_formed(heard.events)
    assert kinds(heard.events)[-1] == "RUN_FINISHED"
    return heard


async def _stop_at(scripted: Scripted, first: First, way: Way, stop: int) -> None:
    """Stop the turn after its event number `stop`, and look at everything."""
    scripted.reset()
    scene, heard = Scene(first), Heard()
    scripted.answers = scene.answer_to
    handler = scene.agent(f"{way.__name__} {stop}")
    try:
        await way(handler, scene, heard, stop)
        assert _other_tasks() == []
        for asked in scripted.asked:  # long before anything would let the answer go on
            await asked.over.come()
        told_all = way in STAYING
        if told_all:
            _assert_ended_by_stop(heard)
        messages = await kept(handler)
        assert_kept(scene, heard, messages, told_all=told_all)
        again = await ask(handler, "next")  # while a synchronous tool may still be held
        assert again.text == "fine"
        assert (await kept(handler))[: len(messages)] == messages
    except BaseException as error:
        error.add_note(f"stopped by {way.__name__} after event {stop}: {kinds(heard.events)}")
        raise
    finally:
        scene.release()


def _assert_ended_by_stop(heard: Heard) -> None:
    assert_well_formed(heard.events)
    end = heard.events[-1]
    assert isinstance(end, RunFinishedEvent)
    assert end.outcome is not None
    if not heard.text.endswith("four"):  # else the stop may have come too late
        assert end.outcome.type == "cancelled"


@pytest.mark.parametrize("way", [*STAYING, *LEAVING])
@pytest.mark.parametrize("first", ["fetch", "crunch"])
async def test_a_turn_can_be_stopped_after_every_event(
    way: Way, first: First, wire: str, scripted: Scripted
):
    """The provider is let go, what was told is kept, calls are answered, the next turn works."""
    whole = kinds((await _whole_turn(scripted, first)).events)
    # Before the tools are called, it is the same turn whichever of them ends first.
    begin = 1 if first == "fetch" else whole.index("TOOL_CALL_END")
    for stop in range(begin, len(whole)):
        await _stop_at(scripted, first, way, stop)


async def _stop_at_step(scripted: Scripted, memory: Memory, step: int) -> bool:
    """Stop the turn at its step number `step`; False when it had ended before."""
    scripted.reset()
    scene, heard = Scene("fetch", held=False), Heard()
    scripted.answers = scene.answer_to
    handler = scene.agent(f"step {step}", memory)

    async def read() -> None:
        async for event in handler.stream_response("go", "s"):
            heard.hear(event)

    def leave() -> None:
        reader.cancel()

    def stop() -> None:
        handler.stop("s")

    # Somebody leaves; stops; or stops, and leaves while the run puts things in order.
    acts = [{step: leave}, {step: stop}, {step: stop, step + 1 + step % 16: leave}][step % 3]
    steps = Steps(acts)
    try:
        with noticed(steps.next):
            reader = asyncio.create_task(read())
            await asyncio.wait({reader}, timeout=PATIENCE)
        assert reader.done()
        leaves = leave in acts.values()
        if not (leaves and reader.cancelled()):
            reader.result()
        assert _other_tasks() == []
        if heard.events and not leaves:
            assert_well_formed(heard.events)
        for asked in scripted.asked:
            await asked.over.come()
        assert_kept(scene, heard, await kept(handler), told_all=not leaves)
        assert (await ask(handler, "next")).text == "fine"
    except BaseException as error:
        error.add_note(f"{acts} at step {step} of {steps.taken}: {kinds(heard.events)}")
        raise
    return steps.has_acted


@pytest.mark.parametrize("kept_in", ["memory", "sqlite"])
async def test_a_turn_can_be_stopped_at_every_step(
    kept_in: str, wire: str, scripted: Scripted, tmp_path: Path
):
    """Whatever is awaited, nothing gets stuck, lost without an answer, or poisonous."""
    own = SqliteMemory(tmp_path / "conversations.db") if kept_in == "sqlite" else None
    if own is not None:  # opening is no part of a run: cut off, it goes on for the next caller
        await own.aget_tuple({"configurable": {"thread_id": "none"}})
    first = 1 if wire == "openai" else 2  # each wire has every other step
    for step in count(first, 2):
        if not await _stop_at_step(scripted, own or SHARED_MEMORY, step):
            break
    if own is not None:
        await own.aclose()


# --- moments that are no event -----------------------------------------------------------------


async def _held_turn(scripted: Scripted) -> tuple[ConversationHandler, Stream]:
    """A turn whose reader has heard that it began, and that waits for the model."""
    scene = Scene("fetch")
    scripted.answers = scene.answer_to
    handler = scene.agent()
    stream = handler.stream_response("go", "s")
    assert (await anext(stream)).type.value == "RUN_STARTED"
    return handler, stream


async def _works(handler: ConversationHandler) -> None:
    assert (await ask(handler, "next")).text == "fine"


async def test_a_stop_needs_no_reader_that_reads_on(wire: str, scripted: Scripted):
    """The provider is let go at once; the reader gets the rest when it comes back."""
    handler, stream = await _held_turn(scripted)
    while not scripted.asked:
        await asyncio.sleep(0.001)
    assert handler.stop("s")
    await scripted.asked[0].over.come()
    end = [event async for event in stream][-1]
    assert isinstance(end, RunFinishedEvent)
    assert end.outcome is not None
    assert end.outcome.type == "cancelled"
    await _works(handler)


async def test_a_provider_that_does_not_even_begin_to_answer_is_let_go(
    wire: str, scripted: Scripted
):
    """A stop works before the first byte of the answer has come."""
    scripted.silence = Gate()
    handler, stream = await _held_turn(scripted)
    await scripted.silence.reached.come()
    await stream.aclose()
    await scripted.asked[0].over.come()
    assert scripted.asked[0].dropped.is_set()
    scripted.silence = None
    await _works(handler)


async def test_stopping_twice_is_stopping_once(wire: str, scripted: Scripted):
    """A second stop, and closing beside it, change nothing."""
    handler, stream = await _held_turn(scripted)
    assert handler.stop("s")
    handler.stop("s")
    handler.stop("s")
    events = [event async for event in stream]
    assert kinds(events) == ["RUN_FINISHED"]
    await stream.aclose()
    await _works(handler)


async def test_there_is_nothing_to_stop_before_and_after_a_run(scripted: Scripted):
    """`stop` says whether there was a run, and never stops the next one."""
    scene = Scene("fetch", held=False)
    scripted.answers = scene.answer_to
    handler = scene.agent()
    assert not handler.stop("s")
    assert (await ask(handler, "go")).text == "one two three four"
    assert not handler.stop("s")
    await _works(handler)


async def test_a_stop_is_for_one_session_of_one_user(scripted: Scripted):
    """Other sessions and other users go on."""
    scene = Scene("fetch")
    scripted.answers = scene.answer_to
    mine, others = scene.agent("mine"), scene.agent("others")
    streams = [
        mine.stream_response("go", "s"),
        mine.stream_response("go", "t"),
        others.stream_response("go", "s"),
    ]
    for stream in streams:
        await anext(stream)
    assert mine.stop("s")
    assert kinds([event async for event in streams[0]]) == ["RUN_FINISHED"]
    scene.release()
    for stream in streams[1:]:
        texts = [getattr(e, "delta", "") async for e in stream if "TEXT" in e.type.value]
        assert "".join(texts) == "one two three four"


async def test_a_stream_that_is_dropped_stops_the_turn(wire: str, scripted: Scripted):
    """A reader that forgets the stream has left too."""
    handler, stream = await _held_turn(scripted)
    del stream
    gc.collect()
    while _other_tasks():
        await asyncio.wait(_other_tasks())
    for asked in scripted.asked:
        await asked.over.come()
    await _works(handler)


async def test_a_message_that_waits_for_its_turn_can_leave(wire: str, scripted: Scripted):
    """The run under way goes on, and the message that left is nowhere."""
    handler, stream = await _held_turn(scripted)
    waiting = asyncio.create_task(ask(handler, "never to be asked"))
    await turns_of_the_loop()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await stream.aclose()
    await _works(handler)
    assert "never to be asked" not in str(await kept(handler))


async def test_a_second_stop_does_not_reach_the_next_message(wire: str, scripted: Scripted):
    """What waits for its turn is answered, however often somebody stops the run before it."""
    handler, stream = await _held_turn(scripted)
    waiting = asyncio.create_task(ask(handler, "next"))
    await turns_of_the_loop()
    for _ in range(3):
        handler.stop("s")
    assert kinds([event async for event in stream]) == ["RUN_FINISHED"]
    assert (await waiting).text == "fine"


def test_a_loop_that_ends_stops_its_turns(wire: str, scripted: Scripted):
    """The provider is let go, and the conversation goes on in the next loop."""
    left: list[Any] = []

    async def leave() -> None:
        left.extend(await _held_turn(scripted))

    async def go_on() -> None:
        for asked in scripted.asked:
            await asked.over.come()
        await _works(left[0])

    asyncio.run(leave())
    asyncio.run(go_on())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_is_closed_under_a_turn_does_not_lock_the_conversation(scripted: Scripted):
    """What a dead loop held is given back when it is collected."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # "Task was destroyed": it was
    handler, stream = loop.run_until_complete(_held_turn(scripted))
    loop.close()
    del stream, loop
    gc.collect()
    asyncio.run(_works(handler))
