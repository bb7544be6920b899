"""The fakes notice what they are there to notice, and bring about any order."""

from __future__ import annotations

import threading

import pytest

from llmkeep import ClientCache
from llmkeep.testing import FakeClient, FakeFactory


def test_fake_client_notices_use_after_close_and_a_second_close():
    """Both raise, and say which client it was."""
    client = FakeClient("spec")
    assert client.use() == "spec"
    client.close()
    with pytest.raises(AssertionError, match="a closed client was used: <FakeClient closed, used"):
        client.use()
    with pytest.raises(AssertionError, match="closed twice"):
        client.close()


def test_i1_held_factory_shows_that_callers_share_one_build():
    """While the build is held everybody joins it; one client is made."""
    factory = FakeFactory()
    with ClientCache(factory, close=FakeClient.close) as cache:

        def use() -> None:
            with cache.lease("a") as client:
                client.use()

        threads = [threading.Thread(target=use) for _ in range(5)]
        with factory.held():
            for thread in threads:
                thread.start()
            factory.wait_for_build()
            assert factory.made == []
        for thread in threads:
            thread.join(10)
        (client,) = factory.made
        assert client.uses == 5
    assert client.closed


def test_factory_raises_what_it_is_told_to():
    """As long as `error` is set."""
    factory = FakeFactory()
    factory.error = OSError("refused")
    with ClientCache(factory) as cache:
        with pytest.raises(OSError, match="refused"):
            cache.warm("a")
        factory.error = None
        cache.warm("a")
    assert len(factory.made) == 1


def test_build_that_nobody_lets_go_ends(monkeypatch):
    """A test that forgot to leave `held()` fails, and does not hang."""
    monkeypatch.setattr(FakeFactory, "PATIENCE", 0.01)
    factory = FakeFactory()
    with factory.held(), pytest.raises(TimeoutError, match="held for"):
        factory("a")
    factory.wait_for_build()
    with pytest.raises(TimeoutError, match="no build began"):
        factory.wait_for_build()
