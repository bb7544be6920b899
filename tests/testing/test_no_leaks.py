"""A test that leaks a lease or a client fails, and says where; one that does not passes."""

from __future__ import annotations

import pytest

from llmkeep.testing import watching

pytest_plugins = ["pytester"]

BOTH = pytest.mark.parametrize("library", ["httpx", "httpx2"])


def test_i3_lease_that_is_out_fails_the_test_with_the_line_that_took_it(session, monkeypatch):
    """Held by whatever outlives the test: a module, a generator."""
    monkeypatch.setattr(watching, "GRACE", 0.01)
    outcome = session("""
        import llmkeep

        cache = llmkeep.ClientCache(str.upper, name="names")
        held = []

        def take():
            lease = cache.lease("a")
            held.append(lease)
            lease.__enter__()

        def stream():
            with cache.lease("b") as client:
                yield client

        def test_module(llmkeep_no_leaks):
            take()

        def test_generator(llmkeep_no_leaks):
            held.append(stream())
            next(held[-1])

        def test_end():
            held[0].__exit__(None, None, None)
            held[1].close()
        """)

    outcome.assert_outcomes(passed=3, errors=2)
    outcome.stdout.fnmatch_lines(
        [
            "llmkeep: a lease is still out, taken at",
            "  test_it.py:9 in take",
            "llmkeep: a lease is still out, taken at",
            "  test_it.py:12 in stream",
        ]
    )


@pytest.mark.filterwarnings("ignore:a lease of cache 'names' was dropped:ResourceWarning")
def test_i3_lease_that_was_dropped_fails_the_test(session):
    """Whatever filters of warnings the user has, and in whichever thread it was collected."""
    outcome = session(
        """
        import asyncio, gc, threading, llmkeep

        cache = llmkeep.ClientCache(str.upper, name="names")

        def drop():
            cache.lease("a").__enter__()

        async def test_task():
            await cache.lease("a").__aenter__()

        def test_thread():
            thread = threading.Thread(target=drop)
            thread.start()
            thread.join()

        def test_cycle():
            lease = cache.lease("a")
            lease.__enter__()
            cycle = [lease]
            cycle.append(cycle)
        """,
        "--llmkeep-strict",
        "-W",
        "ignore::ResourceWarning",
    )

    outcome.assert_outcomes(passed=3, errors=3)
    outcome.stdout.fnmatch_lines(
        [
            "llmkeep: a lease was dropped without being returned, taken at",
            "  test_it.py:9 in test_task",
            "  test_it.py:6 in drop",
            "  test_it.py:18 in test_cycle",
        ]
    )


@BOTH
def test_client_that_was_dropped_open_fails_the_test_with_the_line_that_made_it(
    library, session, standin
):
    """Asynchronous and synchronous, and llmkeep's own client."""
    outcome = session(
        f"""
        import asyncio, os, pytest
        import {library} as http, llmkeep
        from llmkeep.transports import async_client, client

        URL = os.environ["PLAIN"]

        async def test_asynchronous():
            kept = http.AsyncClient()
            await kept.get(URL)

        async def test_ours_asynchronous():
            kept = async_client(library="{library}")
            await kept.get(URL)

        def test_synchronous():
            http.Client().get(URL)

        @pytest.fixture
        def never_closed():
            return client(library="{library}")

        def test_fixture(never_closed):
            never_closed.get(URL)

        cache = llmkeep.ClientCache(lambda _: http.Client())

        def test_cache_that_closes_nothing():
            with cache.lease("a") as kept:
                kept.get(URL)
        """,
        "--llmkeep-strict",
        "-W",
        "ignore",
        apart=True,
    )

    outcome.assert_outcomes(passed=5, errors=5)
    outcome.stdout.fnmatch_lines(
        [
            f"*an HTTP client ({library}.AsyncHTTPTransport) was dropped without being closed",
            "  made at test_it.py:8 in test_asynchronous",
            "  used at test_it.py:9 in test_asynchronous",
            "*an HTTP client (llmkeep.AsyncLoopTransport) was dropped without being closed",
            "  made at test_it.py:12 in test_ours_asynchronous",
            f"*an HTTP client ({library}.HTTPTransport) was dropped without being closed",
            "  made at test_it.py:16 in test_synchronous",
            "*an HTTP client (llmkeep.ForkSafeTransport) was dropped without being closed",
            "  made at test_it.py:20 in never_closed",
            "  used at test_it.py:23 in test_fixture",
            "  made at test_it.py:25 in <lambda>",
        ]
    )


@BOTH
def test_what_is_closed_or_kept_is_no_leak(library, session, standin):
    """Closed by the test or by a fixture of any order, never used, of a wider fixture, of a
    module that the test imports, of a cache.
    """
    outcome = session(
        f"""
        import asyncio, os, pytest
        import {library} as http, llmkeep
        from llmkeep.transports import async_client, client

        URL = os.environ["PLAIN"]

        @pytest.fixture
        def closed_late():
            with http.Client() as client:
                yield client

        @pytest.fixture(scope="module")
        def wider():
            with http.Client() as client:
                yield client

        @pytest.fixture(scope="module")
        def wider_lease():
            with llmkeep.ClientCache(str.upper) as cache, cache.lease("a") as client:
                yield client

        def test_fixture(closed_late, llmkeep_no_leaks):
            closed_late.get(URL)

        def test_wider(llmkeep_no_leaks, wider, wider_lease):
            wider.get(URL)

        def test_never_used(llmkeep_no_leaks):
            http.Client(), http.AsyncClient(), client(), async_client()

        async def test_closed(llmkeep_no_leaks):
            async with http.AsyncClient() as one:
                await one.get(URL)
            two = async_client()
            await two.get(URL)
            await two.aclose()

        def test_ours_on_ended_loops(llmkeep_no_leaks):
            ours = async_client(library="{library}")
            asyncio.run(ours.get(URL))
            asyncio.run(ours.aclose())

        kept = http.Client()

        def test_kept(llmkeep_no_leaks):
            kept.get(URL)
            globals()["made_here"] = http.Client()
            made_here.get(URL)

        def test_end():
            kept.close(), made_here.close()

        cache = llmkeep.ClientCache(lambda _: client(), close=http.Client.close)

        def test_cache(llmkeep_no_leaks):
            with cache.lease("a") as kept:
                kept.get(URL)

        async def test_lease_of_a_task(llmkeep_no_leaks):
            async with cache.lease("a"):
                pass
        """,
    )

    outcome.assert_outcomes(passed=9)


def test_i3_handles_stream_that_is_held_is_a_lease_that_is_out(session, standin, monkeypatch):
    """With the line that read it; one that is read to its end is none."""
    monkeypatch.setattr(watching, "GRACE", 0.01)
    outcome = session("""
        import llmkeep

        held = []

        def test_read(llmkeep_no_leaks):
            assert [*llmkeep.chat_model("openai:gpt-5-mini").stream("hello")]

        def test_held(llmkeep_no_leaks):
            held.append(llmkeep.chat_model("openai:gpt-5-mini").stream("hello"))
            next(held[-1])

        def test_end():
            held.pop().close()
        """)

    outcome.assert_outcomes(passed=3, errors=1)
    outcome.stdout.fnmatch_lines(
        ["llmkeep: a lease is still out, taken at", "  test_it.py:10 in test_held"]
    )


def test_pool_of_a_loop_that_died_is_not_told_of_our_transport(session, standin):
    """The client was closed; what the loop dropped is the loop's, and Python warns of it."""
    outcome = session(
        """
        import asyncio, os
        from llmkeep.transports import async_client

        def test_it(llmkeep_no_leaks, llmkeep_loop_guard):
            ours, loop = async_client(), asyncio.new_event_loop()
            loop.run_until_complete(ours.get(os.environ["PLAIN"]))
            asyncio.run(ours.aclose())
            loop.close()
        """,
        "-W",
        "ignore",
        apart=True,
    )

    outcome.assert_outcomes(passed=1)


def test_lease_on_its_way_back_is_no_leak(session, monkeypatch):
    """A thread that returns its lease a moment after the test has ended is waited for."""
    monkeypatch.setattr(watching, "GRACE", 10.0)  # a second may be too short for a loaded machine
    outcome = session("""
        import threading, llmkeep

        cache = llmkeep.ClientCache(str.upper)
        ended = threading.Event()
        taken = threading.Event()

        def work():
            with cache.lease("a"):
                taken.set()
                ended.wait(10)

        def test_it(llmkeep_no_leaks, request):
            thread = threading.Thread(target=work)
            thread.start()
            taken.wait(10)
            threading.Timer(0.1, ended.set).start()
        """)

    outcome.assert_outcomes(passed=1)


def test_failed_test_is_told_as_it_is(session):
    """What a failure left half done is not told beside it."""
    outcome = session("""
        import llmkeep

        cache = llmkeep.ClientCache(str.upper)
        lease = cache.lease("a")

        def test_it(llmkeep_no_leaks):
            lease.__enter__()
            assert False, "the reason"

        def test_end():
            lease.__exit__(None, None, None)
        """)

    outcome.assert_outcomes(failed=1, passed=1)
    outcome.stdout.fnmatch_lines(["*the reason*"])
    outcome.stdout.no_fnmatch_line("*llmkeep: *")
