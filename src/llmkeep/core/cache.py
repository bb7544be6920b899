"""`ClientCache`: one instance per spec, built once, leased while in use, closed when not.

This is the face. The ledger decides (`ledger`), under one lock (`guard`); here callers wait and
wake, and the outcome becomes a return or an exception.
"""

from __future__ import annotations

import atexit
import inspect
import sys
import time
import weakref
from collections.abc import Callable, Coroutine, Hashable, Mapping
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from .announcing import Announcer
from .background import housekeeper
from .building import Builder
from .closing import Closer
from .deadlocks import actor, waits
from .errors import CacheClosed, LeaseTimeout
from .fork import keep_forever, on_fork_in_child
from .instance import Instance
from .lease import Lease
from .ledger import Ledger
from .policy import Policy
from .scopes import Scope
from .sites import Watch, describe
from .slots import Factory, Flight, Home, Request
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
            closes=close is not None,
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

    # -- leasing -----------------------------------------------------------------------------------

    def lease(
        self,
        spec: S | Spec,
        *,
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
        return Lease(self, sealed, timeout, build, (frame.f_code, frame.f_lasti, watch, ()))

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

    def _wait(self, lease: Lease[T]) -> None:
        self._wait_for(lease.spec, lease.timeout, lease.build, lease)

    async def _await(self, lease: Lease[T]) -> None:
        await self._await_for(lease.spec, lease.timeout, lease.build, lease)

    def _wait_for(
        self,
        spec: Spec,
        timeout: float | None,
        build: Callable[[Any], Any] | None,
        lease: Lease[T] | None,
    ) -> None:
        waiter = ThreadWaiter()
        inline = timeout is None and self._policy.build_timeout is None
        deadline = self._deadline(timeout)
        ledger = self._ledger
        factory = self._factory(build, inline)
        request = self._join(ledger, ledger.home, spec, factory, waiter, lease)
        try:
            with waits.waiting_for(request.slot, actor(asynchronous=False)):
                while (flight := _own_build(ledger, request)) is not None:
                    self._builder.run(flight)
                woken = request.done or waiter.wait(deadline)
            self._check_outcome(ledger, request, woken)
        except BaseException:
            self._leave(ledger, request)
            raise

    async def _await_for(
        self,
        spec: Spec,
        timeout: float | None,  # noqa: ASYNC109 - as above
        build: Callable[[Any], Any] | None,
        lease: Lease[T] | None,
    ) -> None:
        loop = _require_loop()
        waiter = TaskWaiter(loop)
        deadline = self._deadline(timeout)
        ledger, home = self._ledger, self._home_of(loop)
        factory = self._factory(build, inline=False)
        request = self._join(ledger, home, spec, factory, waiter, lease)
        try:
            with waits.waiting_for(request.slot, actor(asynchronous=True)):
                woken = request.done or await waiter.wait(deadline)
            self._check_outcome(ledger, request, woken)
        except BaseException:
            self._leave(ledger, request)
            raise

    def _deadline(self, timeout: float | None) -> float | None:
        if timeout is None:
            return None
        if timeout <= 0:
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

    def _join(
        self,
        ledger: Ledger,
        home: Home,
        spec: Spec,
        factory: Factory,
        waiter: Waiter,
        lease: Lease[T] | None,
    ) -> Request:
        while True:
            key, known = spec.key_in(home)
            with ledger:
                slot = ledger.place(home, spec, key, known)
                if slot is not None:
                    request = Request(slot, spec, factory, waiter, lease)
                    ledger.join(request)
                    return request

    def _check_outcome(self, ledger: Ledger, request: Request, woken: bool) -> None:
        if not woken:
            with ledger:
                woken = request.done
        if not woken:
            raise LeaseTimeout(f"not leased in time; {self!r}")
        if request.error is not None:
            raise request.error

    def _leave(self, ledger: Ledger, request: Request) -> None:
        if ledger is self._ledger:  # in a forked child the parent's books are not touched
            with ledger:
                ledger.leave(request)

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
            with ledger:
                slot = home.slots.get(key)
                if slot is not None:
                    found |= ledger.retire_slot(slot, "invalidated")
        return found

    def clear(self) -> None:
        """Retire all instances; does not wait."""
        with self._ledger as ledger:
            for home in ledger.homes():
                ledger.retire_home(home, "cleared")

    # -- telling -----------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """Counters and gauges, consistent with each other."""
        from .telling import stats

        with self._ledger as ledger:
            return stats(ledger)

    def snapshot(self) -> list[InstanceInfo]:
        """A row per instance, the ones being built included."""
        from .telling import snapshot

        with self._ledger as ledger:
            return snapshot(ledger)

    def subscribe(self, callback: Callable[[Event], object]) -> Callable[[], None]:
        """Call `callback` with every event (see `events`) until the returned function is called.

        It runs outside the lock, on whatever thread the event happened on, a finalizer included:
        it should be brief.
        """
        return self._announcer.subscribe(callback)

    def __repr__(self) -> str:
        from .telling import one_line

        with self._ledger as ledger:
            return one_line(ledger)

    # -- closing -----------------------------------------------------------------------------------

    def close(self, timeout: float = 30.0) -> None:
        """Close all instances, and the cache for good: leasing raises CacheClosed from now on.

        Waits up to `timeout` seconds for the leases that are out, then closes their instances
        under them and tells where they were taken (a ResourceWarning, and LeaseBroken events);
        the closes themselves get `close_timeout`.
        """
        waiter = ThreadWaiter()
        self._closer.blocked_loop = running_loop()
        self._begin_close(waiter)
        if not waiter.wait(time.monotonic() + timeout):
            last = ThreadWaiter()
            self._break_leases(waiter, last)
            last.wait(self._last_deadline())

    async def aclose(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - it ends the wait
        """`close` without blocking the loop."""
        loop = _require_loop()
        waiter = TaskWaiter(loop)
        self._begin_close(waiter)
        if not await waiter.wait(time.monotonic() + timeout):
            last = TaskWaiter(loop)
            self._break_leases(waiter, last)
            await last.wait(self._last_deadline())

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
        if ledger is None or ledger.shut or not ledger.open:
            return
        # A finalizer must not wait for the lock; and there are no leases out, they refer to us.
        housekeeper.run(partial(_shut_down, ledger))
        import warnings

        warnings.warn(
            f"cache {self._policy.name!r} was dropped with {len(ledger.open)} instances open: "
            "call close()",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )

    def _begin_close(self, waiter: Waiter) -> None:
        with self._ledger as ledger:
            ledger.shut_down()
            ledger.closings.await_quiet(waiter, _anything)

    def _break_leases(self, waited: Waiter, last: Waiter) -> None:
        with self._ledger as ledger:
            ledger.closings.stop_awaiting(waited)
            broken = ledger.break_leases()
            ledger.closings.await_quiet(last, _anything)
        if broken:
            import warnings

            places = "; ".join(broken)
            warnings.warn(
                f"cache {self._policy.name!r} was closed while {len(broken)} leases were out, "
                f"taken at {places}",
                ResourceWarning,
                stacklevel=3,
                source=self,
            )

    def _last_deadline(self) -> float | None:
        limit = self._policy.close_timeout
        return None if limit is None else time.monotonic() + limit + 1.0

    # -- loops, forks, exit ------------------------------------------------------------------------

    def _home_here(self) -> Home:
        if not self._policy.scope.per_loop:
            return self._ledger.home
        return self._home_of(_require_loop())

    def _home_of(self, loop: asyncio.AbstractEventLoop) -> Home:
        ledger = self._ledger
        if not self._policy.scope.per_loop:
            return ledger.home
        home = ledger.loop_homes.get(id(loop))
        if home is not None and home.loop is not None and home.loop() is loop:
            return home
        from .loops import at_loop_end

        with ledger:
            home = ledger.adopt(loop)
        home.end = at_loop_end(partial(_end_home, ledger, home))
        return home

    def _open_books(self) -> None:
        self._ledger = Ledger(
            self._policy,
            launch=self._builder.launch,
            start_closer=self._closer.start,
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
        with self._ledger as ledger:
            ledger.shut_down()
            leased = [describe(site) for each in ledger.open for site in each.leases.values()]
            ledger.closings.await_quiet(waiter, _not_leased)
        if leased:
            sys.stderr.write(
                f"llmkeep: cache {self._policy.name!r}: {len(leased)} leases were still out at "
                f"exit, taken at {'; '.join(leased)}\n"
            )
        return waiter


#: Every cache, for the exit of the interpreter.
_caches: Final[weakref.WeakSet[ClientCache[Any, Any]]] = weakref.WeakSet()


def _at_exit() -> None:
    deadline = time.monotonic() + AT_EXIT
    for waiter in [cache._close_at_exit() for cache in list(_caches)]:
        waiter.wait(deadline)


atexit.register(_at_exit)


def _own_build(ledger: Ledger, request: Request) -> Flight | None:
    with ledger:
        return ledger.next_own_build(request)


def _require_loop() -> asyncio.AbstractEventLoop:
    loop = running_loop()
    if loop is None:
        raise RuntimeError(
            "`async with cache.lease(...)` needs a running asyncio event loop; on trio, lease "
            "synchronously on a thread (trio.to_thread.run_sync)"
        )
    return loop


def _anything(_: Instance) -> bool:
    return True


def _not_leased(instance: Instance) -> bool:
    return not instance.leases


def _shut_down(ledger: Ledger) -> None:
    with ledger:
        ledger.shut_down()


async def _end_home(ledger: Ledger, home: Home) -> None:
    """The loop of `home` is about to end: close what is there, on it."""
    loop = _require_loop()
    waiter = TaskWaiter(loop)
    with ledger:
        home.ending = True
        ledger.retire_home(home, "loop closed")
        ledger.closings.await_quiet(waiter, lambda each: each.home is home)
    if not await waiter.wait(time.monotonic() + AT_LOOP_END):
        with ledger:
            ledger.closings.stop_awaiting(waiter)
