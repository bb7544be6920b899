"""Stopping a task so that it has stopped, and what it opened is closed.

Two things stand in the way. Whoever waits may be cancelled again and again, as anyio does in a
cancelled scope: passed on, that would reach an SDK while it closes its response, and leave the
provider's connection open. And a single cancellation may be lost: until CPython 3.12,
`asyncio.wait_for` swallows one that comes together with the result it waits for (gh-86296), and
langchain-openai reads each chunk of a stream through it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, TypeVar

from anyio import CancelScope

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that what was cancelled gets to end: closing a connection takes no longer.
STOP_TIMEOUT: Final = 10.0

#: Seconds after which a cancellation that has had no effect is taken for lost.
PATIENCE: Final = 0.5


async def stop(task: asyncio.Task[Any]) -> None:
    """Cancel `task`, once, and wait for its end, however often we are cancelled meanwhile.

    One that does not end within `STOP_TIMEOUT` is left to itself, with a line in the log.
    """
    task.cancel()
    await ended(task)


async def ended(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task that has been cancelled; like `stop` in all else."""
    interruption = await _end_of(task, STOP_TIMEOUT)
    if not task.done():
        logger.warning("%s does not end: something in it ignores being cancelled", task.get_name())
    if interruption is not None:
        raise interruption


async def stoppable(work: Awaitable[T], context: Context | None = None) -> T:
    """Await `work`, in `context` if one is given; when cancelled, cancel it until it has ended."""
    task = asyncio.create_task(_awaited(work), context=context)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        for _ in range(int(STOP_TIMEOUT / PATIENCE)):
            if task.done():
                break
            task.cancel()
            await _end_of(task, PATIENCE)
        raise


async def undisturbed(work: Awaitable[T]) -> T:
    """Await `work` to its end, however often we are cancelled meanwhile.

    For what puts things in order, and is short. A cancellation is not passed on: whoever is left
    in order is at its end anyway.
    """
    task = asyncio.create_task(_awaited(work))
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    return task.result()


async def whole(work: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    """Await `work` to its end, however often we are cancelled meanwhile, and then be cancelled.

    For what must not be left in the middle, as several statements on another thread.
    """
    task = asyncio.ensure_future(work)
    interruption: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                interruption = error
    if interruption is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # nobody else will ask for it
    raise interruption


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def _end_of(task: asyncio.Task[Any], seconds: float) -> asyncio.CancelledError | None:
    """Wait for the end of `task`, for so long at most; gives the last cancellation meanwhile."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    interruption: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while not task.done() and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.wait({task}, timeout=left)
            except asyncio.CancelledError as error:
                interruption = error
    return interruption
