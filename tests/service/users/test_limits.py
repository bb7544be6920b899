"""Limits of each user: requests, runs at a time, the length of a message, tokens of a day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmkeep.service.errors import TooLarge, TooMany
from llmkeep.service.interfaces import Store
from llmkeep.service.records import Principal
from llmkeep.service.users import UserLimits
from llmkeep.service.users.limits import RecentHits
from llmkeep.settings import ServiceSettings

ANNA, BORIS = Principal(user="anna"), Principal(user="boris")


class Tokens:
    """A store that knows how many tokens were spent, and may take its time to say so."""

    def __init__(self, spent: int = 0) -> None:
        self.spent = spent
        self.asked_since: list[datetime] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def tokens_since(self, user: str, moment: datetime) -> int:
        self.asked_since.append(moment)
        await self.may_answer.wait()
        return self.spent


def limits(store: Tokens | None = None, **settings: Any) -> UserLimits:
    return UserLimits(ServiceSettings(**settings), cast("Store", store or Tokens()))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for requests."""
    now = [1000.0]
    fake = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("llmkeep.service.users.limits.time", fake)
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


# --- requests ------------------------------------------------------------------------------------


async def refused(limiter: UserLimits, who: Principal = ANNA) -> int:
    """The seconds after which a refused request is worth to be sent again."""
    with pytest.raises(TooMany) as error:
        await limiter.take_request(who)
    assert (error.value.status, error.value.code) == (429, "rate_limited")
    seconds = int(error.value.headers["Retry-After"])
    assert f"{seconds} s" in error.value.detail
    return seconds


async def test_requests_are_counted_over_a_window_that_moves(clock: Callable[[float], None]):
    """Whoever waits as long as told to gets through, and not a second before."""
    limiter = limits(requests_per_minute=3)
    for _ in range(3):
        await limiter.take_request(ANNA)
        clock(10)
    assert await refused(limiter) == 30
    clock(29)
    assert await refused(limiter) == 1
    clock(1)
    await limiter.take_request(ANNA)
    assert await refused(limiter) == 10


async def test_one_users_requests_are_not_anothers(clock: Callable[[float], None]):
    """However many one sends; and a refused one does not count."""
    limiter = limits(requests_per_minute=1)
    await limiter.take_request(ANNA)
    for _ in range(100):
        await refused(limiter)
    await limiter.take_request(BORIS)
    clock(60)
    await limiter.take_request(ANNA)


async def test_requests_at_the_same_time_do_not_slip_through(clock: Callable[[float], None]):
    """As many get through as may, whatever comes at once."""
    limiter = limits(requests_per_minute=7)
    outcomes = await asyncio.gather(
        *(limiter.take_request(ANNA) for _ in range(50)), return_exceptions=True
    )
    assert outcomes.count(None) == 7
    assert sum(isinstance(each, TooMany) for each in outcomes) == 43


async def test_a_changed_limit_counts_at_once(clock: Callable[[float], None]):
    """Settings can be changed while the service runs."""
    settings = ServiceSettings(requests_per_minute=1)
    limiter = UserLimits(settings, cast("Store", Tokens()))
    await limiter.take_request(ANNA)
    await refused(limiter)
    settings.requests_per_minute = 2
    await limiter.take_request(ANNA)


async def test_i10_memory_is_bounded_by_the_users_of_one_minute(clock: Callable[[float], None]):
    """However many there have been: each that comes makes up to two be forgotten."""
    hits = RecentHits()
    for number in range(5000):
        assert await hits.acquire_entry(f"user {number}", 3, 60)
    assert len(hits) == 5000
    clock(61)
    for _ in range(5000):
        await hits.acquire_entry("the only one left", 3, 60)
    assert len(hits) == 1
    assert not await hits.acquire_entry("the only one left", 3, 60)
    for number in range(20_000):
        clock(0.1)
        await hits.acquire_entry(f"another {number}", 3, 60)
    assert len(hits) < 700


# --- runs ----------------------------------------------------------------------------------------


async def test_runs_at_a_time_are_limited():
    """The answer says what can be done, and when it is worth to try again."""
    limiter = limits(concurrent_runs=2)
    await limiter.check_run(ANNA, running=1, characters=1)
    with pytest.raises(TooMany, match="stop one") as error:
        await limiter.check_run(ANNA, running=2, characters=1)
    assert error.value.code == "too_many_runs"
    assert int(error.value.headers["Retry-After"]) > 0


async def test_runs_that_are_asked_about_at_the_same_time_do_not_slip_through():
    """They count while the store is asked about tokens: `running` was true before that."""
    store = Tokens()
    store.may_answer.clear()
    limiter = limits(store, concurrent_runs=2, tokens_per_day=100)
    asking = [
        asyncio.create_task(limiter.check_run(ANNA, running=0, characters=1)) for _ in range(10)
    ]
    other = asyncio.create_task(limiter.check_run(BORIS, running=0, characters=1))
    await asyncio.wait(asking[2:])
    assert sum(isinstance(task.exception(), TooMany) for task in asking[2:]) == 8
    # One of those who wait is cancelled, and its place is free again.
    asking[0].cancel()
    await asyncio.wait([asking[0]])
    again = asyncio.create_task(limiter.check_run(ANNA, running=0, characters=1))
    await asyncio.sleep(0)
    assert not again.done()
    store.may_answer.set()
    await asyncio.gather(asking[1], again, other)
    assert not limiter._asking


async def test_a_message_has_a_length():
    """And the answer says which."""
    limiter = limits(message_characters=1000)
    await limiter.check_run(ANNA, running=0, characters=1000)
    with pytest.raises(TooLarge, match="1,000 characters, this one 1,001") as error:
        await limiter.check_run(ANNA, running=0, characters=1001)
    assert (error.value.status, error.value.code) == (413, "too_large")


async def test_tokens_of_a_day_are_summed_by_the_store():
    """Since midnight in UTC, so that a restart forgets nothing and the end is known exactly."""
    store = Tokens(spent=99)
    limiter = limits(store, tokens_per_day=100)
    await limiter.check_run(ANNA, running=0, characters=1)
    (midnight,) = store.asked_since
    assert midnight.utcoffset() == timedelta()
    assert midnight.time() == datetime.min.time()
    assert timedelta() <= datetime.now(UTC) - midnight < timedelta(days=1, minutes=1)
    store.spent = 100
    assert await limiter.tokens_today("anna") == 100
    with pytest.raises(TooMany, match="midnight") as error:
        await limiter.check_run(ANNA, running=0, characters=1)
    assert error.value.code == "tokens_spent"
    assert 0 < int(error.value.headers["Retry-After"]) <= 86400


async def test_without_a_limit_of_tokens_nobody_is_asked():
    """It would be a query for each run."""
    store = Tokens()
    await limits(store).check_run(ANNA, running=0, characters=1)
    assert store.asked_since == []
