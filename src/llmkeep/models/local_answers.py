"""Reading a turn of a local model: its questions asked one after the other, its chunks in order.

On a thread by a generator, on an event loop by an object. What is asked is decided in
`local_turns`; who answers, one question at a time, is `local_engine.Engine`.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.outputs import ChatGenerationChunk

from .local_engine import Delivery, Job, LocalModelError
from .local_turns import Read, Turn

Ask = Callable[[Mapping[str, Any], Callable[[Delivery], object]], Job]
"""Starts the answer to a request, whose pieces the callable gets."""


def read(turn: Turn, ask: Ask) -> Iterator[ChatGenerationChunk]:
    """The chunks of `turn`; leaving it stops the answer under way."""
    for step in turn:
        if isinstance(step, ChatGenerationChunk):
            yield step
            continue
        inbox: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        job = ask(step.request, inbox.put)
        try:
            while (delivery := _next(job, inbox)) is not None:
                if (chunk := _chunk(step.read, delivery)) is not None:
                    yield chunk
        finally:
            job.stop()


def _next(job: Job, inbox: queue.SimpleQueue[Delivery]) -> Delivery:
    if job.lost:
        raise LocalModelError("this answer was begun before a fork, and stays with the parent")
    return inbox.get()


def _chunk(read: Read, delivery: Mapping[str, Any] | BaseException) -> ChatGenerationChunk | None:
    if isinstance(delivery, BaseException):
        raise delivery
    return read(delivery)


class AsyncAnswer(AsyncIterator[ChatGenerationChunk]):
    """A turn that is read on an event loop; lives until it has been read or dropped.

    No generator: dropping one stops nothing until its event loop comes round to closing it, and
    the model's next caller would find it busy.
    """

    def __init__(
        self,
        begin: Callable[[], Turn],
        ask: Ask,
        run_manager: AsyncCallbackManagerForLLMRun | None,
    ) -> None:
        self._begin = begin
        self._ask = ask
        self._run_manager = run_manager
        self._turn: Turn | None = None
        self._read: Read | None = None  # what the question under way makes of its answer
        self._inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        self._job: Job | None = None
        self._ended = False

    async def __anext__(self) -> ChatGenerationChunk:
        if self._ended:
            raise StopAsyncIteration
        try:
            chunk = None
            while chunk is None:
                if self._read is None:
                    chunk = self._step()
                elif (delivery := await self._inbox.get()) is not None:
                    chunk = _chunk(self._read, delivery)
                else:
                    self._read = None
            if self._run_manager is not None:
                await self._run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        except BaseException:
            self._end()
            raise
        return chunk

    def _step(self) -> ChatGenerationChunk | None:
        """Go on to the next chunk or question; returns the former."""
        if self._turn is None:
            self._turn = self._begin()
        step = next(self._turn, None)
        if step is None:
            raise StopAsyncIteration
        if isinstance(step, ChatGenerationChunk):
            return step
        # What the model's thread gets must not hold this object: dropping it is a stop.
        put, loop = self._inbox.put_nowait, asyncio.get_running_loop()
        self._job = self._ask(step.request, lambda each: loop.call_soon_threadsafe(put, each))
        self._read = step.read
        return None

    async def aclose(self) -> None:
        """Stop the answer."""
        self._end()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        self._ended = True
        if self._job is not None:
            self._job.stop()
