"""Random lives of a cache beside a reference that is simple enough to be right, for one synchronous
caller at a time (I1, I3, I4, I6, I10, I13).

The reference knows no locks, threads, flights or slots: who has what is three small collections.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from llmkeep import ClientCache
from tests.core.books import check
from tests.core.tools import Client, sweep, until

MAX_IDLE = 2


class Reference:
    """What a cache with `max_idle=2` has to do."""

    def __init__(self) -> None:
        self.ready: dict[str, int] = {}  # key: number of its instance
        self.out: list[int] = []  # a number for each lease that is out
        self.idle: list[int] = []  # longest idle first
        self.closed: set[int] = set()
        self.builds = self.failures = self.hits = self.built = 0

    def make_ready(self, key: str, broken: bool) -> bool:
        """False if the build fails."""
        if key in self.ready:
            return True
        self.builds += 1
        self.failures += broken
        if not broken:
            self.ready[key] = self.builds
        return not broken

    def lease(self, key: str, broken: bool) -> int | None:
        """The number of the instance, None for a failure."""
        was_ready = key in self.ready
        if not self.make_ready(key, broken):
            return None
        self.hits += was_ready
        self.built += not was_ready
        number = self.ready[key]
        self.out.append(number)
        self.idle = [each for each in self.idle if each != number]
        return number

    def settle(self, number: int) -> None:
        """Somebody has let go of `number`, or made it."""
        if number in self.out or number in self.idle:
            return
        if number not in self.ready.values():
            self.closed.add(number)
            return
        self.idle.append(number)
        while len(self.idle) > MAX_IDLE:
            self.retire(self.idle[0])

    def retire(self, *numbers: int) -> None:
        """No new lease gets these."""
        self.ready = {key: each for key, each in self.ready.items() if each not in numbers}
        self.idle = [each for each in self.idle if each not in numbers]
        self.closed |= {each for each in numbers if each not in self.out}


class Life(RuleBasedStateMachine):
    """The cache and the reference do the same, and are compared after each step."""

    leases = Bundle("leases")
    keys = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.expected = Reference()
        self.clients: dict[int, Client] = {}
        self.broken: set[str] = set()
        self.entered: list[Any] = []
        self.calls = 0
        self.cache: ClientCache[str, Client] = ClientCache(
            self.build, close=self.close, max_idle=MAX_IDLE, idle_ttl=600.0, max_age=6000.0
        )

    def build(self, key: str) -> Client:
        """The factory of the cache."""
        self.calls += 1
        if key in self.broken:
            raise ConnectionError(key)
        self.clients[self.calls] = Client(key, self.calls)
        return self.clients[self.calls]

    def close(self, client: Client) -> None:
        """Its close."""
        client.closes += 1

    @rule(target=leases, key=keys)
    def enter(self, key: str) -> Any:
        """Lease; None where the build fails."""
        expected = self.expected.lease(key, key in self.broken)
        leased = self.cache.lease(key)
        try:
            assert leased.__enter__().number == expected
            self.entered.append(leased)
        except ConnectionError:
            assert expected is None
        return leased, expected

    @rule(taken=consumes(leases))
    def leave(self, taken: Any) -> None:
        """Return one, in any order."""
        leased, number = taken
        if number is not None:
            leased.__exit__(None, None, None)
            self.entered.remove(leased)
            self.expected.out.remove(number)
            self.expected.settle(number)

    @rule(key=keys)
    def warm(self, key: str) -> None:
        """Make ready."""
        if self.expected.make_ready(key, key in self.broken):
            self.cache.warm(key)
            self.expected.settle(self.expected.ready[key])
            return
        try:
            self.cache.warm(key)
        except ConnectionError:
            return
        raise AssertionError("the build should have failed")

    @rule(key=keys)
    def invalidate(self, key: str) -> None:
        """Retire one."""
        number = self.expected.ready.get(key)
        assert self.cache.invalidate(key) == (number is not None)
        if number is not None:
            self.expected.retire(number)

    @rule()
    def clear(self) -> None:
        """Retire all."""
        self.cache.clear()
        self.expected.retire(*self.expected.ready.values())

    @rule()
    def time_passes(self) -> None:
        """Long enough for what is idle."""
        sweep(self.cache, 601)
        self.expected.retire(*self.expected.idle)

    @rule()
    def much_time_passes(self) -> None:
        """Long enough for everything."""
        sweep(self.cache, 6001)
        self.expected.retire(*self.expected.ready.values())

    @rule(key=keys)
    def breaks_or_is_mended(self, key: str) -> None:
        """From now on builds of `key` fail, or no longer do."""
        self.broken ^= {key}

    @invariant()
    def agree(self) -> None:
        """Every figure, every close."""
        expected, cache = self.expected, self.cache
        until(lambda: cache.stats().closed == len(expected.closed), "all closes")
        closes = {number: client.closes for number, client in self.clients.items()}
        assert closes == {number: int(number in expected.closed) for number in self.clients}
        leased = len(set(expected.out) & set(expected.ready.values()))
        retired = len(set(expected.out) - set(expected.ready.values()))
        stats = cache.stats()
        assert (stats.leased, stats.idle, stats.retired) == (leased, len(expected.idle), retired)
        assert (stats.builds, stats.build_failures) == (expected.builds, expected.failures)
        assert (stats.hits, stats.built, stats.joined) == (expected.hits, expected.built, 0)
        check(cache)

    def teardown(self) -> None:
        """What is out comes back, and everything is closed once."""
        for leased in self.entered:
            leased.__exit__(None, None, None)
        self.cache.close(timeout=5.0)
        assert {client.closes for client in self.clients.values()} <= {1}


def test_i3_random_lives_agree_with_a_reference() -> None:
    """After every step of every life: who is leased, idle, closed, and all counters."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=100, stateful_step_count=40, deadline=None, database=None, print_blob=True
        ),
    )
