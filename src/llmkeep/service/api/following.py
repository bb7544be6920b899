"""One reader's way from a run's frames to what is sent to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from llmkeep.service.records import Run
from llmkeep.service.runs.compat import translator

from .parts import Service
from .sse import EventStream, encoded


def follow(
    service: Service,
    run: Run,
    *,
    protocol_version: str | None,
    after: int = 0,
    is_starter: bool = False,
) -> EventStream:
    """The run's events behind number `after`, for a client that speaks this version of AG-UI."""
    translate = translator(protocol_version)

    @asynccontextmanager
    async def batches() -> AsyncIterator[AsyncIterator[Iterable[bytes]]]:
        async with service.runs.read(run, after=after, is_starter=is_starter) as reader:

            async def each() -> AsyncIterator[Iterable[bytes]]:
                async for frames in reader:
                    yield encoded(frames if translate is None else translate(frames))

            yield each()

    return EventStream(batches(), drop=service.drop_connection)
