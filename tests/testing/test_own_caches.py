"""Each test finds its caches empty, and leaves nothing in them."""

from __future__ import annotations

import llmkeep
from llmkeep.core import ClientCache
from llmkeep.testing import FakeClient, FakeFactory
from llmkeep.testing.caches import OwnCaches

pytest_plugins = ["pytester"]


def test_each_test_builds_its_own(session):
    """A module's cache is empty at the start of each test, and what was in it is closed."""
    outcome = session(
        """
        import llmkeep, pytest
        from llmkeep.testing import FakeClient, FakeFactory

        factory = FakeFactory()
        cache = llmkeep.ClientCache(factory, close=FakeClient.close)
        cache.warm("before any test")

        @pytest.mark.parametrize("number", range(3))
        def test_it(number):
            assert [row.state for row in cache.snapshot()] == []
            with cache.lease("a") as client:
                assert len(factory.made) == number + 2

        @pytest.fixture(scope="module")
        def closed():
            yield
            cache.close()
            assert all(client.closed for client in factory.made)

        def test_end(closed):
            pass
        """,
        "--llmkeep-strict",
    )

    outcome.assert_outcomes(passed=4)


def test_wider_lease_is_left_alone():
    """What a wider fixture leases stays open, and is closed when that returns it."""
    factory = FakeFactory()
    with ClientCache(factory, close=FakeClient.close) as cache:
        own = OwnCaches()
        with cache.lease("a") as client:
            own.begin()
            own.end(timeout=1)
            assert client.use() == "a"
    assert client.closed


def test_default_cache_is_put_back():
    """Figures start at zero in between, and go on afterwards."""
    before = llmkeep.default_cache()
    own = OwnCaches()
    own.begin()
    between = llmkeep.default_cache()
    assert between is not before
    own.end(timeout=1)
    assert llmkeep.default_cache() is before
    assert between.closed
    assert not before.closed
    llmkeep.close()
