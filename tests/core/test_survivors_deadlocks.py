"""What mutation testing of the wait graph found unproved."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from llmkeep import ClientCache, Scope, WouldDeadlock
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Client,
    Gate,
    alease,
    auntil,
    lease,
    start,
    until_waiting,
    waiting,
)


def test_i8_the_cycle_is_told_to_its_end(make_cache: MakeCache, open_gate: Gate) -> None:
    """The caller, whom it waits for, and so on until somebody waits for the caller."""
    cache = make_cache(scope=Scope.exclusive(1))
    holds = threading.Event()

    def other() -> None:
        with cache.lease("theirs"):
            holds.set()
            lease(cache, "mine")

    with cache.lease("mine"):
        them = start(other)
        assert holds.wait(WAIT)
        until_waiting(cache, 1)
        with pytest.raises(WouldDeadlock) as refused:
            lease(cache, "theirs")

    them.result(WAIT)
    caller, theirs, mine = refused.value.cycle
    assert caller.endswith("waits")
    assert theirs.endswith("which waits for another one")
    assert mine.endswith("which waits for the caller")


async def test_i8_of_a_builds_waits_one_may_end_and_the_others_still_count(
    make_cache: MakeCache,
) -> None:
    """1. a build waits for two at once; 2. it has one; 3. who holds the other asks for it."""
    had: list[Any] = []

    async def build(spec: Any) -> Client:
        if spec == "both":

            async def have(part: str) -> None:
                had.append(await alease(cache, part))

            await asyncio.gather(have("first"), have("second"))
        return Client(spec, 0)

    cache: ClientCache[Any, Any] = make_cache(None, abuild=build, scope=Scope.exclusive(1))
    first, second = cache.lease("first"), cache.lease("second")
    await first.__aenter__()
    await second.__aenter__()
    both = asyncio.create_task(alease(cache, "both"))
    await auntil(lambda: waiting(cache) == 3, "three who wait")
    first.__exit__(None, None, None)
    await auntil(lambda: had, "the first")

    with pytest.raises(WouldDeadlock):
        async with asyncio.timeout(WAIT):
            await alease(cache, "both")

    second.__exit__(None, None, None)
    await both
