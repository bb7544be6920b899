"""Where a scenario plays: it makes calls, counts them, and looks at what the process holds."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import pkgutil
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from tests.support.sockets import connections_to

from .outcome import DoesNotApply, Outcome, in_general
from .subject import Bounds, Factory, Keeping, Model, Subject
from .upstream import Address

T = TypeVar("T")

#: Seconds after which a caller counts as hanging; reached by a failure alone.
PATIENCE: Final = 5.0

Play = Callable[["Stage"], object]


@dataclass(frozen=True)
class Scenario:
    """One failure, replayed."""

    name: str
    group: str
    #: The rule, in a sentence.
    rule: str
    play: Play
    #: The face of a subject that it is about: the name of a method of `Subject`.
    needs: str
    #: Whether it starts interpreters and servers of its own, and takes its time.
    heavy: bool


SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(group: str, *, needs: str = "keep", heavy: bool = False) -> Callable[[Play], Play]:
    """Register a function as a scenario; its docstring is the rule."""

    def register(play: Play) -> Play:
        name = play.__name__
        rule = " ".join((play.__doc__ or "").split())
        SCENARIOS[name] = Scenario(name, group, rule, play, needs, heavy)
        return play

    return register


def load_scenarios() -> dict[str, Scenario]:
    """All of them, in the order of the report."""
    from . import scenarios

    for module in sorted(each.name for each in pkgutil.iter_modules(scenarios.__path__)):
        importlib.import_module(f"{__package__}.scenarios.{module}")
    return SCENARIOS


class Stage:
    """One run of one scenario on one subject."""

    def __init__(self, subject: Subject, upstream: Address, deadline: float = PATIENCE) -> None:
        self.subject, self.upstream = subject, upstream
        self.patience = deadline
        self.outcome = Outcome()
        self._numbers = itertools.count(1)
        self.errors: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._threads_before = set(threading.enumerate())

    # -- calls -------------------------------------------------------------------------------------

    def prompt(self, text: str = "say something") -> str:
        """A prompt that nobody has asked yet; counted as one request asked for."""
        with self._lock:
            self.outcome.asked += 1
            return f"{text} {os.getpid()} {next(self._numbers)}"

    def call(self, work: Callable[..., T], *args: Any) -> T | None:
        """Make a call and count it, and its failure."""
        self.count()
        try:
            return work(*args)
        except Exception as error:
            self.fail(error)
            return None

    async def acall(self, work: Awaitable[T]) -> T | None:
        """`call` on a loop."""
        self.count()
        try:
            return await work
        except Exception as error:
            self.fail(error)
            return None

    def count(self) -> None:
        """One more call."""
        with self._lock:
            self.outcome.calls += 1

    def fail(self, error: BaseException) -> None:
        """One of the calls failed."""
        if isinstance(error, DoesNotApply):
            self.outcome.applies, self.outcome.reason = False, str(error)
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        text = type(error).__name__
        if root is not error:
            text += f" from {in_general(f'{type(root).__name__}: {root}')}"
        with self._lock:
            self.outcome.failed += 1
            self.errors[text] += 1

    def wrong(self, number: int) -> None:
        """So many things were not what the rule says."""
        with self._lock:
            self.outcome.wrong = (self.outcome.wrong or 0) + number

    def hanging(self, number: int) -> None:
        """So many callers still waited when they were given up."""
        with self._lock:
            self.outcome.hanging += number

    def together(self, count: int, work: Callable[[int], Any]) -> list[Any]:
        """`work(n)` on `count` threads that begin at once; those that hang are counted."""
        barrier = threading.Barrier(count)

        def run(number: int) -> Any:
            barrier.wait(30)
            return work(number)

        return self.results([start(run, number) for number in range(count)])

    def results(self, futures: list[Future[Any]]) -> list[Any]:
        """What those returned that did in time; an exception is a failed call, counted."""
        deadline = time.monotonic() + self.patience
        found = []
        for future in futures:
            try:
                found.append(future.result(max(0.0, deadline - time.monotonic())))
            except TimeoutError as error:
                if future.done():
                    self.fail(error)
                else:
                    self.hanging(1)
            except BaseException as error:
                self.fail(error)
        return found

    # -- subjects ----------------------------------------------------------------------------------

    def asker(self, *, prefix: str = "", **options: Any) -> Any:
        """The subject as something that asks this upstream, or the same under another path."""
        return self.subject.model(Model(partial(self.upstream.base_url, prefix=prefix), **options))

    def keeper(self, made: Made, *, blocking: bool = False, **bounds: Any) -> Keeping:
        """The subject as something that keeps what `made` makes, `blocking` alone or either way."""
        factory = Factory(made.build, None if blocking else made.abuild, made.close)
        return self.subject.keep(factory, Bounds(**bounds))

    # -- what is left ------------------------------------------------------------------------------

    def look_at_sockets(self) -> None:
        """Count the sockets to the upstream that are open; no collection is forced."""
        until(lambda: not connections_to(self.upstream.port), 0.5)
        self.outcome.sockets = connections_to(self.upstream.port)

    def start_counting_over(self) -> None:
        """In a forked child: count only what is done here."""
        self.outcome = Outcome()
        self.errors.clear()
        self._lock = threading.RLock()
        self._threads_before = set(threading.enumerate())

    def finish(self) -> Outcome:
        """What it came to, as far as this process can see."""
        mine = self.subject.process_threads

        def left() -> list[threading.Thread]:
            return [
                each
                for each in set(threading.enumerate()) - self._threads_before
                if not (mine and each.name.startswith(mine)) and each.name != "scenario"
            ]

        until(lambda: not left(), 0.5)
        self.outcome.threads = len(left())
        self.outcome.errors = dict(self.errors.most_common(4))
        return self.outcome


class Made:
    """A factory that counts, and keeps what it made."""

    def __init__(
        self,
        make: Callable[[str], Any] = lambda _: Thing(),
        *,
        before: Callable[[str], None] | None = None,
        abefore: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        #: The keys of the builds, in order; appending takes no lock, and may be interrupted.
        self.begun: list[str] = []
        self.clients: list[Any] = []
        self._make = make
        self._before, self._abefore = before, abefore

    @property
    def builds(self) -> Counter[str]:
        """How often each key was built."""
        return Counter(list(self.begun))

    def build(self, key: str) -> Any:
        """Make one on a thread."""
        self.begun.append(key)
        if self._before is not None:
            self._before(key)
        return self._keep(self._make(key))

    async def abuild(self, key: str) -> Any:
        """Make one on a loop."""
        self.begun.append(key)
        if self._abefore is not None:
            await self._abefore(key)
        return self._keep(self._make(key))

    def close(self, client: Any) -> Any:
        """Close one, on whatever it closes by."""
        if hasattr(client, "aclose"):
            return client.aclose()
        return client.close()

    def unclosed(self) -> int:
        """How many of them are still open."""
        return sum(not client.is_closed for client in self.clients)

    def _keep(self, client: Any) -> Any:
        self.clients.append(client)
        return client


class Thing:
    """A client that can be closed, and no more."""

    def __init__(self) -> None:
        self.is_closed = False
        self.closes = 0

    def close(self) -> None:
        """Close it."""
        self.is_closed = True
        self.closes += 1


def start(work: Callable[..., Any], *args: Any, daemon: bool = True) -> Future[Any]:
    """Run `work` on a thread of the scenario's own."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="scenario", daemon=daemon).start()
    return future


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until `condition` holds; whether it came to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)  # between two looks; the condition decides
    return True


async def auntil(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """`until` on a loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.002)  # between two looks; the condition decides
    return True
