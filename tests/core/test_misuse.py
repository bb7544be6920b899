"""Wrong use gets an error that says what to do, and changes nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

import llmkeep
from llmkeep import ClientCache, LeaseMisuse, LLMKeepError, Scope
from tests.core.conftest import MakeCache
from tests.core.tools import Gate, alease, lease, until

pytestmark = pytest.mark.usefixtures("open_gate")


def nothing(*_: object) -> None:
    """For whatever wants a callable."""


BOUNDS: list[tuple[dict[str, Any], str]] = [
    ({"max_idle": -1}, "max_idle must be 0 or more, or None for no bound, not -1"),
    ({"idle_ttl": 0}, "idle_ttl must be more than 0"),
    ({"idle_ttl": -5.0}, "idle_ttl must be more than 0"),
    ({"max_age": 0}, "max_age must be more than 0"),
    ({"max_weight": -1, "weigh": nothing}, "max_weight must be 0 or more"),
    ({"build_timeout": 0}, "build_timeout must be more than 0"),
    ({"close_timeout": -1}, "close_timeout must be more than 0"),
    ({"leak_after": 0}, "leak_after must be more than 0"),
    ({"failure_backoff": -1}, "failure_backoff must be 0 or more"),
    ({"idle_ttl": float("nan")}, "idle_ttl must be more than 0"),
    ({"max_weight": 5}, "max_weight needs weigh="),
    ({"context": "mine"}, "context must be 'empty' or 'copy'"),
]


@pytest.mark.parametrize(
    ("options", "message"),
    BOUNDS,
    ids=[" ".join(each[0]) + str(n) for n, each in enumerate(BOUNDS)],
)
def test_a_bound_that_makes_no_sense_is_refused_by_its_name(
    options: dict[str, Any], message: str
) -> None:
    """Where the cache is made, and not when it first matters."""
    with pytest.raises(ValueError, match=message):
        ClientCache(nothing, **options)


@pytest.mark.parametrize("scope", ["process", None, 1])
def test_a_scope_that_is_none_is_refused(scope: Any) -> None:
    """With the names of those there are."""
    with pytest.raises(TypeError, match=r"Scope\.PROCESS, Scope\.LOOP or Scope\.exclusive\(n\)"):
        ClientCache(nothing, scope=scope)
    with pytest.raises(ValueError, match="needs n >= 1, not 0"):
        Scope.exclusive(0)


def test_a_coroutine_function_given_as_build_is_refused() -> None:
    """It has an argument of its own."""
    with pytest.raises(TypeError, match="pass it as abuild="):
        ClientCache(Gate().abuild)


def test_a_build_that_returns_a_coroutine_is_told(make_cache: MakeCache, gate: Gate) -> None:
    """A lambda around a coroutine function cannot be seen before; nothing is left un-awaited."""
    cache = make_cache(lambda spec: gate.abuild(spec))
    with pytest.raises(TypeError, match="abuild="):
        lease(cache)
    with pytest.raises(TypeError, match="abuild="):
        asyncio.run(alease(cache))


def test_an_asynchronous_build_leased_synchronously_is_told(
    make_cache: MakeCache, gate: Gate
) -> None:
    """What to do instead; once it is ready, synchronous callers have it."""
    cache = make_cache(None, abuild=gate.abuild)
    other = make_cache()
    for ask in (
        lambda: lease(cache),
        lambda: cache.warm("k"),
        lambda: lease(cache, timeout=1),
        lambda: lease(other, build=gate.abuild),
    ):
        with pytest.raises(TypeError, match=r"`async with`.*`await cache\.awarm\(spec\)`"):
            ask()
    client = asyncio.run(alease(cache))
    assert lease(cache) is client


def test_a_cache_without_a_factory_wants_one_with_each_call(
    make_cache: MakeCache, gate: Gate
) -> None:
    """Per-call factories are enough; without any it says so."""
    cache = make_cache(None)
    with pytest.raises(TypeError):
        lease(cache)
    with pytest.raises(TypeError):
        asyncio.run(alease(cache))
    assert lease(cache, build=gate.build) is lease(cache)


def test_an_asynchronous_lease_without_a_loop_is_told(make_cache: MakeCache) -> None:
    """On trio, or driven by hand, there is no asyncio loop to wait on."""
    cache = make_cache()
    for coroutine in (alease(cache), cache.awarm("k"), cache.aclose()):
        with pytest.raises(RuntimeError, match="asyncio event loop"):
            coroutine.send(None)
    assert cache.stats().builds == 0
    assert lease(cache) is not None


def test_errors_are_what_their_names_say() -> None:
    """All of ours derive from one; the two time limits are TimeoutErrors as well."""
    for name in ("BuildTimeout", "LeaseTimeout", "CacheClosed", "WouldDeadlock"):
        assert issubclass(getattr(llmkeep, name), LLMKeepError)
    assert issubclass(llmkeep.BuildTimeout, TimeoutError)
    assert issubclass(llmkeep.LeaseTimeout, TimeoutError)
    assert issubclass(LeaseMisuse, LLMKeepError)
    assert not issubclass(llmkeep.BuildTimeout, llmkeep.LeaseTimeout)


def test_closing_without_a_limit_waits_as_long_as_it_takes(
    make_cache: MakeCache, gate: Gate
) -> None:
    """None means no bound everywhere."""
    cache, other = make_cache(), make_cache()
    client = lease(cache)
    cache.close(timeout=None)
    asyncio.run(other.aclose(timeout=None))
    assert client.closes == 1


def test_subscribing_twice_is_telling_twice(make_cache: MakeCache) -> None:
    """And each is ended by its own function."""
    told: list[Any] = []
    cache = make_cache()
    first, second = cache.subscribe(told.append), cache.subscribe(told.append)
    lease(cache, 1)
    assert len(told) == 2
    first()
    lease(cache, 2)
    assert len(told) == 3
    second()
    lease(cache, 3)
    assert len(told) == 3


def test_two_caches_share_nothing(make_cache: MakeCache) -> None:
    """Equal specs in two caches are two instances, and closing one leaves the other."""
    one, other = make_cache(), make_cache()
    first, second = lease(one), lease(other)
    assert first is not second
    one.close()
    assert first.closes == 1
    assert lease(other) is second
    until(lambda: second.closes == 0)


def test_importing_and_using_the_cache_synchronously_loads_no_asyncio() -> None:
    """Nor anything else that a synchronous program has no use for."""
    source = (
        "import sys; before = {*sys.modules}\n"
        "import llmkeep\n"
        "cache = llmkeep.ClientCache(lambda spec: spec, close=print, scope=llmkeep.Scope.LOOP)\n"
        "with cache.lease({'a': 1}) as client: pass\n"
        "cache.warm('k', timeout=5); cache.stats(); cache.snapshot(); repr(cache)\n"
        "cache.clear(); cache.close()\n"
        "print(*sorted({'asyncio', 'ssl', 'socket', 'typing_extensions'} & {*sys.modules}))\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60
    )
    assert outcome.stdout.splitlines()[-1] == ""
