"""The records that the ledger keeps, each with its lifetime in its first line."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, final

if TYPE_CHECKING:
    import asyncio
    import contextvars
    from types import TracebackType

    from .instance import Instance
    from .lease import Lease
    from .ledger import Ledger
    from .loops import LoopEnd
    from .specs import Foreign, Key, Spec
    from .waiters import Waiter


#: Specs that only their own `__eq__` tells apart, all with one hash. Never changed, only
#: replaced: whoever compared with one sees whether it still stands.
Known: TypeAlias = "tuple[tuple[Foreign, Key], ...]"


@final
class Home:
    """Whoever shares instances: the process, one event loop, or all synchronous callers beside
    the loops. Lives as long as the cache, or until its loop has ended.
    """

    __slots__ = ("end", "ended", "ending", "foreign", "loop", "slots")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.slots: Final[dict[Key, Slot]] = {}
        #: By hash.
        self.foreign: Final[dict[int, Known]] = {}
        self.loop: Final = None if loop is None else weakref.ref(loop)
        #: The loop is ending in order: what is made there from now on is closed after its use.
        self.ending = False
        #: The loop's end has been seen through: nothing more is run on it.
        self.ended = False
        #: Held, since a call at the loop's end that nobody holds is never made.
        self.end: LoopEnd | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the loop has been closed or collected."""
        if self.loop is None:
            return False
        loop = self.loop()
        return loop is None or loop.is_closed()


@final
class Slot:
    """The place of one key in one home; lives while there is anything in it."""

    __slots__ = ("abandoned", "failure", "flight", "foreign", "home", "instance", "key", "requests")

    def __init__(self, key: Key, home: Home, foreign: Foreign | None) -> None:
        self.key: Final = key
        self.home: Final = home
        self.foreign: Final = foreign
        #: The ready instance.
        self.instance: Instance | None = None
        #: The current build.
        self.flight: Flight | None = None
        #: Builds that are still running although nobody wants their result any more.
        self.abandoned: Final[list[Flight]] = []
        #: Who waits, for the build or for a turn; first come first served.
        self.requests: Final[deque[Request]] = deque()
        #: With `failure_backoff`: the last failure, and until when it is told at once.
        self.failure: tuple[BaseException, TracebackType | None, float] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the slot can go."""
        return not (self.instance or self.flight or self.abandoned or self.requests or self.failure)

    def __repr__(self) -> str:
        return (
            f"<Slot {self.key[:8]}: {self.instance or self.flight}, {len(self.requests)} waiting>"
        )


class Factory(NamedTuple):
    """How one caller would build."""

    build: Callable[[Any], Any] | None
    abuild: Callable[[Any], Coroutine[Any, Any, Any]] | None
    #: Run `build` on the caller's own thread.
    inline: bool
    context: contextvars.Context | None

    def on_loop(self, waiter: Waiter) -> bool:
        """Whether this build is a task on the caller's loop."""
        return self.abuild is not None and waiter.is_task

    def can_run(self, waiter: Waiter) -> bool:
        """Whether this caller can build at all."""
        return self.build is not None or self.on_loop(waiter)


@final
class Request:
    """One caller that could not be served at once; lives until it is told its outcome."""

    __slots__ = (
        "asleep",
        "done",
        "error",
        "factory",
        "flight",
        "lease",
        "slot",
        "spec",
        "waited",
        "waiter",
    )

    def __init__(
        self, spec: Spec, factory: Factory, waiter: Waiter, lease: Lease[Any] | None
    ) -> None:
        self.spec: Final = spec
        self.factory: Final = factory
        self.waiter: Final = waiter
        #: None for warming: it wants the instance to be ready, not to have it.
        self.lease: Lease[Any] | None = lease
        #: None before it has joined.
        self.slot: Slot | None = None
        #: The build that this caller started.
        self.flight: Flight | None = None
        #: Whether its thread can no longer run a build.
        self.asleep = False
        #: Whether it found no instance ready.
        self.waited = False
        self.done = False
        self.error: BaseException | None = None

    @property
    def is_building(self) -> bool:
        """Whether a build of this caller, current or abandoned, is still running."""
        return self.flight is not None and not self.flight.over

    def let_go(self) -> None:
        """The caller has what it wanted, or has given up: break the cycle with the build.

        A lease that is dropped then goes at once, and does not wait for the collector.
        """
        self.lease = self.flight = self.error = None

    def may_start(self, blocked: Collection[object]) -> bool:
        """Whether this caller can start a build now, while these loops stand still."""
        if self.flight is not None and self.flight.inline and not self.flight.over:
            return False  # its thread is busy
        if self.waiter.is_leaving:
            return False
        if self.factory.on_loop(self.waiter) and self.waiter.loop in blocked:
            return False
        return self.factory.can_run(self.waiter)


@final
class Flight:
    """One call of a factory; lives until the call has ended, wanted or not."""

    __slots__ = (
        "__weakref__",
        "_unclaimed",
        "abandoned",
        "deadline",
        "inline",
        "instance",
        "ledger",
        "over",
        "slot",
        "started",
        "starter",
        "task",
        "timed_out",
    )

    def __init__(
        self, ledger: Ledger, starter: Request, instance: Instance, limit: float | None
    ) -> None:
        self.ledger: Final = ledger
        self.starter: Final = starter
        assert starter.slot is not None
        self.slot: Final = starter.slot
        self.instance: Final = instance
        self.started: Final = time.monotonic()
        self.deadline: Final = None if limit is None else self.started + limit
        #: Whether the caller runs it on its own thread.
        self.inline: Final = starter.factory.inline and not starter.asleep
        #: Set while the build is a task on a loop; weak, as all that leads to a loop.
        self.task: weakref.ref[asyncio.Task[None]] | None = None
        self.abandoned: str | None = None
        self.timed_out = False
        self.over = False
        # Popped by who runs the build: without a lock, and for the first who asks only. After an
        # interruption a build may be launched twice.
        self._unclaimed = [None]

    @property
    def is_unclaimed(self) -> bool:
        """Whether nobody has begun to run the build."""
        return bool(self._unclaimed)

    def claim(self) -> bool:
        """Whether the asker is the first, and has to run the build."""
        try:
            self._unclaimed.pop()
        except IndexError:
            return False
        return True

    @property
    def is_task(self) -> bool:
        """Whether the build is a task on the starter's loop."""
        return self.starter.factory.on_loop(self.starter.waiter)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that the build is a task on, if there is one and it still lives."""
        return self.starter.waiter.loop if self.is_task else None

    def __str__(self) -> str:
        return f"the build of {self.slot.key[:8]} in cache {self.ledger.policy.name!r}"
