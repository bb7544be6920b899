"""Factories under the test's control, callers that report back, and waiting for conditions.

Nothing here sleeps and hopes: what is waited for is a condition, `WAIT` is when a test gives up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

import llmkeep
from llmkeep import ClientCache
from llmkeep.core.events import Event

E = TypeVar("E", bound=Event)

#: Seconds after which a test gives up on something that never takes that long.
WAIT: Final = 20.0

#: Where the package under test is.
SOURCES: Final = Path(llmkeep.__file__).parents[1]


class Client:
    """What the factories make."""

    def __init__(self, spec: Any, number: int) -> None:
        self.spec = spec
        self.number = number
        self.closes = 0

    def __repr__(self) -> str:
        return f"<Client {self.number}, closed {self.closes} times>"


class Call:
    """One call of a gate's factory, which ends when the test says so."""

    def __init__(self, spec: Any, number: int) -> None:
        self.spec = spec
        self.client = Client(spec, number)
        self.outcome: Future[Client] = Future()

    def release(self) -> Client:
        """Let the call return its client."""
        if not self.outcome.done():
            self.outcome.set_result(self.client)
        return self.client

    def fail(self, error: BaseException) -> None:
        """Let the call raise."""
        self.outcome.set_exception(error)


class Gate:
    """A factory that waits in every call until the test opens it, and a close that counts."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.calls: list[Call] = []
        self.closed: list[Client] = []
        self._is_open = is_open
        self._changed = threading.Condition()

    def build(self, spec: Any) -> Client:
        """Make a client on the calling thread."""
        return self._begin(spec).outcome.result(WAIT)

    async def abuild(self, spec: Any) -> Client:
        """Make a client on the running loop."""
        return await asyncio.wrap_future(self._begin(spec).outcome)

    def close(self, client: Client) -> None:
        """Close one."""
        with self._changed:
            client.closes += 1
            self.closed.append(client)

    async def aclose(self, client: Client) -> None:
        """Close one, asynchronously."""
        self.close(client)

    def begun(self, number: int = 1) -> Call:
        """The `number`-th call, once it has begun."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.calls) >= number, WAIT):
                pytest.fail(f"call {number} of the factory did not begin")
            return self.calls[number - 1]

    def open(self) -> None:
        """Let every call pass, those to come too."""
        with self._changed:
            self._is_open = True
            for call in self.calls:
                call.release()

    def _begin(self, spec: Any) -> Call:
        with self._changed:
            call = Call(spec, len(self.calls) + 1)
            self.calls.append(call)
            self._changed.notify_all()
            if self._is_open:
                call.release()
            return call


class Recorder:
    """A subscriber that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Take one more."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def names(self) -> list[str]:
        """The kinds, in order."""
        return [type(event).__name__ for event in self.events]


# -- callers ---------------------------------------------------------------------------------------


def start(work: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
    """Run `work` on a thread; `result(WAIT)` of what comes back raises what it raised."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work(*args, **options))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def together(count: int, work: Callable[[], Any]) -> list[Any]:
    """Run `work` on `count` threads that begin at once; what it returned."""
    barrier = threading.Barrier(count)

    def run() -> Any:
        barrier.wait(WAIT)
        return work()

    return [future.result(WAIT) for future in [start(run) for _ in range(count)]]


def in_turn(*steps: Callable[[], object]) -> None:
    """Take one step after the other."""
    for step in steps:
        step()


def lease(cache: ClientCache[Any, Any], spec: Any = "k", **options: Any) -> Any:
    """Lease and return; what had been leased."""
    with cache.lease(spec, **options) as client:
        assert_alive(client)
        return client


async def alease(cache: ClientCache[Any, Any], spec: Any = "k", **options: Any) -> Any:
    """`lease` for tasks."""
    async with cache.lease(spec, **options) as client:
        assert_alive(client)
        return client


def assert_alive(client: Any) -> None:
    """A client that is leased has not been closed."""
    assert not getattr(client, "closes", 0), f"{client} is leased"


#: Who calls: how many threads, how many loops, how many tasks on each loop.
Crowd = tuple[int, int, int]


def crowd(
    who: Crowd, cache: ClientCache[Any, Any], spec: Any = "k", **options: Any
) -> list[Future[Any]]:
    """Start callers that lease `spec` and return it."""
    threads, loops, tasks = who
    outcomes = [start(lease, cache, spec, **options) for _ in range(threads)]
    for _ in range(loops):
        mine: list[Future[Any]] = [Future() for _ in range(tasks)]
        start(asyncio.run, _all_of(mine, partial(alease, cache, spec, **options)))
        outcomes += mine
    return outcomes


async def _all_of(outcomes: list[Future[Any]], work: Callable[[], Awaitable[Any]]) -> None:
    async def run(outcome: Future[Any]) -> None:
        try:
            outcome.set_result(await work())
        except BaseException as error:
            outcome.set_exception(error)

    await asyncio.gather(*map(run, outcomes))


def left_for_dead(*tasks: asyncio.Task[Any]) -> None:
    """Tasks of a loop that was closed under them, as it is meant here: asyncio need not say so."""
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]


# -- conditions ------------------------------------------------------------------------------------


def until(condition: Callable[[], object], what: str = "a condition") -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come about")
        time.sleep(0.001)  # between two looks; the condition decides


async def auntil(condition: Callable[[], object], what: str = "a condition") -> None:
    """`until` for tasks."""
    deadline = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come about")
        await asyncio.sleep(0.001)


@contextmanager
def resource_warning(match: str | None = None) -> Iterator[pytest.WarningsRecorder]:
    """A ResourceWarning is given within the block, or soon after it, on whatever thread."""
    with pytest.warns(ResourceWarning, match=match) as warned:  # noqa: PT031 - it is the caller's
        yield warned
        until(lambda: len(warned), "a ResourceWarning")


def waiting(cache: ClientCache[Any, Any]) -> int:
    """How many callers wait, those who build included."""
    ledger = cache._ledger
    return ledger.decide(
        lambda: sum(len(slot.requests) for home in ledger.homes() for slot in home.slots.values())
    )


def until_waiting(cache: ClientCache[Any, Any], count: int) -> None:
    """Wait until `count` callers wait."""
    until(lambda: waiting(cache) == count, f"{count} callers waiting in {cache!r}")


def sweep(cache: ClientCache[Any, Any], ahead: float) -> None:
    """Keep house as it will be kept `ahead` seconds from now."""
    cache._ledger.sweep(time.monotonic() + ahead)


def is_free(cache: ClientCache[Any, Any]) -> bool:
    """Whether another thread can use `cache` at this moment."""
    try:
        start(cache.stats).result(2.0)
    except TimeoutError:
        return False
    return True


# -- other processes -------------------------------------------------------------------------------


def program(source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `source` in an interpreter of its own, and see that it ends."""
    process = subprocess.Popen(
        [sys.executable, *options, "-c", source],
        env={"PYTHONPATH": str(SOURCES), "PYTHONWARNINGS": "default"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its children too, which hold the pipes
        output, errors = process.communicate()
        pytest.fail(f"the program does not end:\n{source}\nit said:\n{output}{errors}")
    return subprocess.CompletedProcess(source, process.returncode, output, errors)
