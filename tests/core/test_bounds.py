"""I10: idle instances are bounded by count, weight and age, under any interleaving and where nobody
calls; a cache that sees ever new keys stays as small as it was.
"""

from __future__ import annotations

import gc
import threading
import tracemalloc
from functools import partial
from typing import Any

import pytest

from llmkeep import ClientCache, LeaseTimeout, Scope
from llmkeep.core.events import Retired
from llmkeep.core.housekeeper import housekeeper
from llmkeep.core.registry import Registry
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Client,
    Gate,
    Recorder,
    lease,
    start,
    sweep,
    together,
    until,
)

pytestmark = pytest.mark.usefixtures("open_gate")


def kept(cache: ClientCache[Any, Any], keys: Any) -> list[Any]:
    """Which of `keys` are ready; asking uses none of them."""
    slots = cache._ledger.home.slots.values()
    specs = {slot.instance.client.spec for slot in list(slots) if slot.instance is not None}
    return [key for key in keys if key in specs]


def test_i10_the_longest_idle_goes_first(make_cache: MakeCache) -> None:
    """What was returned last stays longest, whenever it was built."""
    cache = make_cache(max_idle=3)
    for key in "abc":
        lease(cache, key)
    lease(cache, "a")

    lease(cache, "d")
    assert kept(cache, "abcd") == ["a", "c", "d"]
    with cache.lease("c"), cache.lease("a"):
        lease(cache, "e")
        lease(cache, "f")
        assert kept(cache, "abcdef") == ["a", "c", "d", "e", "f"]
    # "a" returned first, then "c": five are idle now and two too many, d and e.
    assert kept(cache, "abcdef") == ["a", "c", "f"]


def test_i10_warming_counts_as_use(make_cache: MakeCache) -> None:
    """What is warmed and not yet leased is idle, and bounded like everything idle."""
    cache = make_cache(max_idle=2)
    for key in "abcd":
        cache.warm(key)
    assert kept(cache, "abcd") == ["c", "d"]


def test_i10_leased_instances_are_no_idle_ones(make_cache: MakeCache) -> None:
    """The bound concerns what nobody uses; more than that may be leased at once."""
    cache = make_cache(max_idle=2)
    leases = [cache.lease(key) for key in range(10)]
    for each in leases:
        each.__enter__()
    assert cache.stats().leased == 10
    for each in leases:
        each.__exit__(None, None, None)
    assert cache.stats().idle == 2


def test_i10_no_bound_is_no_bound(make_cache: MakeCache) -> None:
    """None for every bound keeps everything."""
    cache = make_cache(max_idle=None, idle_ttl=None, max_age=None)
    for key in range(500):
        lease(cache, key)
    sweep(cache, 1e9)
    assert cache.stats().idle == 500


def test_i10_idle_time_ends_what_nobody_uses(make_cache: MakeCache) -> None:
    """It counts from the last return, and what is leased has none."""
    events = Recorder()
    cache = make_cache(idle_ttl=600.0)
    cache.subscribe(events)
    lease(cache, "idle")
    with cache.lease("leased") as client:
        sweep(cache, 599)
        assert kept(cache, ["idle", "leased"]) == ["idle", "leased"]
        sweep(cache, 601)
        assert kept(cache, ["idle", "leased"]) == ["leased"]
        sweep(cache, 1e6)
        assert client.closes == 0
    assert kept(cache, ["leased"]) == ["leased"]
    assert [event.reason for event in events.of(Retired)] == ["idle"]


def test_i10_age_ends_what_is_used_all_the_time(make_cache: MakeCache) -> None:
    """An old instance is replaced with the next lease, and closed when the last one returns."""
    cache = make_cache(max_age=3600.0, idle_ttl=None)
    with cache.lease("k") as old:
        sweep(cache, 3599)
        assert lease(cache) is old
        sweep(cache, 3601)
        assert lease(cache) is not old
        assert old.closes == 0
    until(lambda: old.closes == 1)


def test_i10_a_housekeeper_looks_where_nobody_calls(make_cache: MakeCache, gate: Gate) -> None:
    """Idle instances go in their time without any further call of the cache."""
    cache = make_cache(idle_ttl=0.02)
    aged = make_cache(max_age=0.02, idle_ttl=None)
    lease(cache)
    lease(aged)

    until(lambda: len(gate.closed) == 2)


def test_i10_what_was_leased_for_long_is_looked_after_when_it_returns(
    make_cache: MakeCache, gate: Gate
) -> None:
    """A return after the last sweep is followed by another one."""
    cache = make_cache(idle_ttl=0.02)
    watched = make_cache(idle_ttl=0.01)
    with cache.lease("k"):
        lease(watched)
        until(lambda: len(gate.closed) == 1)  # the housekeeper has been round meanwhile
    until(lambda: len(gate.closed) == 2)


def test_i10_the_weight_of_idle_instances_is_bounded(make_cache: MakeCache) -> None:
    """The longest idle go until the rest is light enough; what is too heavy alone does not stay."""
    cache = make_cache(weigh=lambda client: client.spec, max_weight=10.0)
    for weight in (3, 4, 2):
        lease(cache, weight)
    assert kept(cache, (3, 4, 2)) == [3, 4, 2]
    lease(cache, 5)
    assert kept(cache, (3, 4, 2, 5)) == [2, 5] or kept(cache, (3, 4, 2, 5)) == [4, 2, 5][1:]
    with cache.lease(100) as heavy:
        assert heavy.closes == 0
        assert kept(cache, (2, 5, 100)) == [2, 5, 100]
    assert kept(cache, (2, 5, 100)) == []
    assert cache.stats().live == 0


@pytest.mark.parametrize("weight", [float("nan"), -1.0, "heavy", None])
def test_i10_a_weight_that_is_none_fails_the_build(make_cache: MakeCache, weight: Any) -> None:
    """It would switch the bound off, or turn it round."""
    cache = make_cache(weigh=lambda client: weight, max_weight=10.0)
    with pytest.raises((ValueError, TypeError)):
        lease(cache)
    cache.stats()


def test_i10_a_million_keys_one_after_another_would_leave_nothing(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Two thousand do not: no slot, flight, request, home, key or event of theirs stays."""
    cache = make_cache(lambda spec: object(), close=None, max_idle=64)
    foreign = make_cache(lambda spec: object(), close=None, max_idle=64)

    class Own:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return self.number % 50

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and other.number == self.number

    def use(first: int, last: int) -> None:
        for number in range(first, last):
            lease(cache, {"key": number})
            lease(foreign, Own(number))

    tracemalloc.start()
    try:
        use(0, 200)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        use(200, 2000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    for each in (cache, foreign):
        ledger = each._ledger
        until(partial(_has_closed, each, 2000 - 64))
        assert len(ledger.home.slots) == len(ledger.idle) == len(ledger.open) == 64
        assert not ledger.flights
    assert sum(map(len, foreign._ledger.home.foreign.values())) == 64
    assert len(foreign._ledger.home.foreign) <= 50
    assert grown < 90_000  # a bare object left by each would be as much


def _has_closed(cache: ClientCache[Any, Any], count: int) -> bool:
    return cache.stats().closed == count


def test_i10_failing_keys_leave_nothing(make_cache: MakeCache) -> None:
    """Nor do those whose builds raise or whose callers give up."""
    cache = make_cache(lambda spec: 1 / 0, failure_backoff=30.0)
    plain = make_cache(lambda spec: 1 / 0)
    for key in range(300):
        for each in (cache, plain):
            with pytest.raises(ZeroDivisionError):
                lease(each, key)
        with pytest.raises(LeaseTimeout):
            lease(plain, key, timeout=0)
    assert not plain._ledger.home.slots
    sweep(cache, 31)
    assert not cache._ledger.home.slots


def test_i10_abandoned_builds_leave_nothing_when_they_end(make_cache: MakeCache) -> None:
    """A key that timed out is forgotten with the end of its last call."""
    held = Gate()
    cache = make_cache(held.build, build_timeout=1000.0, close=held.close)
    caller = start(lease, cache)
    held.begun()
    sweep(cache, 1001)
    with pytest.raises(TimeoutError):
        caller.result(WAIT)
    assert len(cache._ledger.home.slots) == 1
    held.open()
    until(lambda: len(held.closed) == 1)
    assert not cache._ledger.home.slots


@pytest.mark.parametrize("scope", [Scope.PROCESS, Scope.exclusive(2)])
def test_i10_the_bounds_hold_under_any_interleaving(make_cache: MakeCache, scope: Scope) -> None:
    """Whatever threads lease, retire and evict at once: never more idle than allowed."""
    cache = make_cache(scope=scope, max_idle=5, weigh=lambda client: 1.0, max_weight=4.0)
    over: list[int] = []

    def use() -> None:
        for number in range(200):
            lease(cache, number % 17)
            idle = cache.stats().idle
            if idle > 4:
                over.append(idle)
            if number % 50 == 0:
                cache.clear()

    together(4, use)
    assert not over
    assert cache.stats().idle <= 4


def test_i10_a_client_is_let_go_with_its_instance(make_cache: MakeCache) -> None:
    """After its close nothing of ours refers to it."""
    ended: list[int] = []

    class Ends(Client):
        def __del__(self) -> None:
            ended.append(self.number)

    cache = make_cache(lambda spec: Ends(spec, spec), close=lambda client: None, max_idle=0)
    for number in range(10):
        lease(cache, number)
    until(lambda: gc.collect() is not None and len(ended) == 10)


def test_i10_a_bound_that_is_infinite_is_none(make_cache: MakeCache) -> None:
    """`float("inf")` is how many write "never"; the housekeeper takes it."""
    cache = make_cache(idle_ttl=float("inf"), max_age=float("inf"), close_timeout=1e12)
    other = make_cache(idle_ttl=0.02)
    lease(cache)
    client = lease(other)
    until(lambda: client.closes == 1)
    assert cache.stats().idle == 1


def test_i10_what_is_looked_after_may_change_while_it_is_looked_at() -> None:
    """The housekeeper walks through all caches of the process while others come and go."""
    registry: Registry[Any] = Registry()
    done = threading.Event()

    class Thing:
        pass

    kept = [Thing() for _ in range(300)]
    for each in kept:
        registry.add(each)

    def come_and_go() -> None:
        while not done.is_set():
            registry.add(Thing())

    worker = start(come_and_go)
    try:
        for _ in range(300):
            assert len(registry.living()) >= 300
    finally:
        done.set()
    worker.result(WAIT)
    until(lambda: len(registry.living()) == 300)


def test_i10_a_housekeeping_that_fails_is_tried_again(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One cache's trouble does not keep the others from being looked after."""
    monkeypatch.setattr("llmkeep.core.housekeeper.RETRY", 0.01)
    broken = make_cache(idle_ttl=0.01)
    lease(broken)

    def fail(now: float) -> None:
        raise ZeroDivisionError

    swept = Swept(fail)
    housekeeper.watch(swept)
    client = lease(make_cache(idle_ttl=0.01))
    until(lambda: client.closes == 1)
    until(lambda: "ZeroDivisionError" in caplog.text)


class Swept:
    """Something to keep house for."""

    def __init__(self, sweep: Any) -> None:
        self.sweep = sweep
