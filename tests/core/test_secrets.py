"""I12: nothing that llmkeep itself writes lets a credential be read.

One secret is planted in every place where users put them, everything is made to speak, and all of
it is searched.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import io
import logging
import pickle
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmkeep import BuildTimeout, ClientCache, LLMKeepError, Scope, WouldDeadlock, freeze
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Gate,
    Recorder,
    alease,
    lease,
    program,
    start,
    sweep,
    until,
    until_waiting,
)

SECRET = "sk-planted-0123456789"


@dataclass(frozen=True)
class Configuration:
    """A spec as users write them: its repr shows everything."""

    api_key: str = SECRET
    model: str = "m"


@dataclass
class Leaky:
    """A client whose repr shows its key."""

    api_key: str = SECRET
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {SECRET}"})


def leaky(spec: Any) -> Leaky:
    """A factory that pickle finds by its name."""
    return Leaky()


SPECS: dict[str, Any] = {
    "mapping": {"api_key": SECRET, "nested": [{"key": SECRET}]},
    "text": SECRET,
    "tuple": ("openai", SECRET),
    "own class": Configuration(),
}


@pytest.fixture(params=list(SPECS.values()), ids=list(SPECS))
def spec(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What has been said; searched in the end, the log included."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    yield said
    said.append(caplog.text)
    assert said
    for text in said:
        assert SECRET not in text
        assert "planted" not in text


def speak(thing: Any) -> list[str]:
    """Every text that `thing` gives of itself."""
    return [repr(thing), str(thing), f"{thing}"]


def test_i12_no_repr_shows_a_secret(make_cache: MakeCache, spec: Any, told: list[str]) -> None:
    """Of caches, specs, keys, leases, statistics, rows, and of the records within."""
    cache = make_cache(lambda spec: Leaky(), close=lambda client: None)
    frozen = freeze(spec)
    leased = cache.lease(spec)
    told += [*speak(cache), *speak(leased), *speak(frozen), *speak(frozen.key)]
    with leased:
        told += [*speak(cache), *speak(leased), *speak(cache.stats()), *speak(cache.snapshot())]
        for slot in cache._ledger.home.slots.values():
            told += [*speak(slot), *speak(slot.instance), *speak(slot.key)]
    cache.invalidate(spec)
    told += [*speak(cache), *speak(leased)]


def test_i12_no_event_and_no_log_line_shows_a_secret(
    make_cache: MakeCache, spec: Any, told: list[str]
) -> None:
    """Builds that raise, closes that raise, leaks, evictions: by the type of the error only."""
    events = Recorder()

    def build(_: Any) -> Any:
        raise ConnectionError(f"401 for key {SECRET}")

    def close(_: Any) -> None:
        raise ConnectionError(f"cannot close {SECRET}")

    cache = make_cache(lambda spec: Leaky(), close=close, leak_after=1.0, build_timeout=1000.0)
    cache.subscribe(events)
    with pytest.raises(ConnectionError):
        lease(cache, spec, build=build)
    with cache.lease(spec):
        sweep(cache, 2)
        cache.invalidate(spec)
    until(lambda: "CloseFailed" in events.names)
    until(lambda: "LeasedTooLong" in events.names)
    stuck = Gate()
    caller = start(lease, cache, spec, build=stuck.build)
    stuck.begun()
    sweep(cache, 1001)
    with pytest.raises(BuildTimeout):
        caller.result(WAIT)
    until(lambda: "BuildAbandoned" in events.names)
    stuck.open()
    told += [text for event in events.events for text in (*speak(event), str(vars(event)))]


def test_i12_no_error_of_ours_shows_a_secret(
    make_cache: MakeCache, spec: Any, told: list[str]
) -> None:
    """Time limits, deadlocks, misuse, closed caches, and their pickles."""
    gate = Gate()
    errors: list[Exception] = []

    def ours(work: Any) -> None:
        with pytest.raises((LLMKeepError, TypeError)) as raised:
            work()
        errors.append(raised.value)

    waits = make_cache(gate.build)
    ours(lambda: lease(waits, spec, timeout=0))
    ours(lambda: lease(waits, spec, timeout=0.01))
    one = make_cache(lambda spec: Leaky(), close=None, scope=Scope.exclusive(1))
    with one.lease(spec) as _:
        ours(lambda: lease(one, spec))
        used = one.lease(spec)
        ours(lambda: used.__exit__(None, None, None))
    own: ClientCache[Any, Any] = make_cache(lambda spec: lease(own, spec), close=None)
    with pytest.raises(WouldDeadlock) as raised:
        lease(own, spec)
    told += raised.value.cycle
    only_async = make_cache(None, abuild=gate.abuild)
    ours(lambda: lease(only_async, spec))
    one.close()
    ours(lambda: lease(one, spec))

    for error in errors:
        told += speak(error)
        told += traceback.format_exception_only(error)
        told.append(pickle.dumps(error).decode("latin1"))
    gate.open()


def test_i12_no_pickle_holds_a_secret(make_cache: MakeCache, spec: Any, told: list[str]) -> None:
    """What can be pickled holds none, and what would hold one is refused with a sentence."""
    cache = make_cache(leaky, close=None)
    events = Recorder()
    cache.subscribe(events)
    lease(cache, spec)

    pickled: list[Any] = [cache.stats(), cache.snapshot(), freeze(spec).key, events.events]
    for thing in pickled:
        assert pickle.loads(pickle.dumps(thing)) == thing
        told.append(pickle.dumps(thing).decode("latin1"))
    refused: list[Any] = [freeze(spec), cache, cache.lease(spec)]
    for thing in refused:
        with pytest.raises(TypeError) as raised:
            pickle.dumps(thing)
        told += speak(raised.value)
    with pytest.raises(TypeError, match="freeze it where it is used"):
        copy.deepcopy(freeze(spec))


def test_i12_no_warning_shows_a_secret(make_cache: MakeCache, spec: Any, told: list[str]) -> None:
    """Leases dropped, leases broken, caches dropped."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        cache: Any = ClientCache(leaky)
        cache.lease(spec).__enter__()
        gc.collect()
        leased = cache.lease(spec)
        leased.__enter__()
        cache.close(timeout=0.01)
        other: Any = ClientCache(leaky, close=lambda client: None)
        other.warm(spec)
        del other
        gc.collect()
    assert len(warned) == 3
    told += [str(warning.message) for warning in warned]


def test_i12_what_identifies_an_instance_is_random_in_each_process() -> None:
    """Neither the key nor the display id can be found by trying likely secrets elsewhere."""
    source = f"from llmkeep import freeze; print(freeze({SECRET!r}).key)"
    keys = {program(source).stdout for _ in range(2)} | {f"{freeze(SECRET).key}\n"}
    assert len(keys) == 3


def test_i12_display_ids_differ_between_instances_of_one_spec(
    make_cache: MakeCache, spec: Any
) -> None:
    """They say nothing about the spec."""
    cache = make_cache(lambda spec: Leaky(), close=None)
    ids = set()
    for _ in range(3):
        lease(cache, spec)
        ids |= {row.id for row in cache.snapshot()}
        cache.invalidate(spec)
    assert len(ids) == 3
    assert not ids & {freeze(spec).key, freeze(spec).key[:8]}


def test_i12_labels_are_the_callers_and_default_to_the_type(
    make_cache: MakeCache, spec: Any
) -> None:
    """Nothing is taken from the spec that was not asked for."""
    plain = make_cache(lambda spec: Leaky(), close=None)
    labelled = make_cache(lambda spec: Leaky(), close=None, label=lambda spec: "openai m")
    lease(plain, spec)
    lease(labelled, spec)
    assert [row.label for row in plain.snapshot()] == ["Leaky"]
    assert [row.label for row in labelled.snapshot()] == ["openai m"]


def test_i12_what_is_told_at_exit_shows_no_secret() -> None:
    """Leases out at the end of the process are named by their line."""
    outcome = program(
        "from llmkeep import ClientCache\n"
        f"cache = ClientCache(lambda spec: {SECRET!r}, close=print and (lambda client: 1 / 0))\n"
        f"lease = cache.lease({SECRET!r}); lease.__enter__(); cache.warm(({SECRET!r},))\n"
    )
    assert "1 leases were still out" in outcome.stderr
    assert SECRET not in outcome.stderr + outcome.stdout


def test_i12_a_builds_own_error_passes_as_it_is(make_cache: MakeCache, told: list[str]) -> None:
    """What an SDK says to its caller is the SDK's; it is not in what we say beside it."""

    def build(spec: Any) -> Any:
        raise ValueError(SECRET)

    cache = make_cache(build, failure_backoff=30.0)
    for ask in (lease, lambda cache: asyncio.run(alease(cache))):
        with pytest.raises(ValueError, match=SECRET):
            ask(cache)
    told += speak(cache)
    out = io.StringIO()
    print(cache.snapshot(), cache.stats(), file=out)
    told.append(out.getvalue())


def test_i12_a_waiters_timeout_tells_figures_and_no_more(
    make_cache: MakeCache, spec: Any, told: list[str]
) -> None:
    """The state of the cache in a line."""
    gate = Gate()
    cache = make_cache(gate.build, name="telling")
    waiter = start(lease, cache, spec)
    until_waiting(cache, 1)
    with pytest.raises(TimeoutError, match=r"'telling'.*1 building, \d waiting") as raised:
        lease(cache, spec, timeout=0.01)
    told += speak(raised.value)
    gate.open()
    waiter.result(WAIT)
