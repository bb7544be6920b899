"""What is watched during one test, and what the test is told."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import pytest

from .caches import OwnCaches
from .clients import Client, ClientWatch
from .leases import LeaseWatch
from .places import Place

#: Seconds that a lease gets to come back from another thread when its test has ended.
GRACE = 1.0


class Wanted(NamedTuple):
    """What a test asked for."""

    caches: bool = False
    leaks: bool = False
    loops: bool = False


class LoopGuard:
    """Reports clients that are used on a loop that did not open them; lives as long as a test.

    The use itself raises `pytest.fail.Exception`, which no `except Exception` takes for a failure
    of the network. What is in `misuses` when the test ends, since somebody swallowed it or it
    happened on a thread, fails the test then.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled: Final = enabled
        #: What happened, in words. `clear()` it to forgive.
        self.misuses: Final[list[str]] = []

    def report(self, client: Client, where: Place, what: str) -> None:
        """`client` is used, or closed, at `where`, on another loop than its own."""
        if self.enabled:
            self.misuses.append(_misuse(client, where, what))
            pytest.fail(self.misuses[-1], pytrace=False)


class Watch:
    """Everything that is watched for one test; lives as long as it runs, set-up included."""

    def __init__(self, wanted: Wanted) -> None:
        self.guard: Final = LoopGuard(enabled=wanted.loops)
        self.failed = False
        self.wanted: Final = wanted
        self._clients: Final = ClientWatch(self.guard.report)
        self._leases: Final = LeaseWatch()
        self._caches: Final = OwnCaches()
        self._ended = False

    def begin(self) -> None:
        """Empty the caches and wrap what is to be wrapped."""
        if self.wanted.caches or self.wanted.leaks:
            self._caches.begin()
        if self.wanted.leaks:
            self._leases.begin()
        if self.wanted.leaks or self.wanted.loops:
            self._clients.begin()

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """What is leased in this block belongs to a wider fixture, and outlives the test."""
        before, self._leases.lasting = self._leases.lasting, True
        try:
            yield
        finally:
            self._leases.lasting = before

    def finish(self) -> str | None:
        """End the test's caches; what the test leaked, in words. Unwraps nothing yet."""
        told: list[str] = []
        asked = self.wanted.leaks and not self.failed
        if asked:
            told += _leaked_leases(self._leases)
        if (self.wanted.caches or self.wanted.leaks) and not self._ended:
            self._ended = True
            with warnings.catch_warnings():
                if told:  # it is told already
                    warnings.simplefilter("ignore", ResourceWarning)
                self._caches.end(0.0 if told else GRACE)
        if asked:  # a cache that closes nothing drops what it had
            told += _leaked_clients(self._clients)
        return "\n".join(f"llmkeep: {each}" for each in told) or None

    def end(self) -> None:
        """Put back what was wrapped."""
        self._clients.end()
        self._leases.end()


def _leaked_leases(leases: LeaseWatch) -> list[str]:
    if leases.out():
        gc.collect()  # it may be out because nobody has looked that it is not
    deadline = time.monotonic() + GRACE
    while leases.out() and time.monotonic() < deadline:
        time.sleep(0.005)  # between two looks: it may be on its way back on another thread
    out = [f"a lease is still out, taken at\n  {place}" for place in leases.out()]
    dropped = [
        f"a lease was dropped without being returned, taken at\n  {place}"
        for place in leases.dropped
    ]
    return out + dropped


def _leaked_clients(clients: ClientWatch) -> list[str]:
    if any(client.may_be_leaked for client in clients.made):
        gc.collect()  # what somebody still holds is kept, the rest is gone now
    return [
        f"an HTTP client ({client.kind}) was dropped without being closed\n"
        f"  made at {client.made}\n"
        f"  used at {client.opened}"
        for client in clients.leaked()
    ]


def _misuse(client: Client, where: Place, what: str) -> str:
    made = client.made or "a line that ran before anybody watched"
    return (
        f"llmkeep: an HTTP client ({client.kind}) was {what} on an event loop "
        "that did not open it\n"
        f"  made at {made}\n"
        f"  opened at {client.opened}, on {client.loop_state}\n"
        f"  {what} at {where}\n"
        "Its connections belong to the loop that opened them: the request fails, or is sent, and "
        "billed, twice.\n"
        "Give every loop a client of its own, or the SDK one that all loops may share: "
        "llmkeep.transports.async_client()."
    )
