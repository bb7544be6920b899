"""What mutation testing of the ends of event loops found unproved."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from llmkeep import Scope
from llmkeep.core.events import Event, Retired
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Client, Gate, alease, lease, start, until

#: Seconds that a loop may give what is left on it; longer than anything here waits.
PATIENCE = 10 * WAIT

#: Turns of a loop; far more than it takes to end where nobody waits.
LONG = 200


@pytest.fixture
def patient_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop does not end because its patience has."""
    monkeypatch.setattr("llmkeep.core.cache.AT_LOOP_END", PATIENCE)


@pytest.mark.usefixtures("patient_loops")
def test_i5_a_loop_that_ends_waits_for_its_leases_and_for_what_they_lead_to(
    make_cache: MakeCache, gate: Gate
) -> None:
    """1. the loop is ending; 2. a lease comes back; 3. its client is closed there, on the loop."""
    closed_on: list[Any] = []
    loops: list[Any] = []

    async def close(client: Client) -> None:
        closed_on.append(asyncio.get_running_loop())

    cache = make_cache(abuild=gate.abuild, close=close, scope=Scope.LOOP)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loops.append(loop)
        leased = cache.lease("k")
        await leased.__aenter__()

        def give_back(turns: int) -> None:
            if turns:
                loop.call_soon(give_back, turns - 1)
            else:
                leased.__exit__(None, None, None)

        def retired(event: Event) -> None:
            if isinstance(event, Retired):
                give_back(LONG)

        cache.subscribe(retired)

    gate.open()
    start(asyncio.run, main()).result(WAIT)

    assert closed_on == loops


@pytest.mark.usefixtures("patient_loops")
def test_i5_a_loop_that_ends_waits_for_no_close_of_others(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """What threads share is closed beside it, for as long as that takes."""
    go = threading.Event()

    def close(client: Client) -> None:
        if client.spec == "threads":
            go.wait()

    cache = make_cache(close=close, scope=Scope.LOOP, close_timeout=None)
    lease(cache, "threads")
    cache.invalidate("threads")

    try:
        start(asyncio.run, alease(cache, "loop")).result(WAIT)
        assert cache.stats().closed == 1
    finally:
        go.set()
    until(lambda: cache.stats().closed == 2, "the other close")


@pytest.mark.usefixtures("patient_loops")
def test_i5_a_loop_that_ends_waits_for_nothing_that_goes_on_without_it(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """An instance of the whole process stays, although it was built there."""
    cache = make_cache(abuild=open_gate.abuild)

    client = start(asyncio.run, alease(cache)).result(WAIT)

    assert lease(cache) is client
