"""Clients that leave the cache while a stream is being read through them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx2

from tests.conformance.stage import Made, Stage, auntil, scenario, until
from tests.conformance.subject import Keeping

GROUP = "Streams and bounds"

#: Seconds after which a client expires, where that is the point; its readers have it by then.
TTL: Final = 1.0

Leave = Callable[[Keeping], object]
ALeave = Callable[[Keeping], Awaitable[object]]


def _http(stage: Stage, *, asynchronous: bool = False) -> Made:
    """A factory of HTTP clients, the same kind on threads and loops."""
    kind = httpx2.AsyncClient if asynchronous else httpx2.Client
    return Made(lambda _: kind(verify=stage.upstream.trust, timeout=30))


def _request(stage: Stage, text: str) -> dict[str, Any]:
    message = {"role": "user", "content": stage.prompt(text)}
    return {
        "method": "POST",
        "url": f"{stage.upstream.base_url('openai')}/chat/completions",
        "json": {"model": "gpt-5-mini", "stream": True, "messages": [message]},
    }


def _while_reading(stage: Stage, leave: Leave, **bounds: Any) -> None:
    """Four threads each read a stream of key `a`; `leave` happens; they read on to the end."""
    made = _http(stage)
    kept = stage.keeper(made, blocking=True, **bounds)
    reading, left = threading.Semaphore(0), threading.Event()

    def read() -> None:
        with (
            kept.use("a") as client,
            client.stream(**_request(stage, "hold")) as answer,
        ):
            stage.wrong(client is not first)
            lines = answer.iter_lines()
            next(lines)
            reading.release()
            left.wait(20)
            stage.wrong(not any("[DONE]" in line for line in lines))

    def control() -> None:
        for _ in range(4):
            reading.acquire(timeout=10)
        try:
            leave(kept)
        finally:
            left.set()
            stage.upstream.control("release")

    first = stage.call(_take, kept)
    stage.together(5, lambda number: control() if number == 0 else stage.call(read))
    _count_open(stage, made, first, bounds.get("most"))
    kept.shut()


def _count_open(stage: Stage, made: Made, first: Any, most: int | None) -> None:
    """What is still open: beyond the bound, or of the one that had to go."""

    def left() -> int:
        return int(not first.is_closed) if most is None else max(0, made.unclosed() - most)

    until(lambda: not left(), 1.0)
    stage.outcome.unclosed = left()


def _awhile_reading(stage: Stage, leave: ALeave, **bounds: Any) -> None:
    """`_while_reading` with four tasks of one loop."""
    made = _http(stage, asynchronous=True)
    kept = stage.keeper(made, per_loop=True, **bounds)
    reading, left = 0, asyncio.Event()
    first: Any = None

    async def read() -> None:
        nonlocal reading
        async with (
            kept.ause("a") as client,
            client.stream(**_request(stage, "hold")) as answer,
        ):
            stage.wrong(client is not first)
            lines = answer.aiter_lines()
            await anext(lines)
            reading += 1
            await left.wait()
            found = [line async for line in lines if "[DONE]" in line]
            stage.wrong(not found)

    async def main() -> None:
        nonlocal first
        async with kept.ause("a") as first:
            pass  # which client there is first is all that is asked
        tasks = [asyncio.create_task(stage.acall(read())) for _ in range(4)]
        await auntil(lambda: reading == 4 or any(task.done() for task in tasks))
        try:
            await leave(kept)
        finally:
            left.set()
            await asyncio.to_thread(stage.upstream.control, "release")
        await asyncio.wait(tasks, timeout=stage.patience)
        await asyncio.to_thread(_count_open, stage, made, first, bounds.get("most"))

    asyncio.run(main())
    kept.shut()


def _take(kept: Keeping) -> Any:
    with kept.use("a") as client:
        return client


def _crowd_out(kept: Keeping) -> None:
    for key in ("b", "c", "d"):
        with kept.use(key):
            pass  # having it pushes others out


async def _acrowd_out(kept: Keeping) -> None:
    for key in ("b", "c", "d"):
        async with kept.ause(key):
            pass  # having it pushes others out


async def _aforget(kept: Keeping) -> None:
    await asyncio.to_thread(kept.forget, "a")


async def _aclear(kept: Keeping) -> None:
    await asyncio.to_thread(kept.clear)


def _expire(kept: Keeping) -> None:
    time.sleep(1.2 * TTL)  # time passing is what is replayed
    _crowd_out(kept)


async def _aexpire(kept: Keeping) -> None:
    await asyncio.sleep(1.2 * TTL)  # time passing is what is replayed
    await _acrowd_out(kept)


@scenario(GROUP)
def evicted_under_streams(stage: Stage) -> None:
    """Other keys crowd out a client while its streams are read: none breaks, then it is closed."""
    _while_reading(stage, _crowd_out, most=1)


@scenario(GROUP)
def evicted_under_streams_on_loop(stage: Stage) -> None:
    """The same on an event loop, with asynchronous clients."""
    _awhile_reading(stage, _acrowd_out, most=1)


@scenario(GROUP)
def expired_under_streams(stage: Stage) -> None:
    """A client's time is over while its streams are being read: none breaks, then it is closed."""
    _while_reading(stage, _expire, ttl=TTL)


@scenario(GROUP)
def expired_under_streams_on_loop(stage: Stage) -> None:
    """The same on an event loop, with asynchronous clients."""
    _awhile_reading(stage, _aexpire, ttl=TTL)


@scenario(GROUP)
def invalidated_under_streams(stage: Stage) -> None:
    """A key is let go while its streams are being read: none breaks, then it is closed."""
    _while_reading(stage, lambda kept: kept.forget("a"))


@scenario(GROUP)
def invalidated_under_streams_on_loop(stage: Stage) -> None:
    """The same on an event loop, with asynchronous clients."""
    _awhile_reading(stage, _aforget)


@scenario(GROUP)
def cleared_under_streams(stage: Stage) -> None:
    """Everything is let go while streams are being read: none breaks, then it is closed."""
    _while_reading(stage, lambda kept: kept.clear())


@scenario(GROUP)
def cleared_under_streams_on_loop(stage: Stage) -> None:
    """The same on an event loop, with asynchronous clients."""
    _awhile_reading(stage, _aclear)


@scenario(GROUP)
def many_keys(stage: Stage) -> None:
    """60 keys pass through room for 5: no more than 5 clients and their sockets stay open."""
    made = _http(stage)
    kept = stage.keeper(made, blocking=True, most=5)

    def ask(key: str) -> None:
        with kept.use(key) as client:
            client.request(**_request(stage, "say")).raise_for_status()

    for number in range(60):
        stage.call(ask, f"key {number}")
    until(lambda: made.unclosed() <= 5, 1.0)
    stage.outcome.unclosed = max(0, made.unclosed() - 5)
    kept.shut()
    until(lambda: not made.unclosed(), 1.0)
    stage.look_at_sockets()
    for client in made.clients:
        client.close()
