"""Everything at once, at random: whatever happens, nothing stays open and nothing is warned of."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import uvloop

from tests.support.standin import StandIn
from tests.transports.conftest import PATIENCE, openai, openai_stream, plain

THREADS, RUNS = 4, 15


async def leave(standin: StandIn, client: Any, chance: random.Random) -> None:
    async with client.stream("GET", f"{standin.url}/drip") as response:
        async for _ in response.aiter_bytes():
            break


async def drop(standin: StandIn, client: Any, chance: random.Random) -> None:
    await client.send(client.build_request("GET", f"{standin.url}/drip"), stream=True)


async def read_for_ever(standin: StandIn, client: Any) -> None:
    async with client.stream("GET", f"{standin.url}/drip") as response:
        await response.aread()


async def cancel(standin: StandIn, client: Any, chance: random.Random) -> None:
    reader = asyncio.create_task(read_for_ever(standin, client))
    await asyncio.sleep(chance.random() * 0.03)
    reader.cancel()
    await asyncio.wait([reader])


async def time_out(standin: StandIn, client: Any, chance: random.Random) -> None:
    with anyio.move_on_after(chance.random() * 0.03):
        await read_for_ever(standin, client)


async def ask(standin: StandIn, client: Any, chance: random.Random) -> None:
    await chance.choice((plain, openai, openai_stream))(standin, client)


DOINGS: list[Any] = [ask, ask, leave, drop, cancel, time_out]


# AnyIO's own, where `asyncio.run` cancels a connection attempt that has not started.
@pytest.mark.filterwarnings("ignore:coroutine .*try_connect' was never awaited:RuntimeWarning")
# CPython's own: the collector, in one thread, hands dropped generators to a loop that runs in
# another, which begins to close them while the collector is still about to finalise the inner ones.
@pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored.*generator already executing"
    ":pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("seed", [1, 2])
def test_i5_anything_at_once(
    standin: StandIn, shared: Any, connections: Callable[[], int], seed: int
) -> None:
    """Loops in threads, with requests that end in every way, or are left to the loop's end."""
    failures: list[BaseException] = []

    async def live(chance: random.Random) -> None:
        def doing() -> Any:
            return chance.choice(DOINGS)(standin, shared, chance)

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(doing() for _ in range(chance.randint(1, 5))))
        if chance.random() < 0.3:
            left = [asyncio.ensure_future(doing()) for _ in range(2)]
            await asyncio.wait(left, timeout=chance.random() * 0.01)

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        try:
            for _ in range(RUNS):
                factory = chance.choice((asyncio.new_event_loop, uvloop.new_event_loop))
                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(live(chance))
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert not failures
    assert connections() == 0
    gc.collect()  # warnings of what was left open come now, and are errors
