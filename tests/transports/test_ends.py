"""How what was opened ends: with its loop, with its client, by cancellation, by being dropped."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx2
import pytest

from llmkeep.transports import async_client, client, loop_home
from tests.support.sockets import connections_to
from tests.support.standin import StandIn
from tests.transports.conftest import PATIENCE, eventually, plain

#: httpx reads through generators, and asyncio warns of any that starts once a loop closes them.
reads_after_the_end = pytest.mark.filterwarnings(
    "ignore:asynchronous generator .* was scheduled after:ResourceWarning"
)


@pytest.fixture
def single(standin: StandIn, library: str) -> Iterator[Any]:
    """A client that may have one connection per loop: a place that is lost is missed at once."""
    limits = httpx2.Limits(max_connections=1)
    client = async_client(library=library, verify=standin.trust(), limits=limits, timeout=PATIENCE)
    yield client
    asyncio.run(client.aclose())


async def begin(standin: StandIn, client: Any) -> Any:
    """A response whose body has begun and will not end by itself."""
    request = client.build_request("GET", f"{standin.url}/drip")
    return await client.send(request, stream=True)


async def gone(standin: StandIn) -> None:
    """Wait until the server has seen its client go away."""
    assert await asyncio.to_thread(standin.gone.acquire, timeout=PATIENCE)


@asynccontextmanager
async def loop_in_thread() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """A second loop, running in another thread."""
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(stop.wait())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        await asyncio.to_thread(thread.join)


async def on(loop: asyncio.AbstractEventLoop, coroutine: Any) -> Any:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


# --- the loop ends -------------------------------------------------------------------------------


@reads_after_the_end
def test_i5_response_finished_beside_the_loops_end(
    run: Callable[[Any], Any], standin: StandIn, single: Any, connections: Callable[[], int]
) -> None:
    """What a generator does with its response while the loop closes it comes before the pool."""
    bodies: list[bytes] = []

    async def stream() -> AsyncIterator[None]:
        response = await begin(standin, single)
        try:
            yield
        finally:
            for _ in range(20):  # the pool's end comes later than any number of turns
                await asyncio.sleep(0)
            standin.release()
            bodies.append(await response.aread())

    parts: Any = None

    async def leave_in_the_middle() -> None:
        nonlocal parts
        parts = stream()
        await anext(parts)

    run(leave_in_the_middle())

    assert bodies == [b"firstlast"]
    assert connections() == 0


def test_i5_body_left_in_the_middle(
    run: Callable[[Any], Any],
    standin: StandIn,
    single: Any,
    connections: Callable[[], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A body that is being read when the loop ends is closed without an error on the loop.

    With a bare client httpcore2's generators close each other side by side, and asyncio logs it.
    """
    parts: Any = None

    async def leave_in_the_middle() -> None:
        nonlocal parts

        async def stream() -> AsyncIterator[bytes]:
            response = await begin(standin, single)
            async for part in response.aiter_bytes():
                yield part

        parts = stream()
        assert await anext(parts) == b"first"

    run(leave_in_the_middle())

    assert connections() == 0
    assert not [record for record in caplog.records if record.name == "asyncio"]


@reads_after_the_end
def test_i5_request_made_while_the_loop_ends(
    run: Callable[[Any], Any], standin: StandIn, single: Any, connections: Callable[[], int]
) -> None:
    """A request after the pool's end gets a connection that is closed with its response."""
    after: list[int] = []

    async def stream() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await eventually(lambda: not connections())
            await plain(standin, single)
            after.append(connections())

    parts: Any = None

    async def main() -> None:
        nonlocal parts
        parts = stream()
        await anext(parts)
        await plain(standin, single)

    run(main())

    assert after == [0]
    assert len(standin.requests) == standin.connections == 2
    assert connections() == 0


@reads_after_the_end
def test_i5_failed_request_while_the_loop_ends(
    run: Callable[[Any], Any], standin: StandIn, single: Any, connections: Callable[[], int]
) -> None:
    """A request that fails after the pool's end leaves no connection either."""
    failures: list[str] = []

    async def stream() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await eventually(lambda: not connections())
            try:
                await single.get(f"{standin.url}/drip", timeout=0.05)
            except Exception as error:
                failures.append(type(error).__name__)

    parts: Any = None

    async def main() -> None:
        nonlocal parts
        parts = stream()
        await anext(parts)
        await plain(standin, single)

    run(main())

    assert failures == ["ReadTimeout"]
    assert connections() == 0


def test_i5_response_that_nobody_closes_holds_no_loop_up(
    run: Callable[[Any], Any],
    standin: StandIn,
    single: Any,
    connections: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait for open responses is bounded; then their connections are closed under them."""
    monkeypatch.setattr(loop_home, "DRAIN_SECONDS", 0.02)

    response = run(begin(standin, single))

    assert not response.is_closed
    assert connections() == 0


@reads_after_the_end
def test_i5_ended_loop_that_runs_again(
    standin: StandIn, single: Any, connections: Callable[[], int]
) -> None:
    """A loop may go on after its `shutdown_asyncgens()`: each request has its own connection."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(plain(standin, single))
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert connections() == 0
    loop.run_until_complete(plain(standin, single))

    assert connections() == 0
    assert standin.connections == 2
    loop.close()


# --- cancellation --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "times"),
    # httpcore 1 loses the place of a reader that is cancelled again while it handles the first.
    [("httpx2", 1), ("httpx2", 3), ("httpx", 1)],
)
def test_i7_cancelled_in_the_middle_of_a_body(
    run: Callable[[Any], Any], standin: StandIn, single: Any, times: int
) -> None:
    """However often a reader is cancelled, its connection goes and its place comes back."""

    async def main() -> None:
        reading = asyncio.Event()

        async def read() -> None:
            async with single.stream("GET", f"{standin.url}/drip") as response:
                async for _ in response.aiter_raw():
                    reading.set()

        reader = asyncio.create_task(read())
        await reading.wait()
        for _ in range(times):
            reader.cancel()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError):
            await reader
        await gone(standin)
        await plain(standin, single)

    run(main())


def test_i7_cancelled_again_and_again_by_anyio(
    run: Callable[[Any], Any], standin: StandIn, single: Any
) -> None:
    """AnyIO cancels in every turn until the scope is left; the close is finished all the same."""

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with single.stream("GET", f"{standin.url}/drip") as response:
                async for _ in response.aiter_raw():
                    scope.cancel()
        await gone(standin)
        await plain(standin, single)

    run(main())


def test_i7_cancelled_sdk_stream(run: Callable[[Any], Any], standin: StandIn) -> None:
    """A stream of the OpenAI SDK, cancelled in the middle, is neither sent again nor left open."""
    from openai import AsyncOpenAI

    async def main() -> None:
        sdk = AsyncOpenAI(
            base_url=standin.base_url("openai"),
            api_key="key",
            http_client=async_client(
                verify=standin.trust(), limits=httpx2.Limits(max_connections=1)
            ),
        )
        reading = asyncio.Event()

        async def read() -> None:
            stream = await sdk.chat.completions.create(
                model="any-model", messages=[{"role": "user", "content": "hello"}], stream=True
            )
            async for _ in stream:
                reading.set()

        standin.llm.stall(after_chunks=1, seconds=PATIENCE)
        reader = asyncio.create_task(read())
        await reading.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await sdk.models.list()
        await sdk.close()

    run(main())

    assert [request.path for request in standin.requests] == ["/v1/chat/completions", "/v1/models"]


def test_i7_cancelled_before_the_answer(
    run: Callable[[Any], Any], standin: StandIn, single: Any
) -> None:
    """A request that is cancelled while it waits gives its place back."""

    async def main() -> None:
        standin.llm.delay(PATIENCE)
        asking = asyncio.create_task(single.get(f"{standin.url}/v1/models"))
        await eventually(lambda: bool(standin.requests))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await plain(standin, single)

    run(main())


@pytest.mark.parametrize("again", [False, True])
def test_i7_cancelled_in_the_handshake(
    run: Callable[[Any], Any], library: str, again: bool
) -> None:
    """A connection whose TLS handshake is cancelled is closed; httpcore alone forgets it.

    Also if the closing is cancelled before it starts, as `asyncio.run` may do.
    """

    async def trace(name: str, info: dict[str, Any]) -> None:
        if again and name.endswith("start_tls.failed"):
            for task in asyncio.all_tasks() - {asyncio.current_task()} - known:
                task.cancel()

    known: set[Any] = set()

    async def main() -> None:
        hello, ended = asyncio.Event(), asyncio.Event()

        async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            hello.set()
            await reader.read()
            ended.set()
            writer.close()

        async with (
            await asyncio.start_server(never_answer, "127.0.0.1", 0) as server,
            async_client(library=library, verify=False) as client,
        ):
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            asking = asyncio.create_task(client.get(url, extensions={"trace": trace}))
            await hello.wait()
            known.update(asyncio.all_tasks())
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await ended.wait()

    run(main())


def test_i7_cancelled_while_closing(
    run: Callable[[Any], Any], standin: StandIn, single: Any
) -> None:
    """A response that is being closed is closed, in whatever turn its closer is cancelled."""

    async def main() -> None:
        for turns in range(8):
            closing = asyncio.Event()

            async def leave(closing: asyncio.Event = closing) -> None:
                async with single.stream("GET", f"{standin.url}/drip") as response:
                    async for _ in response.aiter_raw():
                        break
                    closing.set()

            closer = asyncio.create_task(leave())
            await closing.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            closer.cancel()
            await asyncio.wait([closer])
            await plain(standin, single)

    run(main())


def test_i5_loop_that_ends_while_its_client_is_closed(
    run: Callable[[Any], Any], standin: StandIn, library: str, connections: Callable[[], int]
) -> None:
    """A close that the loop's end cancels half way is done to the last connection."""
    closing: list[asyncio.Task[None]] = []

    async def main(turns: int) -> None:
        client = async_client(library=library, verify=standin.trust())
        await asyncio.gather(*(plain(standin, client) for _ in range(5)))
        closing.append(asyncio.create_task(client.aclose()))
        for _ in range(turns):
            await asyncio.sleep(0)

    for turns in (2, 4, 6):
        run(main(turns))
        assert connections() == 0
        gc.collect()  # a warning of what was left open comes now, and is an error


def test_trace_of_the_user(run: Callable[[Any], Any], standin: StandIn, single: Any) -> None:
    """A user's own `trace` sees every event, and the request is left as it was."""
    seen: list[str] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        seen.append(name)

    async def main() -> None:
        response = await single.get(f"{standin.url}/plain", extensions={"trace": trace})
        assert response.request.extensions["trace"] is trace

    run(main())

    for event in ("connection.start_tls.complete", "http11.response_closed.complete"):
        assert event in seen
    assert len(seen) == len(set(seen))


# --- dropped -------------------------------------------------------------------------------------


def test_dropped_response_gives_its_place_back(
    run: Callable[[Any], Any], standin: StandIn, single: Any
) -> None:
    """A response that is collected unclosed is closed by its loop."""

    async def main() -> None:
        response = await begin(standin, single)
        del response
        gc.collect()
        await gone(standin)
        await plain(standin, single)

    run(main())


def test_dropped_client_closes_its_connections(
    run: Callable[[Any], Any], standin: StandIn, connections: Callable[[], int]
) -> None:
    """A client that is collected while its loop runs leaves no connection and no warning."""

    async def main() -> None:
        client: Any = async_client(verify=standin.trust())
        await plain(standin, client)
        assert connections() == 1
        del client
        gc.collect()
        await eventually(lambda: not connections())

    run(main())


def test_i5_dropped_client_while_the_loop_ends(
    run: Callable[[Any], Any], standin: StandIn, connections: Callable[[], int]
) -> None:
    """`asyncio.run` cancels every task, a closing one too, and still nothing stays open."""

    async def main() -> None:
        client: Any = async_client(verify=standin.trust())
        await asyncio.gather(*(plain(standin, client) for _ in range(3)))
        del client
        gc.collect()
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    run(main())

    assert connections() == 0


def test_response_outlives_its_client(run: Callable[[Any], Any], standin: StandIn) -> None:
    """Dropping the client while a response is read does not end the response."""

    async def main() -> None:
        client: Any = async_client(verify=standin.trust())
        response = await begin(standin, client)
        del client
        gc.collect()
        standin.release()
        assert await response.aread() == b"firstlast"

    run(main())


# --- aclose --------------------------------------------------------------------------------------


def test_i5_aclose_closes_each_pool_on_its_own_loop(
    run: Callable[[Any], Any],
    standin: StandIn,
    library: str,
    connections: Callable[[], int],
) -> None:
    """`aclose()` from one loop closes another running loop's pool there, and waits for it."""

    async def main() -> None:
        client = async_client(library=library, verify=standin.trust())
        async with loop_in_thread() as other:
            await plain(standin, client)
            await on(other, plain(standin, client))
            assert connections() == 2

            await client.aclose()

            assert connections() == 0
            with pytest.raises(RuntimeError, match="closed"):
                await on(other, plain(standin, client))

    run(main())


def test_i5_aclose_leaves_a_stopped_loop_its_own(
    standin: StandIn, connections: Callable[[], int]
) -> None:
    """A loop that does not run closes its part when it runs again; nobody waits for it."""
    client = async_client(verify=standin.trust())
    with asyncio.Runner() as runner:
        runner.run(plain(standin, client))
        asyncio.run(client.aclose())
        assert connections() == 1

    assert connections() == 0


def test_closed_transport_refuses(run: Callable[[Any], Any], standin: StandIn) -> None:
    """After `aclose()` the transport says what to do, whoever still holds it."""

    async def main() -> None:
        client = async_client(verify=standin.trust())
        await client.aclose()
        await client.aclose()
        with pytest.raises(RuntimeError, match="make another client"):
            await client._transport.handle_async_request(
                client.build_request("GET", f"{standin.url}/plain")
            )

    run(main())
    assert not standin.requests


# --- the wrong loop ------------------------------------------------------------------------------


def test_i5_response_is_read_on_its_own_loop_only(standin: StandIn, single: Any) -> None:
    """Another loop cannot read a response; closing it there has its own loop close it."""

    async def main() -> None:
        async with loop_in_thread() as other:
            response = await on(other, begin(standin, single))
            with pytest.raises(RuntimeError, match="another event loop"):
                await response.aread()
            await response.aclose()
            await gone(standin)
            await on(other, plain(standin, single))

    asyncio.run(main())


FORGOTTEN = """
import sys
from llmkeep.transports import client

library, url, authority = sys.argv[1:]
shared = client(library=library, verify=authority)
print(shared.get(f"{url}/plain").json())
"""


def test_a_client_that_nobody_closes_ends_with_the_interpreter(
    standin: StandIn, library: str
) -> None:
    """Its idle connections are closed: nothing is warned of."""
    command = [sys.executable, "-W", "default", "-c", FORGOTTEN]
    command += [library, standin.url, str(standin.authority)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "{'plain': True}\n"
    assert "unclosed" not in ended.stderr


def test_a_client_that_is_dropped_is_closed_by_the_collector(
    standin: StandIn, library: str
) -> None:
    """No ResourceWarning, which would be an error here, and no socket is left."""
    shared = client(library=library, verify=standin.trust())
    shared.get(f"{standin.url}/plain")
    assert connections_to(standin.port) == 1
    del shared
    gc.collect()
    assert connections_to(standin.port) == 0


WAITED_FOR = """
import atexit, socket, sys, threading
from llmkeep.transports import client

answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
upstream = socket.create_server(("127.0.0.1", 0))
asked, ending, done = threading.Event(), threading.Event(), threading.Event()

def serve():
    connection, _ = upstream.accept()
    connection.recv(9999)
    asked.set()
    ending.wait(10)
    connection.sendall(answer)
    done.wait(10)

def ask():
    print(shared.get(f"http://127.0.0.1:{upstream.getsockname()[1]}/").text, flush=True)
    done.set()

def end():
    ending.set()
    done.wait(10)

atexit.register(end)  # called after the finalizers
shared = client(library=sys.argv[1])
for work in (serve, ask):
    threading.Thread(target=work, daemon=True).start()
asked.wait(10)
"""


def test_i5_an_answer_that_is_waited_for_while_the_interpreter_ends_comes(library: str) -> None:
    """A daemon thread's connection is not idle before the answer has begun, either."""
    command = [sys.executable, "-c", WAITED_FOR, library]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "ok\n"
    assert "ReadError" not in ended.stderr
