"""A lease lasts as long as the call, and for a stream as long as the stream."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

import llmkeep
from llmkeep.models import chat_model
from tests.models.fakes import TOKENS, ChatSyncFake, FakeClient, fake_adapter, until


def leased() -> int:
    return llmkeep.stats().leased


def test_i3_a_stream_holds_the_lease_until_it_is_exhausted():
    """The instance is leased between chunks, and not after the last."""
    llm = chat_model("fake:a")
    seen = [(chunk.content, leased()) for chunk in llm.stream("hello") if chunk.content]
    assert seen == [(token, 1) for token in TOKENS]
    assert leased() == 0


def test_i3_closing_or_dropping_a_stream_returns_the_lease():
    """A reader that stops early gives the instance back, also when it merely forgets the stream."""
    llm = chat_model("fake:a")
    closed, dropped = llm.stream("hello"), llm.stream("hello")
    next(closed)
    next(dropped)
    assert (leased(), llmkeep.default_cache().snapshot()[0].leases) == (1, 2)
    closed.close()  # type: ignore[attr-defined]
    assert llmkeep.default_cache().snapshot()[0].leases == 1
    del dropped
    gc.collect()
    assert leased() == 0


async def test_i3_an_asynchronous_stream_holds_the_lease_until_it_is_closed():
    """As with a synchronous one; leaving the loop over it early is closing it."""
    llm = chat_model("fake:a")
    stream = llm.astream("hello")
    await anext(stream)
    assert leased() == 1
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: leased() == 0)  # LangChain drops ours, and the loop closes what is dropped


async def test_i3_what_an_abandoned_stream_has_open_is_closed_before_the_instance_is_returned():
    """The class's own generator ends under the lease, not whenever it is collected."""
    at_the_end: list[int] = []
    llm = chat_model("fake:a", hook=lambda: at_the_end.append(leased()))
    stream = llm._astream([])
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert at_the_end == [1]
    assert leased() == 0


def test_i3_an_asynchronous_stream_left_open_is_returned_with_its_loop():
    """A stream nobody closes ends when its event loop ends."""
    llm = chat_model("fake:a")

    async def leave_open() -> None:
        left.append(llm.astream("hello"))
        await anext(left[0])
        assert leased() == 1

    left: list = []
    asyncio.run(leave_open())
    assert leased() == 0


def test_i3_invalidating_under_a_stream_closes_the_instance_after_it():
    """The stream goes on with what it has; the next call gets another; then the old one closes."""
    llm = chat_model("fake:a")
    stream = llm.stream("hello")
    next(stream)
    assert llm.invalidate() is True
    assert llm.invalidate() is False
    llm.invoke("next")
    assert [client.closes for client in FakeClient.made] == [0, 0]
    assert [chunk.content for chunk in stream if chunk.content] == list(TOKENS[1:])
    llmkeep.close(timeout=5)  # closes run on a thread of their own; this waits for them
    old, new = FakeClient.made
    assert (old.closes, old.calls, new.closes, new.calls) == (1, 3, 1, 1)


async def test_i7_cancelling_a_call_returns_its_lease():
    """A cancelled task leaves nothing leased, whether it was called or streaming."""
    llm = chat_model("fake:a")
    started = asyncio.Event()

    async def read() -> None:
        async for _ in llm.astream("hello"):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await started.wait()
    assert leased() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task  # its traceback holds the stream
    gc.collect()
    await until(lambda: leased() == 0)


def test_exclusive_streams_take_turns():
    """The second reader of an exclusive model gets its first token after the first one's last."""
    llm = chat_model("fake_exclusive:a")
    order: list[str] = []
    first = llm.stream("hello")
    next(first)

    def second() -> None:
        order.extend(f"second {chunk.content}" for chunk in llm.stream("hello"))

    thread = threading.Thread(target=second)
    thread.start()
    while llmkeep.default_cache().stats().acquired < 1:
        threading.Event().wait(0.001)
    order.extend(f"first {chunk.content}" for chunk in first)
    thread.join(10)
    assert [text.split()[0] for text in order] == ["first"] * 3 + ["second"] * 4


def test_i8_asking_an_exclusive_model_again_under_its_own_stream_is_an_error():
    """Whoever reads a stream and calls the same model in the same thread would wait for itself."""
    llm = chat_model("fake_exclusive:a")
    stream = llm.stream("hello")
    next(stream)
    with pytest.raises(llmkeep.WouldDeadlock):
        llm.invoke("again")
    stream.close()  # type: ignore[attr-defined]


async def test_i8_so_it_is_in_the_same_task():
    """The same for a task that streams within its own stream."""
    llm = chat_model("fake_exclusive:a")
    stream = llm.astream("hello")
    await anext(stream)
    with pytest.raises(llmkeep.WouldDeadlock):
        await anext(llm.astream("again"))
    await stream.aclose()  # type: ignore[attr-defined]


async def test_i3_a_model_without_asynchronous_methods_is_leased_by_the_thread_that_works():
    """Cancelling the task does not return an instance that its thread is still using."""
    entered, go_on = threading.Event(), threading.Event()

    def hook() -> None:
        entered.set()
        assert go_on.wait(10)

    llmkeep.models.register(
        fake_adapter(path="tests.models.fakes:ChatSyncFake", key=None, environment={})
    )
    llm = chat_model("fake:a", hook=hook)
    assert isinstance(llm, ChatSyncFake)
    task = asyncio.create_task(llm.ainvoke("hello"))
    await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leased() == 1
    go_on.set()
    await until(lambda: leased() == 0)
