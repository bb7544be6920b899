"""I4, second part: a close that raises or hangs is an event and loses nothing else.

Closes that are coroutines are in test_coroutine_closes.py.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from llmkeep.core.events import CloseFailed
from tests.core.conftest import MakeCache
from tests.core.tools import (
    WAIT,
    Client,
    Recorder,
    lease,
    sweep,
    until,
)

pytestmark = pytest.mark.usefixtures("open_gate")


class Broken(Exception):
    """What closes raise here."""


def raising(client: Client) -> None:
    raise Broken("sk-secret")


async def araising(client: Client) -> None:
    raise Broken("sk-secret")


@pytest.mark.parametrize("close", [raising, araising], ids=["close", "coroutine close"])
def test_i4_a_close_that_raises_is_an_event_and_hides_no_exception_of_the_body(
    make_cache: MakeCache, close: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The body's own exception passes; the close's is told by its type, and never by its text."""
    events = Recorder()
    cache = make_cache(close=close, max_idle=0)
    cache.subscribe(events)

    with pytest.raises(KeyError, match="the body's own"), cache.lease("k"):
        raise KeyError("the body's own")

    until(lambda: events.of(CloseFailed))
    assert [event.error for event in events.of(CloseFailed)] == ["Broken"]
    assert "CloseFailed" in caplog.text
    assert "sk-secret" not in caplog.text
    figures = cache.stats()
    assert (figures.closed, figures.close_failures, figures.live) == (1, 1, 0)


def test_i4_closes_that_raise_keep_no_other_from_being_closed(make_cache: MakeCache) -> None:
    """Each of many is closed, whatever the ones before it raised, SystemExit included."""
    closed: list[Any] = []

    def close(client: Client) -> None:
        closed.append(client.spec)
        raise (Broken, SystemExit, KeyboardInterrupt)[client.spec % 3]

    cache = make_cache(close=close)
    for number in range(30):
        lease(cache, number)

    cache.clear()

    until(lambda: cache.stats().close_failures == 30)
    assert sorted(closed) == list(range(30))


def test_i4_closes_that_hang_are_reported_and_keep_no_other_from_being_closed(
    make_cache: MakeCache,
) -> None:
    """Past `close_timeout` a close is told as failed, and others go on; when it ends after all,
    it is not told again.
    """
    go = threading.Event()
    closed: list[int] = []
    events = Recorder()

    def close(client: Client) -> None:
        if client.spec < 20:
            go.wait(WAIT)
        closed.append(client.spec)

    cache = make_cache(close=close, close_timeout=1000.0)
    cache.subscribe(events)
    for number in range(20):
        lease(cache, number)
    cache.clear()
    while cache.stats().closed < 20:
        sweep(cache, 1001)
    until(lambda: len(events.of(CloseFailed)) == 20)
    assert {event.error for event in events.of(CloseFailed)} == {"TimeoutError"}

    for number in range(20, 25):
        lease(cache, number)
    cache.clear()
    until(lambda: set(closed) == {20, 21, 22, 23, 24})
    go.set()
    until(lambda: len(closed) == 25)
    assert (cache.stats().closed, cache.stats().close_failures) == (25, 20)


def test_i4_without_a_close_an_instance_is_let_go(make_cache: MakeCache) -> None:
    """Nothing to do is done at once, and counted."""
    cache = make_cache(close=None)
    lease(cache)
    cache.clear()
    until(lambda: cache.stats().closed == 1)


def test_i4_no_thread_is_left_when_the_closes_are_done(make_cache: MakeCache) -> None:
    """Closer threads end with the work."""
    cache = make_cache()
    for number in range(50):
        lease(cache, number)
    cache.clear()
    until(lambda: cache.stats().closed == 50)
    until(lambda: not [each for each in threading.enumerate() if each.name == "llmkeep-close"])


def _closers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "llmkeep-close"]


def test_i4_closes_go_on_where_no_thread_can_be_started(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is at its limit: what has to be closed is closed nevertheless."""
    cache = make_cache()
    clients = [lease(cache, number) for number in range(5)]
    until(lambda: not _closers())
    monkeypatch.setattr(threading.Thread, "start", _refused)

    cache.clear()

    until(lambda: all(client.closes == 1 for client in clients))


def _refused(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
