"""One run: a cache, the actors that use it, and what is looked at after each of their steps.

What the checks know comes from outside the cache wherever it can: who holds which client, which
factories run, what was closed. The books are compared with each other as well.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from llmkeep import ClientCache
from llmkeep.core.deadlocks import building
from llmkeep.core.errors import CacheClosed
from llmkeep.core.telling import stats
from tests.core.books import _check_records, _check_rest
from tests.schedules.scheduler import ScheduledLoop, Scheduler, Violation
from tests.schedules.seams import open_to

#: What every counter that may not go backwards is called.
COUNTERS: Final = tuple(
    "acquired hits built joined builds builds_ok build_failures builds_abandoned closed".split()  # noqa: SIM905 - reads best
)


class Client:
    """What the factories make."""

    def __init__(self, key: str, number: int) -> None:
        self.key: Final = key
        self.number: Final = number
        self.closes = 0
        self.holders = 0

    def __repr__(self) -> str:
        return f"<client {self.number} of {self.key!r}>"


class World:
    """Lives as long as one run."""

    def __init__(self, scheduler: Scheduler, *, fine: bool) -> None:
        self.scheduler: Final = scheduler
        self.cache: ClientCache[str, Client] = None  # type: ignore[assignment]
        self.clients: Final[list[Client]] = []
        #: What became of each caller: "ok", or the name of an error.
        self.outcomes: Final[Counter[str]] = Counter()
        self.tasks: Final[list[asyncio.Task[None]]] = []
        self._fine: Final = fine
        self._allowed: tuple[type[BaseException], ...] = ()
        self._failing = 0
        self._calls = 0
        self._running: Final[dict[int, Any]] = {}
        #: Clients made by builds that had begun before an invalidation that is over.
        self._stale: Final[set[int]] = set()
        self._former: dict[str, int] = {}
        self._breaks_leases = False
        self._seen = 0
        self._broken: Final[list[str]] = []

    # -- setting up --------------------------------------------------------------------------------

    def open(self, *, failing: int = 0, asynchronous: bool = False, **options: Any) -> None:
        """The cache. The first `failing` builds fail; with `asynchronous`, tasks build as tasks."""
        self._failing = failing
        self.cache = ClientCache(
            self._build,
            abuild=self._abuild if asynchronous else None,
            close=self._close,
            name="explored",
            **{"idle_ttl": None, "close_timeout": None, **options},
        )
        open_to(self.cache, self.scheduler, fine=self._fine)

    def allow(self, *errors: type[BaseException]) -> None:
        """Callers may end so, too."""
        self._allowed = errors

    def thread(self, *steps: Callable[[], object]) -> None:
        """An actor that takes one step after the other."""

        def run() -> None:
            for step in steps:
                try:
                    step()
                except self._allowed as error:
                    self.outcomes[type(error).__name__] += 1
                else:
                    self.outcomes["ok"] += 1

        self.scheduler.spawn(run)

    def loop(self, *works: Callable[[], Awaitable[None]]) -> None:
        """An actor that is an event loop, with a task for each of `works`."""

        async def run(work: Callable[[], Awaitable[None]]) -> None:
            try:
                await work()
            except self._allowed as error:
                self.outcomes[type(error).__name__] += 1
            else:
                self.outcomes["ok"] += 1

        async def main() -> None:
            tasks = [asyncio.create_task(run(work)) for work in works]
            self.tasks.extend(tasks)
            await asyncio.gather(*tasks)

        self.scheduler.spawn(lambda: ScheduledLoop(self.scheduler).run_to_its_end(main()))

    # -- what actors do ----------------------------------------------------------------------------

    def lease(self, key: str = "k", **options: Any) -> None:
        """Lease, use, return."""
        stale = set(self._stale)
        with self.cache.lease(key, **options) as client:
            self._take(client, key, stale)
            self.scheduler.point()
            self._give(client)

    async def alease(self, key: str = "k", **options: Any) -> None:
        """Lease, use, return, in a task."""
        stale = set(self._stale)
        async with self.cache.lease(key, **options) as client:
            self._take(client, key, stale)
            try:
                await asyncio.sleep(0)
            finally:
                self._give(client)

    def lease_and_drop(self, key: str = "k") -> None:
        """Lease, and forget to return: the lease's finalizer does."""
        stale = set(self._stale)
        lease = self.cache.lease(key)
        client = lease.__enter__()
        self._take(client, key, stale)
        self.scheduler.point()
        self._give(client)
        del lease

    def lease_across_a_fork(self, key: str = "k") -> None:
        """Fork while leasing: the child builds its own, and closes nothing of its parent's."""
        stale = set(self._stale)
        with self.cache.lease(key) as client:
            self._take(client, key, stale)
            self.fork()
            self._give(client)

    def fork(self) -> None:
        """Fork; the child leases anew, and closes its cache."""
        inherited = list(self.clients)
        closes = [client.closes for client in inherited]

        def in_child() -> None:
            with self.cache.lease("k") as client:
                assert client not in inherited, "the child got what its parent opened"
            self.cache.invalidate("k")
            with self.cache.lease("k"):
                pass
            figures = self.cache.stats()
            assert (figures.builds, figures.acquired) == (2, 2), "its counters start at zero"
            self.cache.close(timeout=5.0)
            assert [client.closes for client in inherited] == closes

        self.scheduler.fork(in_child)

    def warm(self) -> None:
        """Make ready."""
        self.cache.warm("k")

    def invalidate(self) -> None:
        """Retire; who leases from now on gets something newer than what was there before."""
        begun = self._calls
        self.cache.invalidate("k")
        self._stale.update(range(1, begun + 1))

    def clear(self) -> None:
        """Retire everything."""
        begun = self._calls
        self.cache.clear()
        self._stale.update(range(1, begun + 1))

    def close(self, timeout: float | None = None) -> None:
        """Shut the cache down, for good."""
        self._breaks_leases = timeout is not None
        self.cache.close(timeout=timeout)
        self._stale.update(range(1, self._calls + 1))

    def time_passes(self, seconds: float = 100.0) -> None:
        """The housekeeper comes, that much later."""
        self.scheduler.now += seconds
        self.cache._ledger.sweep(self.scheduler.now)

    def cancel(self, number: int = 0) -> None:
        """Cancel a task, by the order in which they began."""
        self.scheduler.block(lambda: len(self.tasks) > number)
        task = self.tasks[number]
        try:
            task.get_loop().call_soon_threadsafe(task.cancel)
        except RuntimeError:
            pass  # its loop has ended

    # -- factories ---------------------------------------------------------------------------------

    def _build(self, key: str) -> Client:
        number = self._begin()
        try:
            self.scheduler.point()
            return self._make(key, number)
        finally:
            del self._running[number]

    async def _abuild(self, key: str) -> Client:
        number = self._begin()
        try:
            await asyncio.sleep(0)
            return self._make(key, number)
        finally:
            del self._running[number]

    def _begin(self) -> int:
        self._calls += 1
        self._running[self._calls] = building.get()
        return self._calls

    def _make(self, key: str, number: int) -> Client:
        if number <= self._failing:
            raise ConnectionError(key)
        client = Client(key, number)
        self.clients.append(client)
        return client

    def _close(self, client: Client) -> None:
        client.closes += 1
        # Written down, since the cache goes on whatever a close raises.
        if client.closes > 1:
            self._broken.append(f"I4: {client} is closed a second time")
        if client.holders and not self._breaks_leases:
            self._broken.append(f"I3: {client} is closed while leased")
        self.scheduler.point()

    def _take(self, client: Any, key: str, stale: set[int]) -> None:
        client.holders += 1
        _must(client.key == key, "I11: a client of another key")
        _must(client.closes == 0 or self._breaks_leases, f"I3: {client} is leased and closed")
        _must(client.number not in stale, f"I4: {client} is leased after it was invalidated")
        capacity = self.cache._policy.scope.capacity
        _must(client.holders <= capacity, f"more than {capacity} leases of {client}")

    def _give(self, client: Client) -> None:
        _must(client.closes == 0 or self._breaks_leases, f"I3: {client} was closed while leased")
        client.holders -= 1

    # -- checks ------------------------------------------------------------------------------------

    def check(self) -> None:
        """After each step; the books after one that ended a section, unless the next has begun."""
        _must(not self._broken, "; ".join(self._broken))
        books: Any = self.cache._ledger
        if books.lock.releases == self._seen or not books.lock.is_free:
            return
        self._seen = books.lock.releases
        current = Counter(
            flight.slot
            for flight in self._running.values()
            if not flight.over and not flight.abandoned
        )
        _must(all(count == 1 for count in current.values()), "I1: two current builds of one key")
        _must(all(not slot.instance for slot in current), "I1: a build beside a ready instance")
        _check_records(books)
        figures = vars(stats(books))
        _must(
            figures["acquired"] == figures["hits"] + figures["built"] + figures["joined"]
            and figures["builds"]
            == figures["builds_ok"]
            + figures["build_failures"]
            + figures["builds_abandoned"]
            + figures["building"]
            and figures["live"] == figures["leased"] + figures["idle"] + figures["retired"]
            and min(figures.values()) >= 0,
            f"I13: the figures do not add up: {figures}",
        )
        back = [name for name in COUNTERS if figures[name] < self._former.get(name, 0)]
        _must(not back, f"I13: {back} went backwards")
        self._former = figures

    def check_at_rest(self) -> None:
        """Everybody has gone: nothing is leased, waited for, built, or left to be done."""
        books: Any = self.cache._ledger
        _check_rest(books)
        _must(not list(books.outbox) and not list(books.news), "something was left to be done")
        _must(not books.flights, "a build is never over")
        _must(not any(client.holders for client in self.clients), "a client is still held")

    def check_closed(self) -> None:
        """The cache is closed: everything that was made is, once."""
        open_ = [client for client in self.clients if client.closes != 1]
        _must(not open_, f"I4: not closed once each: {open_}")
        _must(stats(self.cache._ledger).live == 0, "I13: something lives in a closed cache")

    def abandon(self) -> None:
        """After a violation: nobody closes the cache any more, and it need not say so."""
        books = self.cache._ledger
        books.shut = True
        books.open.clear()
        books.home.slots.clear()

    def close_in_the_end(self) -> None:
        """Unless the run itself did."""
        self.cache.close(timeout=5.0)
        try:
            self.cache.warm("k")
        except CacheClosed:
            return
        raise Violation("a closed cache builds")


def _must(holds: bool, rule: str) -> None:
    if not holds:
        raise Violation(rule)
