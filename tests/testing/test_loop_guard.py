"""A client that is used on a loop that did not open it is reported, and nothing else is."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

BOTH = pytest.mark.parametrize("library", ["httpx", "httpx2"])


@BOTH
def test_i5_second_loop_is_told_with_the_lines_that_made_opened_and_used_the_client(
    library, session, standin
):
    """The message names three lines of the test, and the second request is not sent."""
    outcome = session(
        f"""
        import asyncio, os
        import {library} as http

        def test_it(llmkeep_loop_guard):
            client = http.AsyncClient()
            asyncio.run(client.get(os.environ["PLAIN"]))
            asyncio.run(client.get(os.environ["PLAIN"]))
        """,
        apart=True,
    )

    outcome.assert_outcomes(failed=1)
    outcome.stdout.fnmatch_lines(
        [
            f"*an HTTP client ({library}.AsyncHTTPTransport) was used on an event loop that did*",
            "  made at test_it.py:5 in test_it",
            "  opened at test_it.py:6 in test_it, on a loop that has been closed since",
            "  used at test_it.py:7 in test_it",
        ]
    )
    assert len(standin.requests) == 1


def test_i5_closing_on_another_loop_is_told(session, standin):
    """What one loop opened cannot be closed on another."""
    outcome = session(
        """
        import asyncio, os, httpx2

        def test_it(llmkeep_loop_guard):
            client = httpx2.AsyncClient()
            asyncio.run(client.get(os.environ["PLAIN"]))
            asyncio.run(client.aclose())
        """,
        apart=True,
    )

    outcome.assert_outcomes(failed=1)
    outcome.stdout.fnmatch_lines(["  closed at test_it.py:6 in test_it"])


def test_i5_misuse_that_is_swallowed_fails_the_test_at_its_end(session, standin):
    """`except BaseException`, a thread that nobody asks, an error taken for a result: all told."""
    outcome = session(
        """
        import asyncio, contextlib, os, threading, httpx2

        def use(client):
            with contextlib.suppress(BaseException):
                asyncio.run(client.get(os.environ["PLAIN"]))

        def test_swallowed():
            client = httpx2.AsyncClient()
            use(client), use(client)

        def test_on_threads():
            client = httpx2.AsyncClient()
            for _ in range(2):
                thread = threading.Thread(target=use, args=(client,))
                thread.start(), thread.join()

        def test_taken_for_an_answer():
            client = httpx2.AsyncClient()

            async def status():
                get = client.get(os.environ["PLAIN"])
                return (await asyncio.gather(get, return_exceptions=True))[0].status_code

            asyncio.run(status()), asyncio.run(status())
        """,
        "--llmkeep-strict",
        apart=True,
    )

    outcome.assert_outcomes(failed=3)
    outcome.stdout.fnmatch_lines(
        [
            "  used at test_it.py:5 in use",
            "  used at test_it.py:5 in use",
            "  used at test_it.py:24 in test_taken_for_an_answer",
            "FAILED *::test_taken_for_an_answer - Failed: llmkeep: an HTTP client*",
        ]
    )


def test_i5_misuse_that_is_forgiven_fails_nothing(session, standin):
    """The guard says in words what it has stopped, and forgets what it is told to."""
    outcome = session(
        """
        import asyncio, os, pytest, httpx2

        def test_it(llmkeep_loop_guard):
            client = httpx2.AsyncClient()
            asyncio.run(client.get(os.environ["PLAIN"]))
            with pytest.raises(pytest.fail.Exception):
                asyncio.run(client.get(os.environ["PLAIN"]))
            (misuse,) = llmkeep_loop_guard.misuses
            assert "used at test_it.py:7 in test_it" in misuse
            llmkeep_loop_guard.misuses.clear()
        """,
        apart=True,
    )

    outcome.assert_outcomes(passed=1)
    assert len(standin.requests) == 1


def test_i5_misuse_across_tests_is_told(session, standin):
    """A module's client that each test uses on its own loop: the second test is told, and where
    the module made it.
    """
    outcome = session(
        """
        import os, httpx2

        client = httpx2.AsyncClient()

        async def test_first():
            await client.get(os.environ["PLAIN"])

        async def test_second():
            await client.get(os.environ["PLAIN"])
        """,
        "-o",
        "llmkeep_strict=true",
        apart=True,
    )

    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines(
        [
            "  made at test_it.py:3 in <module>",
            "  opened at test_it.py:6 in test_first, *",
            "  used at test_it.py:9 in test_second",
        ]
    )


@BOTH
def test_i5_right_use_is_not_told(library, session, standin):
    """One loop, many tasks; made outside and used inside; a loop that could not connect; closed
    and made again; no loop at all; threads that share a synchronous client.
    """
    outcome = session(
        f"""
        import asyncio, os, threading, pytest
        import {library} as http

        URL = os.environ["PLAIN"]

        async def test_tasks_of_one_loop():
            async with http.AsyncClient() as client:
                await asyncio.gather(*(client.get(URL) for _ in range(5)))

        def test_made_outside_of_any_loop():
            client = http.AsyncClient()

            async def use():
                await client.get(URL)
                await client.aclose()

            asyncio.run(use())

        def test_nothing_was_opened():
            client = http.AsyncClient()
            for _ in range(3):
                with pytest.raises(http.ConnectError):
                    asyncio.run(client.get("http://127.0.0.1:9"))
            asyncio.run(client.aclose())

        def test_client_for_each_loop():
            async def use():
                async with http.AsyncClient() as client:
                    await client.get(URL)

            for _ in range(3):
                asyncio.run(use())

        def test_other_transports():
            client = http.AsyncClient(transport=http.MockTransport(lambda _: http.Response(200)))
            for _ in range(3):
                asyncio.run(client.get(URL))

        def test_threads_share_a_synchronous_client():
            with http.Client() as client:
                threads = [threading.Thread(target=client.get, args=(URL,)) for _ in range(5)]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
        """,
        "--llmkeep-strict",
    )

    outcome.assert_outcomes(passed=6)


@BOTH
def test_i5_our_transports_are_never_told(library, session, standin):
    """On many loops, at once and one after the other, and closed on yet another."""
    outcome = session(
        f"""
        import asyncio, os, threading
        from llmkeep.transports import async_client

        URL = os.environ["PLAIN"]

        def test_it():
            client = async_client(library="{library}")

            def use():
                for _ in range(3):
                    assert asyncio.run(client.get(URL)).status_code == 200

            threads = [threading.Thread(target=use) for _ in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            use()
            asyncio.run(client.aclose())
        """,
        "--llmkeep-strict",
    )

    outcome.assert_outcomes(passed=1)
    assert len(standin.requests) == 15


def test_i5_finds_the_bug_of_langchain_openai_in_five_lines(session, standin):
    """langchain-ai/langchain#35783: as it comes it is told; through a handle nothing is."""
    outcome = session(
        """
        import asyncio
        import llmkeep
        from langchain_openai import ChatOpenAI

        def test_as_it_comes(llmkeep_loop_guard):
            llm = ChatOpenAI(model="gpt-5-mini")
            asyncio.run(llm.ainvoke("one"))
            asyncio.run(llm.ainvoke("two"))

        def test_through_a_handle(llmkeep_loop_guard):
            llm = llmkeep.chat_model("openai:gpt-5-mini")
            asyncio.run(llm.ainvoke("one"))
            asyncio.run(llm.ainvoke("two"))
        """,
        apart=True,
    )

    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines(
        [
            "*test_as_it_comes*",
            "*was used on an event loop that did not open it",
            "  made at test_it.py:6 in test_as_it_comes",
            "  opened at test_it.py:7 in test_as_it_comes, on a loop that has been closed since",
            "  used at test_it.py:8 in test_as_it_comes",
            "FAILED test_it.py::test_as_it_comes - Failed: llmkeep: an HTTP client*",
        ]
    )
    assert len(standin.requests) == 3
