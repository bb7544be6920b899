"""One client, many event loops: nothing fails, nothing is sent twice, nothing stays open."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from llmkeep.transports import async_client
from tests.support.standin import StandIn
from tests.transports.conftest import ASKS, plain

RUNS = 6


@pytest.mark.parametrize(("library", "ask"), ASKS)
def test_i5_repeated_runs_share_a_client(
    run: Callable[[Any], Any],
    standin: StandIn,
    shared: Any,
    ask: Any,
    connections: Callable[[], int],
) -> None:
    """Each loop opens its own connection, reuses it, and leaves none behind."""

    async def twice() -> None:
        await ask(standin, shared)
        await ask(standin, shared)

    for done in range(1, RUNS + 1):
        run(twice())

        assert connections() == 0
        assert len(standin.requests) == 2 * done
        assert standin.connections == done


@pytest.mark.parametrize(("library", "ask"), ASKS)
def test_i5_loops_in_threads_share_a_client(
    run: Callable[[Any], Any],
    standin: StandIn,
    shared: Any,
    ask: Any,
    connections: Callable[[], int],
) -> None:
    """Loops that run at the same time keep to their own connections."""
    threads, tasks = 4, 3
    start = threading.Barrier(threads)
    failures: list[BaseException] = []

    async def together() -> None:
        start.wait()
        await asyncio.gather(*(ask(standin, shared) for _ in range(tasks)))

    def work() -> None:
        try:
            for _ in range(2):
                run(together())
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert not failures
    assert len(standin.requests) == threads * tasks * 2
    assert connections() == 0


def test_i5_second_loop_runs_while_the_first_waits(
    standin: StandIn, shared: Any, connections: Callable[[], int]
) -> None:
    """A loop started and ended inside another's life takes nothing of it along."""

    async def outer() -> None:
        await plain(standin, shared)
        await asyncio.to_thread(asyncio.run, plain(standin, shared))
        assert connections() == 1
        await plain(standin, shared)

    asyncio.run(outer())

    first, second, third = (request.client_port for request in standin.requests)
    assert first == third != second
    assert connections() == 0


def test_i5_loop_closed_without_ceremony_leaks_no_socket(
    standin: StandIn, shared: Any, connections: Callable[[], int]
) -> None:
    """A dead loop's sockets go with it, with Python's own warning; others notice nothing."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(plain(standin, shared))
    assert connections() == 1
    loop.close()

    with pytest.warns(ResourceWarning, match="unclosed"):
        gc.collect()

    assert connections() == 0  # although `loop` itself is still held
    asyncio.run(plain(standin, shared))
    assert len(standin.requests) == 2


def test_i5_uvloop_closed_without_ceremony_leaks_no_socket(
    standin: StandIn, shared: Any, connections: Callable[[], int]
) -> None:
    """As on asyncio's loops; uvloop closes its sockets with the loop, and warns of them."""
    loop = uvloop.new_event_loop()
    loop.run_until_complete(plain(standin, shared))
    with pytest.warns(ResourceWarning):
        loop.close()
    gc.collect()

    assert connections() == 0
    asyncio.run(plain(standin, shared))
    assert len(standin.requests) == 2


def test_i5_loop_dropped_unclosed_leaks_no_socket(
    standin: StandIn, shared: Any, connections: Callable[[], int]
) -> None:
    """The client keeps no loop alive that everybody else has dropped."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(plain(standin, shared))
    dropped = weakref.ref(loop)
    del loop

    with pytest.warns(ResourceWarning):
        gc.collect()

    assert dropped() is None
    assert connections() == 0


def test_i5_dead_loops_leave_nothing_in_the_client(standin: StandIn, shared: Any) -> None:
    """What is kept per loop goes when the loop goes."""
    for _ in range(RUNS):
        asyncio.run(plain(standin, shared))
    gc.collect()

    assert ": 0 loops, 0 open" in repr(_transport(shared))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_i5_eager_task_factory(
    standin: StandIn, shared: Any, connections: Callable[[], int]
) -> None:
    """Tasks that start at once change nothing."""

    async def eagerly() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        await asyncio.gather(*(plain(standin, shared) for _ in range(3)))

    asyncio.run(eagerly())
    asyncio.run(eagerly())

    assert len(standin.requests) == 6
    assert connections() == 0


def test_client_needs_an_asyncio_loop(standin: StandIn, shared: Any) -> None:
    """Where no asyncio loop runs the error says so, before anything is sent."""
    call = _transport(shared).handle_async_request(None)

    with pytest.raises(RuntimeError, match="works on asyncio event loops"):
        call.send(None)


def test_sdk_retries_as_often_as_its_policy_says(standin: StandIn) -> None:
    """A failing provider sees the SDK's own retries and no more."""
    from openai import AsyncOpenAI, InternalServerError

    async def fail() -> None:
        async with AsyncOpenAI(
            base_url=standin.base_url("openai"),
            api_key="key",
            max_retries=1,
            http_client=async_client(verify=standin.trust()),
        ) as sdk:
            with pytest.raises(InternalServerError):
                await sdk.chat.completions.create(
                    model="any-model", messages=[{"role": "user", "content": "hello"}]
                )

    standin.llm.fail(500, times=None)
    asyncio.run(fail())

    assert len(standin.requests) == 2


def _transport(client: Any) -> Any:
    """The client's transport: httpx has no public name for it."""
    return client._transport
