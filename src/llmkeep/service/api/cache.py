"""`/api/cache`: what is kept in the process, as it is and as it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final

from fastapi import APIRouter
from fastapi.sse import format_sse_event

from .documented import problems
from .parts import Administrator, CountedUser, Parts, Service
from .schemas import CacheCleared, CacheNow
from .sse import EventStream

#: Seconds between two looks.
INTERVAL: Final = 1.0

router: Final = APIRouter(prefix="/api/cache", tags=["cache"])


@router.get("", operation_id="read_cache", responses=problems(403))
async def read_cache(service: Parts, _administrator: Administrator) -> CacheNow:
    """All caches of the process, and a row for each instance; for administrators."""
    return service.board.now()


@router.get(
    "/stream",
    operation_id="stream_cache",
    status_code=200,
    response_class=EventStream,
    responses=problems(403),
)
async def stream_cache(service: Parts, _administrator: Administrator) -> EventStream:
    """The same, about each second, for as long as somebody listens."""
    return EventStream(_looks(service), drop=service.drop_connection)


@router.post("/clear", operation_id="clear_cache", responses=problems(415, 429))
async def clear_cache(
    service: Parts, _administrator: Administrator, _who: CountedUser
) -> CacheCleared:
    """Retire every model, for administrators: answers under way go on, the next builds anew."""
    return CacheCleared(cleared=service.board.clear())


@asynccontextmanager
async def _looks(service: Service) -> AsyncIterator[AsyncIterator[Iterable[bytes]]]:
    async def each() -> AsyncGenerator[Iterable[bytes]]:
        while not service.draining.is_set():
            yield [format_sse_event(data_str=service.board.now().model_dump_json())]
            with suppress(TimeoutError):
                await asyncio.wait_for(service.draining.wait(), INTERVAL)

    async with aclosing(each()) as looks:
        yield looks
