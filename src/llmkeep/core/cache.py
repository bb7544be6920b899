"""`ClientCache`: one instance per spec, built once, leased while in use, closed when not.

This is the face. The ledger decides (`ledger`), under one lock (`guard`); here callers wait and
wake, and the outcome becomes a return or an exception.
"""

from __future__ import annotations

import atexit
import inspect
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from .announcing import Announcer
from .building import Builder
from .closer import Closer
from .deadlocks import Actor, actor, waits
from .errors import CacheClosed, LeaseTimeout, WouldDeadlock
from .fork import keep_forever, on_fork_in_child
from .housekeeper import housekeeper
from .instance import Instance, State
from .lease import Lease
from .ledger import Ledger
from .policy import Policy
from .registry import Registry
from .scopes import Scope
from .sites import Watch, describe
from .slots import Factory, Home, Request
from .specs import Spec, freeze
from .waiters import TaskWaiter, ThreadWaiter, Waiter, running_loop

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    from .events import Event
    from .stats import InstanceInfo, Stats

T = TypeVar("T")
S = TypeVar("S", bound="Hashable | Mapping[Any, Any]")

#: Seconds that instances get to be closed when the interpreter exits.
AT_EXIT: Final = 2.0
#: Seconds that who has just built gives way to the closers, if they are behind.
GIVE_WAY: Final = 0.001
#: Seconds that leases get to come back when their event loop ends.
AT_LOOP_END: Final = 2.0


class ClientCache(Generic[S, T]):
    """Keeps one instance per spec, whatever mix of threads, tasks, loops and forks asks for it.

    `build` makes a client of a spec, `abuild` does so asynchronously, `close` closes one (it may
    be a coroutine function). A spec is any hashable value, or a mapping of plain values. All
    times are in seconds; None means no bound.

    - `scope`: whom an instance may be shared with.
    - `max_idle`, `idle_ttl`, `max_age`: how many instances may be idle, for how long, and how old
      one may become. `weigh` tells an instance's weight and `max_weight` bounds the idle ones' sum.
    - `build_timeout`, `close_timeout`: how long one build or close may take.
    - `leak_after`: report leases that are out for longer, with the stack that took them.
    - `label`: a name to show for a spec; must hold no secret. By default the client's type.
    - `keep_unclaimed`: keep the result of a build that nobody waits for any more.
    - `failure_backoff`: for how long a failed build's error is told without building again.
    - `context`: the `contextvars` that builds run in: empty, or a copy of the caller's.

    Raises ValueError for a bound that is negative or, where that makes no sense, zero.
    """

    def __init__(
        self,
        build: Callable[[S], T] | None = None,
        *,
        abuild: Callable[[S], Coroutine[Any, Any, T]] | None = None,
        close: Callable[[T], object] | None = None,
        scope: Scope = Scope.PROCESS,
        name: str = "default",
        max_idle: int | None = 256,
        idle_ttl: float | None = 600.0,
        max_age: float | None = None,
        weigh: Callable[[T], float] | None = None,
        max_weight: float | None = None,
        build_timeout: float | None = None,
        close_timeout: float | None = 10.0,
        leak_after: float | None = None,
        label: Callable[[S], str] | None = None,
        keep_unclaimed: bool = True,
        failure_backoff: float = 0.0,
        context: Literal["empty", "copy"] = "empty",
    ) -> None:
        if inspect.iscoroutinefunction(build):
            raise TypeError("build is a coroutine function: pass it as abuild=")
        if max_weight is not None and weigh is None:
            raise ValueError("max_weight needs weigh=, which tells the weight of an instance")
        self._policy: Final = Policy(
            name=name,
            scope=scope,
            max_idle=max_idle,
            idle_ttl=idle_ttl,
            max_age=max_age,
            max_weight=max_weight,
            build_timeout=build_timeout,
            close_timeout=close_timeout,
            leak_after=leak_after,
            keep_unclaimed=keep_unclaimed,
            failure_backoff=failure_backoff,
            context=context,
        )
        self._build: Final = build
        self._abuild: Final = abuild
        self._builder: Final = Builder(label, weigh)
        self._closer: Final = Closer(close, close_timeout)
        self._announcer: Final = Announcer(name)
        self._watches: Final = leak_after is not None
        self._open_books()
        _caches.add(self)
        on_fork_in_child(self, "_start_anew_in_child")

    @property
    def name(self) -> str:
        """What it is called in events, logs and figures."""
        return self._policy.name

    # -- leasing -----------------------------------------------------------------------------------

    def lease(
        self,
        spec: S | Spec,
        timeout: float | None = None,
        build: Callable[[Any], Any] | None = None,
    ) -> Lease[T]:
        """The right to use the instance of `spec`, for a `with` or `async with` statement.

        `timeout` (seconds) covers joining a build, building, and the exclusive queue; with 0 the
        lease is granted only if the instance is ready and free. `build` is a factory of this
        call's own, called with the spec; the first flight's wins. Raises TypeError for a spec
        that is not hashable.
        """
        sealed = spec if type(spec) is Spec else freeze(spec)
        frame = sys._getframe(1)
        watch = Watch(frame) if self._watches else None
        lease: Lease[T] = Lease()
        lease.instance = None
        lease.token = 0
        lease.cache = self
        lease.spec = sealed
        lease.timeout = timeout
        lease.build = build
        lease.site = (frame.f_code, frame.f_lasti, watch, ())
        return lease

    def warm(
        self,
        spec: S | Spec,
        *,
        timeout: float | None = None,
        build: Callable[[Any], T] | None = None,
    ) -> None:
        """Make the instance of `spec` ready. Raises what the build raises."""
        self._wait_for(freeze(spec), timeout, build, None)

    async def awarm(
        self,
        spec: S | Spec,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends the wait, not the build
        build: Callable[[Any], Any] | None = None,
    ) -> None:
        """Make the instance of `spec` ready without blocking the loop."""
        await self._await_for(freeze(spec), timeout, build, None)

    def _wait_for(
        self,
        spec: Spec,
        timeout: float | None,
        build: Callable[[Any], Any] | None,
        lease: Lease[T] | None,
    ) -> None:
        ledger = self._ledger
        deadline = self._deadline(timeout, lease)
        inline = timeout is None and self._policy.build_timeout is None
        waiter = ThreadWaiter()
        request = Request(spec, self._factory(build, inline), waiter, lease)
        try:
            self._join(ledger, ledger.home, request)
            with _waiting(ledger, request, actor(asynchronous=False)):
                while (flight := ledger.decide(ledger.next_own_build, request)) is not None:
                    self._builder.run(flight)
                    if ledger.closes.is_crowded:
                        time.sleep(GIVE_WAY)  # closers starve beside somebody who only builds
                woken = request.done or waiter.wait(deadline)
            self._check_outcome(ledger, request, woken)
        except BaseException:
            ledger.leave_word(ledger.leave, request)
            raise

    async def _await_for(
        self,
        spec: Spec,
        timeout: float | None,  # noqa: ASYNC109 - as above
        build: Callable[[Any], Any] | None,
        lease: Lease[T] | None,
    ) -> None:
        loop = _require_loop()
        ledger, home = self._ledger, self._home_of(loop)
        deadline = self._deadline(timeout, lease)
        waiter = TaskWaiter(loop)
        request = Request(spec, self._factory(build, inline=False), waiter, lease)
        try:
            self._join(ledger, home, request)
            with _waiting(ledger, request, actor(asynchronous=True)):
                woken = request.done or await waiter.wait(deadline)
            self._check_outcome(ledger, request, woken)
        except BaseException:
            ledger.leave_word(ledger.leave, request)
            raise

    def _deadline(self, timeout: float | None, lease: Lease[T] | None) -> float | None:
        if timeout is None:
            return None
        if timeout <= 0 and lease is not None:
            if self._ledger.shut:
                raise CacheClosed(f"the cache {self._policy.name!r} was closed")
            raise LeaseTimeout("no instance is ready and free, and timeout=0 does not wait")
        return time.monotonic() + timeout

    def _factory(self, build: Callable[[Any], Any] | None, inline: bool) -> Factory:
        context = copy_context() if self._policy.context == "copy" else None
        if build is None:
            return Factory(self._build, self._abuild, inline, context)
        if inspect.iscoroutinefunction(build):
            return Factory(None, build, inline, context)
        return Factory(build, None, inline, context)

    def _join(self, ledger: Ledger, home: Home, request: Request) -> None:
        joined = False
        while not joined:
            key, known = request.spec.key_in(home)
            joined = ledger.decide(ledger.join, request, home, key, known)

    def _check_outcome(self, ledger: Ledger, request: Request, woken: bool) -> None:
        if not woken:
            woken = ledger.decide(lambda: request.done)
        if not woken:
            raise LeaseTimeout(f"not leased in time; {self!r}")
        error = request.error
        request.let_go()
        if error is not None:
            try:
                raise error
            finally:
                del error  # the error knows this frame: a cycle, and its frames hold credentials

    # -- retiring ----------------------------------------------------------------------------------

    def invalidate(self, spec: S | Spec) -> bool:
        """Retire the instance of `spec`, and overtake its build; True if there was one.

        Who leases it keeps it; nobody else gets it any more. It is closed when the last lease
        returns.
        """
        sealed = freeze(spec)
        ledger = self._ledger
        found = False
        for home in list(ledger.homes()):
            key = sealed.key_in(home)[0]
            found |= ledger.decide(ledger.retire_key, home, key, "invalidated")
        return found

    def clear(self) -> None:
        """Retire all instances; does not wait."""
        ledger = self._ledger
        ledger.decide(ledger.clear)

    # -- telling -----------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """Counters and gauges, consistent with each other."""
        from .telling import stats

        ledger = self._ledger
        return ledger.decide(stats, ledger)

    def snapshot(self) -> list[InstanceInfo]:
        """A row per instance, the ones being built included."""
        from .telling import snapshot

        ledger = self._ledger
        return ledger.decide(snapshot, ledger)

    def subscribe(self, callback: Callable[[Event], object]) -> Callable[[], None]:
        """Call `callback` with every event (see `events`) until the returned function is called.

        It runs outside the lock, on any thread that uses the cache at that moment, one that runs an
        event loop or a finalizer included: it should be brief.
        """
        return self._announcer.subscribe(callback)

    def __repr__(self) -> str:
        from .telling import one_line

        ledger = self._ledger
        return ledger.decide(one_line, ledger)

    # -- closing -----------------------------------------------------------------------------------

    def close(self, timeout: float | None = 30.0) -> None:
        """Close all instances, and the cache for good: leasing raises CacheClosed from now on.

        A build that is under way is not waited for: what it makes is closed when it comes.

        Waits up to `timeout` seconds for the leases that are out, then closes their instances
        under them and tells where they were taken (a ResourceWarning, and LeaseBroken events);
        the closes themselves get `close_timeout`, or without one `timeout` once more.
        """
        ledger, closer, waiter = self._ledger, self._closer, ThreadWaiter()
        closer.blocked_loop = waiter.blocks
        try:
            if waiter.blocks is not None:
                ledger.decide(ledger.closes.rescue, waiter.blocks)
            self._begin_close(waiter)
            if not waiter.wait(_after(timeout)):
                last = ThreadWaiter()
                self._break_leases(waiter, last)
                last.wait(self._last_deadline(timeout))
        finally:
            closer.blocked_loop = None

    async def aclose(self, timeout: float | None = 30.0) -> None:  # noqa: ASYNC109 - as close()
        """`close` without blocking the loop."""
        loop = _require_loop()
        waiter = TaskWaiter(loop)
        self._begin_close(waiter)
        if not await waiter.wait(_after(timeout)):
            last = TaskWaiter(loop)
            self._break_leases(waiter, last)
            await last.wait(self._last_deadline(timeout))

    def __enter__(self) -> ClientCache[S, T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> ClientCache[S, T]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        ledger: Ledger | None = getattr(self, "_ledger", None)
        if ledger is None or ledger.shut or not (ledger.open or ledger.flights):
            return
        # A finalizer must not wait for the lock; and there are no leases out, they refer to us.
        housekeeper.run(partial(ledger.decide, ledger.shut_down))
        if self._closer.does_nothing or not ledger.open:
            return
        warnings.warn(
            f"cache {self._policy.name!r} was dropped with {len(ledger.open)} instances open: "
            "call close()",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )

    def _begin_close(self, waiter: Waiter) -> None:
        ledger = self._ledger
        ledger.decide(ledger.shut_down)
        ledger.decide(ledger.closes.await_quiet, waiter, _anything)

    def _break_leases(self, waited: Waiter, last: Waiter) -> None:
        ledger = self._ledger
        ledger.decide(ledger.closes.stop_awaiting, waited)
        broken = ledger.decide(ledger.break_leases)
        ledger.decide(ledger.closes.await_quiet, last, _anything)
        if broken:
            places = "; ".join(map(describe, broken))
            warnings.warn(
                f"cache {self._policy.name!r} was closed while {len(broken)} leases were out, "
                f"taken at {places}",
                ResourceWarning,
                stacklevel=3,
                source=self,
            )

    def _last_deadline(self, timeout: float | None) -> float | None:
        limit = self._policy.close_timeout
        return _after(timeout if limit is None else limit + 1.0)

    # -- loops, forks, exit ------------------------------------------------------------------------

    def _home_here(self) -> Home:
        if not self._policy.scope.per_loop:
            return self._ledger.home
        return self._home_of(_require_loop())

    def _home_of(self, loop: asyncio.AbstractEventLoop) -> Home:
        ledger = self._ledger
        home = ledger.loop_homes.get(id(loop))
        if home is None or home.loop is None or home.loop() is not loop:
            from .loops import at_loop_end

            home = ledger.decide(ledger.adopt, loop)
            home.end = at_loop_end(partial(_end_home, ledger, home))
        return home if self._policy.scope.per_loop else ledger.home

    def _open_books(self) -> None:
        self._ledger = Ledger(
            self._policy,
            launch=self._builder.launch,
            start_closer=self._closer.start,
            rescue_close=self._closer.rescue,
            announce=self._announcer.announce,
            poke=housekeeper.poke,
        )
        housekeeper.watch(self._ledger)

    def _start_anew_in_child(self) -> None:
        inherited = self._ledger
        inherited.freeze_forever()
        keep_forever(inherited)
        shut = inherited.shut
        self._open_books()
        self._ledger.shut = shut

    def _close_at_exit(self) -> ThreadWaiter:
        waiter = ThreadWaiter()
        ledger = self._ledger
        ledger.decide(ledger.shut_down)
        leased = ledger.decide(ledger.out)
        ledger.decide(ledger.closes.await_quiet, waiter, _not_leased)
        if leased:
            _say(
                f"cache {self._policy.name!r}: {len(leased)} leases were still out at exit, "
                f"taken at {'; '.join(map(describe, leased))}"
            )
        return waiter


#: Every cache, for the exit of the interpreter.
_caches: Final[Registry[ClientCache[Any, Any]]] = Registry()


def all_caches() -> list[ClientCache[Any, Any]]:
    """The caches of this process, oldest first: what a page or a metric shows of them."""
    return _caches.living()


def _at_exit() -> None:
    deadline = time.monotonic() + AT_EXIT
    waiters = []
    for cache in _caches.living():
        try:
            waiters.append(cache._close_at_exit())
        except Exception as error:  # the others must not be lost with this one
            _say(f"closing at exit raised {type(error).__name__}")
    for waiter in waiters:
        waiter.wait(deadline)


atexit.register(_at_exit)


def _say(words: str) -> None:
    """On the error output, if there is one: who cannot be told still has its closes."""
    with suppress(AttributeError, ValueError, OSError):  # None, closed, or nobody at its end
        sys.stderr.write(f"llmkeep: {words}\n")


@contextmanager
def _waiting(ledger: Ledger, request: Request, who: Actor) -> Iterator[None]:
    """While a caller waits, if it still has to; refuses to if that never ended."""
    begun = False
    if not request.done:
        try:
            waits.begin(request, who)
            begun = True
        except WouldDeadlock:
            # It may have been served while the graph was looked at, and be itself the holder.
            if not ledger.decide(lambda: request.done):
                raise
    try:
        yield
    finally:
        if begun:
            waits.end(request, who)


def _require_loop() -> asyncio.AbstractEventLoop:
    loop = running_loop()
    if loop is None:
        raise RuntimeError(
            "`async with cache.lease(...)` needs a running asyncio event loop; on trio, lease "
            "synchronously on a thread (trio.to_thread.run_sync)"
        )
    return loop


def _after(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _anything(_: Instance) -> bool:
    return True


def _not_leased(instance: Instance) -> bool:
    return not instance.leases


async def _end_home(ledger: Ledger, home: Home) -> None:
    """The loop of `home` is about to end: see through, on it, what belongs there."""

    def belongs_there(each: Instance) -> bool:
        return each.home is home or (each.state is State.CLOSED and each.loop == home.loop)

    waiter = TaskWaiter(_require_loop())
    ledger.decide(ledger.end_home, home)
    ledger.decide(ledger.closes.await_quiet, waiter, belongs_there)
    try:
        if not await waiter.wait(time.monotonic() + AT_LOOP_END):
            ledger.decide(ledger.closes.stop_awaiting, waiter)
    finally:
        home.ended = True
