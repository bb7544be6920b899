"""What mutation testing of the waiting callers found unproved."""

from __future__ import annotations

import pytest

from llmkeep import Scope
from llmkeep.core.waiters import ThreadWaiter
from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Gate, lease, start

#: In seconds; far longer than any test.
LIMIT = 1000.0


def test_i7_a_turn_given_at_the_last_moment_is_taken(
    make_cache: MakeCache, open_gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. the caller's time is up; 2. its turn comes; 3. it looks once more, and has its lease."""
    cache = make_cache(scope=Scope.exclusive(1))
    holder = cache.lease("k")
    client = holder.__enter__()

    def time_is_up(waiter: ThreadWaiter, deadline: float | None) -> bool:
        holder.__exit__(None, None, None)
        return False

    monkeypatch.setattr(ThreadWaiter, "wait", time_is_up)

    assert start(lease, cache, timeout=LIMIT).result(WAIT) is client

    monkeypatch.undo()
    assert cache.stats().idle == 1
