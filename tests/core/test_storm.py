"""A short storm over everything at once: threads, loops that come and go, invalidations, failures,
time limits, drops and cancels, with the books looked at all the while (I1, I3, I4, I7, I13).

The seed of a failing run is in its message; `STORM_SEED` runs it again.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time
from functools import partial
from typing import Any, Final

import pytest

from llmkeep import ClientCache, LeaseTimeout, Scope
from tests.core.books import check, check_at_rest
from tests.core.tools import WAIT, Client, alease, assert_alive, lease, start, sweep, until

SEED: Final = int(os.environ.get("STORM_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
KEYS: Final = 6
SECONDS: Final = 1.0


class Refused(Exception):
    """What a build raises now and then."""


class Factory:
    """Builds and closes, and keeps account of what is open and what is being built."""

    def __init__(self, seed: int, homes: int) -> None:
        self.random = random.Random(seed)
        #: Builds of one key at a time: for each home the current one, and an abandoned one.
        self.most = 2 * homes
        self.lock = threading.RLock()  # the collector may end a coroutine inside
        self.clients: list[Client] = []
        #: For each build under way its key, and the loop that it is on.
        self.building: list[tuple[Any, Any]] = []
        self.faults: list[str] = []

    def build(self, key: Any) -> Client:
        """Takes a moment, and fails now and then."""
        client, pause = self._begin(key, None)
        time.sleep(pause)  # the load itself; nothing relies on how long it is
        return self._end(key, None, client)

    async def abuild(self, key: Any) -> Client:
        """The same on a loop."""
        loop = asyncio.get_running_loop()
        client, pause = self._begin(key, loop)
        try:
            await asyncio.sleep(pause)
        except BaseException:
            with self.lock:
                self.building.remove((key, loop))
                client.closes = 1  # it was never given away
            raise
        return self._end(key, loop, client)

    def close(self, client: Client) -> None:
        """Counts."""
        with self.lock:
            client.closes += 1

    def _begin(self, key: Any, loop: Any) -> tuple[Client, float]:
        with self.lock:
            self.building.append((key, loop))
            # What was on a loop that is closed will never go on.
            running = [on for of, on in self.building if of == key and not (on and on.is_closed())]
            if len(running) > self.most:
                self.faults.append(f"{len(running)} builds of {key} at once")
            client = Client(key, len(self.clients))
            self.clients.append(client)
            return client, self.random.choice((0, 0, 0.0005, 0.002))

    def _end(self, key: Any, loop: Any, client: Client) -> Client:
        with self.lock:
            self.building.remove((key, loop))
            if self.random.random() < 0.05:
                client.closes = 1
                raise Refused
        return client


class Storm:
    """Callers that do as they please until time is up."""

    def __init__(self, cache: ClientCache[Any, Any], seed: int) -> None:
        self.cache = cache
        self.seed = seed
        self.until = time.monotonic() + SECONDS

    def thread(self, number: int) -> None:
        """Leases, one in another, with and without time limits; retires now and then."""
        choose = random.Random(self.seed + number)
        while time.monotonic() < self.until:
            try:
                with self.cache.lease(
                    choose.randrange(KEYS), timeout=choose.choice((None, 0.5, 0))
                ):
                    if choose.random() < 0.1:
                        lease(self.cache, KEYS + choose.randrange(3))
            except (Refused, LeaseTimeout):
                pass
            if choose.random() < 0.05:
                self.cache.invalidate(choose.randrange(KEYS))

    def loops(self, number: int) -> None:
        """One loop after the other, each with a few tasks, some of which are cancelled."""
        choose = random.Random(self.seed + number)

        async def hold(key: int) -> None:
            async with self.cache.lease(key) as client:
                assert_alive(client)
                await asyncio.sleep(choose.choice((0, 0.0005)))
                assert_alive(client)

        async def main() -> None:
            tasks = [asyncio.create_task(hold(choose.randrange(KEYS))) for _ in range(8)]
            await asyncio.sleep(choose.choice((0, 0.001)))
            for task in choose.sample(tasks, 2):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for result in results:
                assert result is None or isinstance(result, (Refused, asyncio.CancelledError))
            asyncio.create_task(alease(self.cache, 0)).add_done_callback(_retrieve)  # left behind

        while time.monotonic() < self.until:
            asyncio.run(main())

    def look(self) -> int:
        """Look at the books, keep house, and clear now and then."""
        samples = 0
        while time.monotonic() < self.until:
            check(self.cache)
            sweep(self.cache, 700 if samples % 20 == 0 else 0)
            if samples % 50 == 0:
                self.cache.clear()
            samples += 1
            time.sleep(0.002)  # between two samples
        return samples


def _no_builds(cache: ClientCache[Any, Any]) -> bool:
    sweep(cache, 0)
    return not cache._ledger.flights


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


SCOPES = {"process": Scope.PROCESS, "loop": Scope.LOOP, "exclusive": Scope.exclusive(2)}


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_i3_a_storm_ends_with_everything_closed_once(scope: Scope) -> None:
    """Nothing is closed while it is leased, built more than it may be, or left open."""
    factory = Factory(SEED, homes=3 if scope is Scope.LOOP else 1)
    cache: ClientCache[Any, Any] = ClientCache(
        factory.build, abuild=factory.abuild, close=factory.close, scope=scope, max_idle=3
    )
    storm = Storm(cache, SEED)
    workers = [start(storm.thread, number) for number in range(4)]
    workers += [start(storm.loops, 100 + number) for number in range(2)]
    sampler = start(storm.look)
    try:
        for worker in workers:
            worker.result(WAIT)
        assert sampler.result(WAIT) > 10
        assert not factory.faults
        until(partial(_no_builds, cache), "the end of all builds")
        check_at_rest(cache)
        cache.close(timeout=WAIT)
        gc.collect()  # coroutines whose loops were closed under them
        until(lambda: all(client.closes for client in factory.clients), "the close of all clients")
        assert {client.closes for client in factory.clients} == {1}
        check(cache)
    except BaseException as error:
        error.add_note(f"STORM_SEED={SEED}")
        raise
