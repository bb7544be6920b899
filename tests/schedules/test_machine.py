"""Random lives of a cache with turns, on threads and two loops, beside a reference (I1, I3, I4, I6,
I7, I13).

One step at a time: what a step sets off is over before the next one. What happens *within* steps is
`test_schedules`'s matter; what a cache without turns does over time, `tests/core/test_model.py`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final

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

from llmkeep import CacheClosed, ClientCache, LeaseTimeout, Scope
from tests.core.books import check
from tests.core.tools import WAIT, Client, start, until

CAPACITY: Final = 2
FAILED: Final = -1
SHUT: Final = -2


class Reference:
    """What a cache does of which each instance may be leased twice at a time."""

    def __init__(self) -> None:
        self.made = 0
        self.ready: dict[str, int] = {}  # key: number of its instance
        self.holders: Counter[int] = Counter()
        self.queue: list[tuple[str, int]] = []  # key, ticket: first come first served
        self.given: dict[int, int] = {}  # ticket: number of the instance, or what went wrong
        self.broken: set[str] = set()
        self.shut = False

    def ask(self, key: str, ticket: int) -> None:
        self.queue.append((key, ticket))
        self.serve(key)

    def serve(self, key: str) -> None:
        mine = [ticket for asked, ticket in self.queue if asked == key]
        if mine and key not in self.ready and not self.shut:
            self.made += 1
            if key not in self.broken:
                self.ready[key] = self.made
        served = mine
        if key in self.ready and not self.shut:
            number = self.ready[key]
            served = mine[: CAPACITY - self.holders[number]]
            self.holders[number] += len(served)
        outcome = SHUT if self.shut else self.ready.get(key, FAILED)
        self.given |= dict.fromkeys(served, outcome)
        self.queue = [each for each in self.queue if each[1] not in served]

    def leave(self, key: str, ticket: int) -> None:
        self.holders[self.given.pop(ticket)] -= 1
        self.serve(key)

    def retire(self, *keys: str) -> None:
        for key in keys:
            self.ready.pop(key, None)
            self.serve(key)

    def close(self) -> None:
        self.shut = True
        self.retire("a", "b")

    @property
    def alive(self) -> set[int]:
        return {*self.ready.values(), *(+self.holders)}


class Asked:
    """One caller; lives from its asking to its leaving."""

    def __init__(self, key: str, number: int, lease: Any) -> None:
        self.key = key
        self.number = number
        self.lease = lease
        #: The task that waits, and its loop; None: a thread asked.
        self.task: asyncio.Task[Any] | None = None
        self.client: Client | None = None


class Life(RuleBasedStateMachine):
    """The cache and the reference do the same, and are compared after each step."""

    asked = Bundle("asked")
    keys = st.sampled_from("ab")

    def __init__(self) -> None:
        super().__init__()
        self.expected = Reference()
        self.clients: dict[int, Client] = {}
        self.calls = 0
        self.tickets = 0
        self.out: dict[int, Asked] = {}
        self.loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
        self.closing: asyncio.Task[None] | None = None
        self.cache: ClientCache[str, Client] = ClientCache(
            self.build,
            abuild=self.abuild,
            close=self.close_one,
            scope=Scope.exclusive(CAPACITY),
            idle_ttl=None,
        )

    def build(self, key: str) -> Client:
        """The factory of threads."""
        self.calls += 1
        if key in self.expected.broken:
            raise ConnectionError(key)
        self.clients[self.calls] = Client(key, self.calls)
        return self.clients[self.calls]

    async def abuild(self, key: str) -> Client:
        """The factory of tasks."""
        return self.build(key)

    def close_one(self, client: Client) -> None:
        """The cache's close."""
        client.closes += 1

    def _ask(self, key: str) -> Asked:
        self.tickets += 1
        asked = Asked(key, self.tickets, self.cache.lease(key))
        self.out[asked.number] = asked
        self.expected.ask(key, asked.number)
        return asked

    @rule(target=asked, key=keys)
    def ask_on_a_thread(self, key: str) -> Asked:
        """Only where the answer comes at once: a thread cannot be taken back from its waiting."""
        number = self.expected.ready.get(key)
        if not self.expected.shut and self.expected.holders[number or 0] >= CAPACITY:
            try:
                start(self.cache.lease(key, timeout=0).__enter__).result(WAIT)
            except LeaseTimeout:
                return Asked(key, 0, None)
            raise AssertionError("there was no turn to be had")
        asked = self._ask(key)
        try:
            asked.client = start(asked.lease.__enter__).result(WAIT)
        except (ConnectionError, CacheClosed) as error:
            self._told(asked, error)
        return asked

    @rule(target=asked, key=keys, loop=st.sampled_from([0, 1]))
    def ask_on_a_loop(self, key: str, loop: int) -> Asked:
        """A task asks, and waits if it must."""
        asked = self._ask(key)
        asked.task = self.loops[loop].create_task(asked.lease.__aenter__())
        return asked

    @rule(asked=consumes(asked))
    def leave_or_cancel(self, asked: Asked) -> None:
        """Who has its turn gives it back, who waits is cancelled."""
        if asked.number not in self.out:
            return  # it was told an error
        del self.out[asked.number]
        if asked.client is not None:
            self.expected.leave(asked.key, asked.number)
            asked.lease.__exit__(None, None, None)
            return
        assert asked.task is not None
        self.expected.queue.remove((asked.key, asked.number))
        asked.task.cancel()

    @rule(key=keys)
    def invalidate(self, key: str) -> None:
        """Retire one; who waits for it gets the next."""
        assert self.cache.invalidate(key) == (key in self.expected.ready)
        self.expected.retire(key)

    @rule()
    def clear(self) -> None:
        """Retire all."""
        self.cache.clear()
        self.expected.retire(*sorted(self.expected.ready))

    @rule(key=keys)
    def breaks_or_is_mended(self, key: str) -> None:
        """From now on builds of `key` fail, or no longer do."""
        self.expected.broken ^= {key}

    @rule(number=st.integers(0, 9))
    def close(self, number: int) -> None:
        """Now and then, for good; goes on until all leases are back."""
        if number == 0 and self.closing is None:
            self.closing = self.loops[0].create_task(self.cache.aclose(timeout=None))
            self.expected.close()

    @invariant()
    def agree(self) -> None:
        """Who has what, who waits, what is closed, and the figures."""
        expected = self.expected
        self._turn_until(lambda: expected.given.keys() == self._answered())
        for asked in list(self.out.values()):
            if asked.task is not None and asked.client is None and asked.task.done():
                try:
                    asked.client = asked.task.result()
                except (ConnectionError, CacheClosed) as error:
                    self._told(asked, error)
        held = {each.number: each.client.number for each in self.out.values() if each.client}
        assert held == expected.given
        assert [each for each in self.out if each not in held] == [
            ticket for _, ticket in sorted(expected.queue, key=lambda each: each[1])
        ]
        gone = self.clients.keys() - expected.alive
        until(lambda: self.cache.stats().closed == len(gone), "all closes")
        assert {number for number, client in self.clients.items() if client.closes} == gone
        figures = self.cache.stats()
        assert figures.builds == expected.made == self.calls
        assert figures.live == len(expected.alive)
        assert figures.leased + figures.retired == len(+expected.holders)
        check(self.cache)

    def teardown(self) -> None:
        """What is out comes back, and everything is closed once."""
        for asked in list(self.out.values()):
            self.leave_or_cancel(asked)
            self.agree()
        if self.closing is None:
            self.close(0)
        assert self.closing is not None
        self._turn_until(self.closing.done)
        for loop in self.loops:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        assert {client.closes for client in self.clients.values()} <= {1}

    def _told(self, asked: Asked, error: Exception) -> None:
        outcome = SHUT if isinstance(error, CacheClosed) else FAILED
        assert self.expected.given.pop(asked.number) == outcome
        del self.out[asked.number]

    def _answered(self) -> set[int]:
        return {
            each.number
            for each in self.out.values()
            if each.client is not None or (each.task is not None and each.task.done())
        }

    def _turn_until(self, condition: Any) -> None:
        deadline = time.monotonic() + WAIT
        for _ in range(3):  # what should not happen gets a chance to
            self._turn()
        while not condition():
            assert time.monotonic() < deadline, "a waiter is not answered"
            self._turn()

    def _turn(self) -> None:
        for loop in self.loops:
            loop.run_until_complete(asyncio.sleep(0))


def test_i7_random_lives_with_turns_agree_with_a_reference() -> None:
    """After every step: who has its turn, who waits, who was told what, what is closed."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, database=None, print_blob=True
        ),
    )
