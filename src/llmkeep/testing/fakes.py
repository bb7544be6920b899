"""A client that knows whether it is closed, and a factory that a test can hold up or let fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final


class FakeClient:
    """What an SDK's client is to a cache: made of a spec, used, and closed once."""

    def __init__(self, spec: Any = None) -> None:
        self.spec: Final = spec
        self.uses = 0
        self.closes = 0

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self.closes > 0

    def use(self) -> Any:
        """What stands for a call: returns the spec. Raises AssertionError once it is closed."""
        assert not self.closed, f"a closed client was used: {self!r}"
        self.uses += 1
        return self.spec

    def close(self) -> None:
        """Close it. Raises AssertionError the second time."""
        self.closes += 1
        assert self.closes == 1, f"a client was closed twice: {self!r}"

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<FakeClient {state}, used {self.uses} times>"


class FakeFactory:
    """Makes a `FakeClient` for each call: `ClientCache(factory, close=FakeClient.close)`.

    `with factory.held():` keeps every build waiting until the block is left, so that a test can
    bring about any order; `factory.error = ...` makes builds raise while it is set.
    """

    #: Seconds after which a build that is held raises TimeoutError, and not the test hangs.
    PATIENCE = 10.0

    def __init__(self) -> None:
        #: Every client made, oldest first.
        self.made: Final[list[FakeClient]] = []
        #: What builds raise, if it is set.
        self.error: BaseException | None = None
        self._begun: Final = threading.Semaphore(0)
        self._gate: Final = threading.Event()
        self._gate.set()

    def __call__(self, spec: Any) -> FakeClient:
        """Build: a new client of `spec`."""
        self._begun.release()
        if not self._gate.wait(self.PATIENCE):
            raise TimeoutError(f"this build was held for {self.PATIENCE} seconds")
        if self.error is not None:
            raise self.error
        client = FakeClient(spec)
        self.made.append(client)
        return client

    @contextmanager
    def held(self) -> Iterator[None]:
        """Builds that begin in this block end when it is left."""
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    def wait_for_build(self) -> None:
        """Wait until one more build has begun. Raises TimeoutError where none does."""
        if not self._begun.acquire(timeout=self.PATIENCE):
            raise TimeoutError(f"no build began in {self.PATIENCE} seconds")
