"""One handle for all threads, event loops and forked children: no failure, no extra request."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from typing import Any

import pytest

import llmkeep
from llmkeep.models import chat_model
from tests.models.fakes import KeyedStandIn

NAMES = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]


def asked(name: str, standin: KeyedStandIn, **parameters: Any) -> Any:
    standin.llm.reply("hello", times=None)
    return chat_model(name, max_retries=0, max_tokens=10, **parameters)


@pytest.mark.parametrize("name", NAMES)
def test_i5_twenty_loops_one_after_the_other(name, standin):
    """Each `asyncio.run` is one request, and leaves no connection behind."""
    llm = asked(name, standin)
    for _ in range(20):
        assert asyncio.run(llm.ainvoke("hi")).content == "hello"
    assert len(standin.requests) == 20
    assert standin.connections == 20
    assert llmkeep.stats().builds == 1


@pytest.mark.parametrize("name", NAMES)
def test_i5_threads_with_loops_of_their_own(name, standin):
    """Eight threads of ten `asyncio.run` each, beside synchronous callers: all are answered."""
    llm, errors = asked(name, standin), []

    async def stream() -> str:
        return "".join([str(chunk.content) async for chunk in llm.astream("hi")])

    def run(number: int) -> None:
        try:
            for _ in range(10):
                if number % 2:
                    assert asyncio.run(llm.ainvoke("hi")).content == "hello"
                else:
                    assert "hello" in (text := asyncio.run(stream())), text
                assert llm.invoke("hi").content == "hello"
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(standin.requests) == 160


@pytest.mark.parametrize("name", NAMES)
async def test_i7_a_call_that_is_cancelled_in_the_middle_leaves_the_next_one_whole(name, standin):
    """A stream that was left, and a task that was cancelled, close what they opened."""
    llm = asked(name, standin)
    standin.llm.stall(after_chunks=1, seconds=30)
    task = asyncio.create_task(llm.ainvoke("hi", stream=True))
    while not standin.requests:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async for _ in llm.astream("hi"):
        break
    assert (await llm.ainvoke("hi")).content == "hello"
    assert len(standin.requests) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("name", NAMES)
def test_i9_a_forked_child_builds_its_own(name, standin):
    """It speaks on connections of its own, and the parent goes on with its."""
    llm = asked(name, standin)
    assert llm.invoke("hi").content == "hello"
    assert asyncio.run(llm.ainvoke("hi")).content == "hello"
    stream = llm.stream("hi")
    next(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            assert llmkeep.stats().builds == 0
            assert llm.invoke("hi").content == "hello"
            assert asyncio.run(llm.ainvoke("hi")).content == "hello"
            stream.close()
            assert llmkeep.stats().builds == 1
            llmkeep.close(timeout=5)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert "".join(str(chunk.content) for chunk in stream) in "hello"
    assert llm.invoke("hi").content == "hello"
    assert llmkeep.stats().builds == 1
