"""I2, second half: no lock is held while foreign code runs.

Each piece of foreign code looks, from inside itself, whether another thread can use the cache.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmkeep import BuildTimeout, ClientCache
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Gate, alease, is_free, lease, start, sweep, until


class Looks:
    """Notes for each piece of foreign code whether the cache was free while it ran."""

    def __init__(self) -> None:
        self.cache: ClientCache[Any, Any] | None = None
        self.seen: dict[str, bool] = {}

    def look(self, where: str) -> None:
        """Called from inside foreign code."""
        if self.cache is not None:
            self.seen[where] = self.seen.get(where, True) and is_free(self.cache)

    def saw(self, *where: str) -> None:
        """All of these have run, and always while the cache was free."""
        until(lambda: set(where) <= set(self.seen), f"{where} in {set(self.seen)}")
        assert all(self.seen.values()), self.seen


@pytest.fixture
def looks() -> Looks:
    return Looks()


class Foreign:
    """A spec, a client or an error that looks around in everything it is asked to do."""

    def __init__(self, looks: Looks, name: str) -> None:
        self.looks = looks
        self.name = name

    def __hash__(self) -> int:
        self.looks.look(f"hash of the {self.name}")
        return 7

    def __eq__(self, other: object) -> bool:
        self.looks.look(f"eq of the {self.name}")
        return isinstance(other, Foreign) and other.name == self.name

    def __del__(self) -> None:
        self.looks.look(f"end of the {self.name}")


class ForeignError(Exception):
    """An error with a finalizer: it may be the last to hold whatever its traceback refers to."""

    def __init__(self, looks: Looks) -> None:
        self.looks = looks

    def __del__(self) -> None:
        self.looks.look("end of the error")


def test_i2_a_specs_own_hash_and_eq_run_without_the_lock(
    make_cache: MakeCache, looks: Looks
) -> None:
    """Specs that only their own `__eq__` tells apart are compared outside."""
    cache = looks.cache = make_cache(lambda spec: object(), close=None)

    first = lease(cache, Foreign(looks, "one"))
    assert lease(cache, Foreign(looks, "one")) is first
    assert lease(cache, Foreign(looks, "two")) is not first
    cache.warm(Foreign(looks, "three"))
    assert asyncio.run(alease(cache, Foreign(looks, "one"))) is first
    assert cache.invalidate(Foreign(looks, "one"))
    assert not cache.invalidate(Foreign(looks, "one"))

    looks.saw("hash of the one", "eq of the one", "hash of the two", "eq of the two")


def test_i2_equal_specs_that_race_share_one_build(make_cache: MakeCache, gate: Gate) -> None:
    """That they are compared outside the lock lets no second build slip in."""
    cache = make_cache()
    silent = Looks()
    callers = [start(lease, cache, Foreign(silent, "same")) for _ in range(50)]
    gate.begun()
    gate.open()

    assert {caller.result(WAIT) for caller in callers} == {gate.calls[0].client}
    assert len(gate.calls) == 1


@pytest.mark.parametrize("comparison", [1, 2, 3])
def test_i2_a_comparison_that_was_overtaken_is_made_again(
    make_cache: MakeCache, gate: Gate, comparison: int
) -> None:
    """While a caller compares its spec, outside the lock, another comes with an equal one."""
    gate.open()
    cache = make_cache()
    compared: list[int] = []

    class Own:
        def __init__(self, name: str) -> None:
            self.name = name

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            assert isinstance(other, Own)
            if self.name == "mine":
                compared.append(1)
                if len(compared) == comparison:
                    others.append(start(lease, cache, Own("same")).result(WAIT))
            return {self.name, other.name} <= {"mine", "same"} or self.name == other.name

    others: list[Any] = []
    lease(cache, Own("another"))
    mine = lease(cache, Own("mine"))

    assert lease(cache, Own("same")) is mine
    assert not others or others == [mine]
    assert len(gate.calls) == 2


def test_i2_factory_label_weigher_and_subscriber_run_without_the_lock(
    make_cache: MakeCache, looks: Looks
) -> None:
    """Whatever a cache is given to call, it calls outside."""

    def foreign(where: str, result: Any) -> Callable[..., Any]:
        def call(*_: object) -> Any:
            looks.look(where)
            return result

        return call

    async def abuild(spec: Any) -> object:
        looks.look("abuild")
        return object()

    cache = looks.cache = make_cache(
        foreign("build", 1),
        abuild=abuild,
        close=foreign("close", None),
        label=foreign("label", "a label"),
        weigh=foreign("weigh", 1.0),
        max_weight=2.0,
        max_idle=1,
    )
    cache.subscribe(lambda event: looks.look(type(event).__name__))

    lease(cache, 1)
    lease(cache, 2, timeout=WAIT)
    asyncio.run(alease(cache, 3))
    lease(cache, 4, build=foreign("the call's own build", 2))
    cache.invalidate(4)

    looks.saw("build", "abuild", "the call's own build", "label", "weigh", "close")
    looks.saw("Built", "Retired", "Closed")


def test_i2_an_asynchronous_close_runs_without_the_lock(
    make_cache: MakeCache, looks: Looks
) -> None:
    """On the loop that built the instance, and on a short one."""

    async def close(client: object) -> None:
        looks.look(f"close on {threading.current_thread().name[:7]}")

    async def abuild(spec: Any) -> object:
        return object()

    cache = looks.cache = make_cache(None, abuild=abuild, close=close)

    async def main() -> None:
        await alease(cache, 1)
        await alease(cache, 2)
        cache.invalidate(1)
        await asyncio.to_thread(until, lambda: cache.stats().closed == 1)

    start(asyncio.run, main()).result(WAIT)
    cache.clear()
    until(lambda: cache.stats().closed == 2)
    looks.saw("close on llmkeep", "close on Thread-")


@pytest.mark.parametrize(
    "retire",
    [
        lambda cache: cache.clear(),
        lambda cache: sweep(cache, 601),
        lambda cache: cache.close(),
        lambda cache: [cache.warm(number) for number in range(300)],
    ],
    ids=["clear", "idle", "close", "evicted"],
)
@pytest.mark.parametrize("closes", [False, True], ids=["no close", "close"])
def test_i2_the_last_reference_to_client_and_spec_goes_outside_the_lock(
    make_cache: MakeCache, looks: Looks, retire: Callable[[Any], object], closes: bool
) -> None:
    """Finalizers of what a cache lets go are foreign code too."""
    cache = looks.cache = make_cache(
        lambda spec: Foreign(looks, "client"), close=(lambda client: None) if closes else None
    )
    lease(cache, Foreign(looks, "spec"), build=lambda spec: Foreign(looks, "client"))

    retire(cache)

    until(lambda: gc.collect() or {"end of the client", "end of the spec"} <= set(looks.seen))
    looks.saw("end of the client", "end of the spec")


@pytest.mark.parametrize(
    "forget",
    [
        lambda cache: sweep(cache, 101),
        lambda cache: cache.invalidate("k"),
        lambda cache: cache.clear(),
        lambda cache: cache.close(),
    ],
    ids=["over", "invalidate", "clear", "close"],
)
def test_i2_the_last_reference_to_a_builds_error_goes_outside_the_lock(
    make_cache: MakeCache, looks: Looks, forget: Callable[[Any], object]
) -> None:
    """An error that is kept for a back-off holds its traceback, and so whatever the build held."""

    def build(spec: Any) -> None:
        raise ForeignError(looks)

    cache = looks.cache = make_cache(build, failure_backoff=100.0)
    with pytest.raises(ForeignError):
        lease(cache)
    with pytest.raises(ForeignError):
        lease(cache)

    forget(cache)

    until(lambda: gc.collect() or looks.seen)
    looks.saw("end of the error")


def test_i2_a_client_whose_finalizer_hangs_holds_up_no_housekeeping(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Without a `close` an instance is let go, and its finalizer may take its time: not on the
    thread that keeps time for everybody.
    """
    go = threading.Event()
    ending = threading.Event()

    class Slow:
        def __del__(self) -> None:
            ending.set()
            go.wait(WAIT)

    letting_go = make_cache(lambda spec: Slow(), close=None, idle_ttl=0.01)
    other = make_cache(build_timeout=0.01)
    letting_go.warm("k")
    try:
        assert ending.wait(WAIT)
        with pytest.raises(BuildTimeout):  # its time limit is the housekeeper's to keep
            start(lease, other).result(5.0)
    finally:
        go.set()


def test_i2_a_returning_task_does_not_run_the_finalizer_of_what_it_evicts(
    make_cache: MakeCache,
) -> None:
    """Asynchronous use never blocks a loop, also where returning a lease lets an instance go."""
    threads: list[threading.Thread] = []

    class Heavy:
        def __del__(self) -> None:
            threads.append(threading.current_thread())

    cache = make_cache(lambda spec: Heavy(), close=None, max_idle=1)

    async def use(spec: Any) -> None:
        async with cache.lease(spec):
            pass

    async def main() -> None:
        await use(1)
        await use(2)
        await asyncio.to_thread(until, lambda: threads)
        assert threads != [threading.current_thread()]

    asyncio.run(main())


def test_i2_a_subscriber_may_use_the_cache_however_much_there_is_to_tell(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Events that come while a subscriber is using the cache wait for their turn."""
    gate.open()
    cache = make_cache(close=None)
    told: list[str] = []

    def subscriber(event: Any) -> None:
        cache.stats()
        told.append(type(event).__name__)

    for number in range(250):
        cache.warm(number)
    cache.subscribe(subscriber)

    cache.clear()

    until(lambda: len(told) == 500, "500 events")
    assert told.count("Retired") == told.count("Closed") == 250


def test_i2_a_subscriber_that_raises_or_leaves_harms_nobody(
    make_cache: MakeCache, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged by the type of its error, and the next subscriber is told all the same."""
    gate.open()
    cache = make_cache(name="telling")
    told: list[str] = []

    def raising(event: Any) -> None:
        raise ValueError("sk-secret")

    unsubscribe = cache.subscribe(raising)
    unsubscribe_other = cache.subscribe(lambda event: told.append(type(event).__name__))
    cache.warm("k")
    assert told == ["Built"]
    assert "ValueError" in caplog.text
    assert "'telling'" in caplog.text
    assert "sk-secret" not in caplog.text

    unsubscribe()
    unsubscribe()
    unsubscribe_other()
    caplog.clear()
    cache.invalidate("k")
    assert told == ["Built"]
    assert not caplog.text
