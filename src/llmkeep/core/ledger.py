"""All bookkeeping of one cache: who may have what, what is being built, what is retired.

The ledger decides and does nothing else: it runs no foreign code, waits for nothing, and leaves
what is to be done in the guard's outbox. All expect the guard to be held (`decide`, `leave_word`),
but for `take`, `give_back` and `sweep`, which enter it themselves.
"""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, final

from .close_queue import Close, CloseQueue
from .deadlocks import holder
from .errors import BuildTimeout, CacheClosed, WouldDeadlock
from .guard import Guard
from .instance import READY, Instance, State
from .sites import describe
from .slots import Flight, Home, Known, Request, Slot
from .sweep import LOOP_CHECK, sweep

if TYPE_CHECKING:
    import asyncio

    from .lease import Lease
    from .policy import Policy
    from .sites import Site
    from .specs import Key, Spec


class Ledger(Guard):
    """The books of one cache; lives as long as the cache, or until a fork."""

    __slots__ = (
        "__weakref__",
        "_announce",
        "_capacity",
        "_is_exclusive",
        "_launch",
        "_looks_closer",
        "_max_idle",
        "_poke",
        "backoffs",
        "build_failures",
        "builds",
        "builds_abandoned",
        "builds_ok",
        "built",
        "closes",
        "flights",
        "granted",
        "home",
        "idle",
        "joined",
        "loop_homes",
        "open",
        "policy",
        "shut",
        "torn",
    )

    def __init__(
        self,
        policy: Policy,
        launch: Callable[[Flight], None],
        start_closer: Callable[[Ledger], None],
        rescue_close: Callable[[Ledger, Close], None],
        announce: Callable[..., None],
        poke: Callable[[float], None],
    ) -> None:
        super().__init__()
        self.policy: Final = policy
        self.home: Final = Home()
        self.loop_homes: Final[dict[int, Home]] = {}
        self.flights: Final[dict[Flight, None]] = {}
        #: Every instance that became ready and is not closed yet, oldest first, and late results
        #: of abandoned builds until they are closed.
        self.open: Final[dict[Instance, None]] = {}
        #: Ready and not leased, in the order in which they became so.
        self.idle: Final[dict[Instance, None]] = {}
        self.closes: Final = CloseQueue(self, start_closer, rescue_close)
        self.backoffs: Final[dict[Slot, None]] = {}
        self.shut = False
        #: Whether a signal handler has raised in a section.
        self.torn = False

        #: Leases granted; the number of one is its token.
        self.granted = 0
        self.built = self.joined = 0
        self.builds = self.builds_ok = self.build_failures = self.builds_abandoned = 0

        self._is_exclusive: Final = policy.scope.is_exclusive
        self._capacity: Final = policy.scope.capacity
        self._max_idle: Final = float("inf") if policy.max_idle is None else policy.max_idle
        #: Whether a return has to be looked at although nobody waits for one.
        self._looks_closer: Final = policy.max_weight is not None or policy.leak_after is not None
        self._launch: Final = launch
        self._announce: Final = announce
        self._poke: Final = poke

    # -- the hot path: these two take the lock themselves ------------------------------------------

    def take(self, home: Home, lease: Lease[Any]) -> Instance | None:
        """Give `lease` the instance of its key, and return that, if it is ready and free."""
        spec = lease.spec
        key = spec.key if spec.foreign is None else spec.key_in(home)[0]
        if self._is_exclusive:
            lease.site = (*lease.site[:3], holder())
        entered = word = False
        lock = self.lock
        try:
            try:
                lock.acquire()
                if self.inside:
                    lock.release()
                    raise self.refusal()
                self.inside = entered = True
                if self.inbox:
                    word = True
                    self.read_inbox()
                slot = home.slots.get(key)
                if slot is not None:
                    instance = slot.instance
                    if instance is not None:
                        leases = instance.leases
                        if not slot.requests and len(leases) < self._capacity:
                            # No call from here on, so no signal handler comes between: the lease
                            # is granted whole or not at all.
                            if not leases:
                                try:
                                    del self.idle[instance]
                                except KeyError:
                                    pass  # an interruption left it out
                            lease.token = self.granted = token = self.granted + 1
                            leases[token] = lease.site
                            lease.instance = instance
            finally:
                if entered:
                    self.inside = False
                    lock.release()
                else:
                    self.undo_acquire()
            if word or self.inbox:  # this section itself leaves nothing to be done
                self.settle()
        except Exception:
            raise
        except BaseException:
            self.interrupted()  # what others had left word of is half done, perhaps
            raise
        return lease.instance

    def give_back(self, instance: Instance, token: int, dropped: bool = False) -> None:
        """Return a lease; a second time does nothing. Never waits: see `guard`."""
        entered = follows = False
        lock = self.lock
        try:
            try:
                if lock.acquire(False):
                    if self.inside:
                        lock.release()
                    else:
                        self.inside = entered = True
                        follows = self.returned(instance, token, dropped)
                if not entered:
                    self.inbox.append(partial(self.returned, instance, token, dropped))
            finally:
                if entered:
                    self.inside = False
                    lock.release()
                else:
                    self.undo_acquire()
            if follows or self.inbox:
                self.settle()
        except BaseException:
            self.interrupted()
            raise

    def returned(self, instance: Instance, token: int, dropped: bool = False) -> bool:
        """A lease has come back; whether anything may follow from that."""
        leases = instance.leases
        try:
            site = leases[token]
        except KeyError:
            # Broken by a shutdown, or returned already: perhaps by a call that was interrupted
            # before it did what follows.
            return True
        # Before it is returned, and for nothing where others lease it: no call comes from here to
        # where it is idle, so a signal handler finds it returned whole, or not at all.
        instance.idle_since = monotonic()
        del leases[token]
        if instance.state is READY:
            if not leases:
                self.idle[instance] = None
            if not (
                instance.slot.requests
                or len(self.idle) > self._max_idle
                or self._looks_closer
                or dropped
            ):
                return False
        self._close_if_unused(instance)
        self.advance(instance.slot)
        self._trim()
        self._note_return(instance, site, dropped)
        return True

    # -- asking ------------------------------------------------------------------------------------

    def join(self, request: Request, home: Home, key: Key, known: Known) -> bool:
        """Take up a caller that could not be served at once.

        False: while it was looking for specs that equal its own among the `known` ones, others
        came or went, and it has to look again.
        """
        if self.shut:
            raise self._closed_error()
        slot = home.slots.get(key) or self._new_slot(request.spec, home, key, known)
        if slot is None:
            return False
        if slot.failure is not None:
            error, trace, until = slot.failure
            if monotonic() < until:
                raise error.with_traceback(trace)
        request.slot = slot
        request.waited = slot.instance is None
        if request.lease is None and slot.instance is not None:
            request.done = True
            return True
        slot.requests.append(request)
        self.advance(slot)
        return True

    def _new_slot(self, spec: Spec, home: Home, key: Key, known: Known) -> Slot | None:
        foreign = spec.foreign
        if foreign is not None:
            if home.foreign.get(foreign.hash, ()) is not known:
                return None
            home.foreign[foreign.hash] = (*known, (foreign, key))
        slot = home.slots[key] = Slot(key, home, foreign)
        return slot

    def next_own_build(self, request: Request) -> Flight | None:
        """The build that the caller has to run on its own thread; None: it may go to sleep."""
        flight = request.flight
        if flight is not None and flight.inline and not flight.over:
            return flight
        request.asleep = True
        return None

    def leave(self, request: Request) -> None:
        """A caller stops waiting; what it had been given meanwhile goes to the next."""
        flight = request.flight
        if flight is not None and flight.inline and not flight.over:
            # Its own build, which it was interrupted before starting.
            self.failed(flight, GeneratorExit())
        slot = request.slot
        if request.done:
            lease = request.lease
            if lease is not None and lease.instance is not None:
                self.returned(lease.instance, lease.token)
                lease.instance = None
            request.let_go()
            return
        request.done = True
        if slot is not None:
            if request in slot.requests:
                slot.requests.remove(request)
            self.advance(slot)
        request.let_go()

    def advance(self, slot: Slot) -> None:
        """The one decision: serve who can be served, start the build that is wanted, or tidy up."""
        instance = slot.instance
        if instance is not None:
            while slot.requests and len(instance.leases) < self._capacity:
                if not slot.requests[0].done:
                    self._grant(slot.requests[0], instance)
                slot.requests.popleft()
        elif slot.flight is None and slot.requests:
            self._start(slot)
        if slot.is_empty:
            self._forget(slot)

    def _grant(self, request: Request, instance: Instance) -> None:
        lease = request.lease
        if lease is None:
            self._tell(request, None)
            return
        wake = partial(self._wake, request)
        # No call from here to the last line, so no signal handler comes between. And the wait
        # graph, which looks without the lock, must not take the waiter for one that still waits.
        request.done = True
        if instance in self.idle:
            del self.idle[instance]
        lease.token = self.granted = token = self.granted + 1
        instance.leases[token] = lease.site
        lease.instance = instance
        if request.flight is not None and request.flight.instance is instance:
            self.built += 1
        elif request.waited:
            self.joined += 1
        self.outbox.append(wake)

    def _tell(self, request: Request, error: BaseException | None) -> None:
        request.done = True
        request.error = error
        self.outbox.append(partial(self._wake, request))

    def _wake(self, request: Request) -> None:
        if not request.waiter.wake():
            self.inbox.append(partial(self.leave, request))

    def _tell_all(self, slot: Slot, error: BaseException) -> None:
        while slot.requests:
            self._tell(slot.requests.popleft(), error)

    def _forget(self, slot: Slot) -> None:
        home = slot.home
        if home.slots.get(slot.key) is not slot:
            return
        del home.slots[slot.key]
        # A spec's finalizer is foreign code: the last reference goes outside the lock.
        self.outbox.append(partial(_let_go, slot))
        if slot.foreign is not None:
            known = home.foreign.get(slot.foreign.hash, ())
            left = tuple(pair for pair in known if pair[1] is not slot.key)
            if left:
                home.foreign[slot.foreign.hash] = left
            else:
                home.foreign.pop(slot.foreign.hash, None)

    # -- building ----------------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        if len(slot.abandoned) > 1:
            # One abandoned call may run beside the current one, not two: wait for one to end,
            # unless one is beyond its time already.
            if any(flight.timed_out for flight in slot.abandoned):
                self._tell_all(slot, self._build_timeout())
            return
        blocked = {request.waiter.blocks for request in slot.requests}
        starter = next((each for each in slot.requests if each.may_start(blocked)), None)
        if starter is None:
            if not any(each.is_building or each.waiter.is_leaving for each in slot.requests):
                self._tell_hopeless(slot)
            return
        instance = Instance(self, slot)
        flight = Flight(self, starter, instance, self.policy.build_timeout)
        launch = partial(self._launch, flight)
        # No call before the last line, so no signal handler comes between.
        self.builds += 1
        self.flights[flight] = None
        starter.flight = slot.flight = flight
        self.outbox.append(launch)
        if flight.deadline is not None:
            self.due_at(flight.deadline)
        if flight.is_task:
            self.due_at(flight.started + LOOP_CHECK)

    def _tell_hopeless(self, slot: Slot) -> None:
        """Nobody who waits can build; some perhaps only because others block their loops."""
        blockers = [each for each in slot.requests if each.waiter.blocks is not None]
        if blockers and any(each.factory.can_run(each.waiter) for each in slot.requests):
            for request in blockers:
                slot.requests.remove(request)
                self._tell(request, WouldDeadlock("only a task on this thread's loop could build"))
            self.advance(slot)
        else:
            self._tell_all(slot, _cannot_build())

    def published(self, flight: Flight, label: str, weight: float) -> None:
        """A build succeeded."""
        instance, slot = flight.instance, flight.slot
        if flight.over:  # its loop had been taken for gone
            self._close_late(instance)
            return
        instance.label, instance.weight = label, weight
        loop = flight.loop
        instance.loop = slot.home.loop if loop is None else weakref.ref(loop)
        wanted = self._land(flight)
        if not wanted:
            self._close(instance)
            self.advance(slot)
            return
        self.builds_ok += 1
        instance.built_at = instance.idle_since = monotonic()
        instance.move(State.READY)
        slot.instance = instance
        self.open[instance] = None
        lifetimes = (self.policy.idle_ttl, self.policy.max_age, self.policy.leak_after)
        shortest = min((each for each in lifetimes if each is not None), default=None)
        if shortest is not None:
            self.due_at(instance.built_at + shortest)
        unclaimed = not slot.requests
        self._tell_warmers(slot)
        self.advance(slot)
        self.emit("Built", instance, instance.built_at - flight.started)
        if slot.home.ending or (unclaimed and not self.policy.keep_unclaimed):
            self.retire(instance, "loop closed" if slot.home.ending else "unclaimed")
        elif not instance.leases:
            self.idle[instance] = None
            self._trim()

    def failed(self, flight: Flight, error: BaseException) -> None:
        """A build raised. Only an `Exception` is told to others than the caller who ran it."""
        if flight.over:  # its loop had been taken for gone
            self._close_late(flight.instance)
            return
        slot = flight.slot
        wanted = self._land(flight)
        if flight.instance.client is None:
            flight.instance.move(State.CLOSED)
        else:
            self._close(flight.instance)  # it raised after it had made one
        if wanted:
            self.emit("BuildFailed", flight.instance, type(error).__name__)
            self.build_failures += 1
            if isinstance(error, Exception):
                if self.policy.failure_backoff:
                    until = monotonic() + self.policy.failure_backoff
                    slot.failure = (error, error.__traceback__, until)
                    self.backoffs[slot] = None
                    self.due_at(until)
                self._tell_all(slot, error)
        starter = flight.starter
        if not isinstance(error, Exception) and not starter.done:
            slot.requests.remove(starter)
            self._tell(starter, error)
        self.advance(slot)

    def abandon(self, flight: Flight, reason: str) -> None:
        """Give a current build up: its result, if it comes, is closed."""
        slot = flight.slot
        slot.flight = None
        slot.abandoned.append(flight)
        flight.abandoned = reason
        self.builds_abandoned += 1
        self.emit("BuildAbandoned", flight.instance, reason)

    def expire(self, flight: Flight) -> None:
        """A build has run out of its time."""
        flight.timed_out = True
        slot = flight.slot
        if flight.is_task:
            self.outbox.append(partial(_cancel, flight))
        if flight.abandoned is None:
            self.abandon(flight, "timed out")
            self._tell_all(slot, self._build_timeout())
        self.advance(slot)

    def _land(self, flight: Flight) -> bool:
        """A factory's call has ended: whether it was the current one."""
        wanted = flight.abandoned is None
        flight.over = True
        if wanted:
            flight.slot.flight = None
        if flight in self.flights:
            del self.flights[flight]
        if not wanted:
            flight.slot.abandoned.remove(flight)
        return wanted

    def _tell_warmers(self, slot: Slot) -> None:
        for request in [each for each in slot.requests if each.lease is None]:
            slot.requests.remove(request)
            self._tell(request, None)

    def _closed_error(self) -> CacheClosed:
        return CacheClosed(f"the cache {self.policy.name!r} was closed")

    def _build_timeout(self) -> BuildTimeout:
        return BuildTimeout(
            f"a build in cache {self.policy.name!r} took longer than "
            f"build_timeout={self.policy.build_timeout} s"
        )

    # -- retiring and closing ----------------------------------------------------------------------

    def retire(self, instance: Instance, reason: str) -> None:
        """No new lease gets `instance`; it is closed when the last one returns."""
        slot = instance.slot
        instance.move(State.RETIRED)
        slot.instance = None
        self.idle.pop(instance, None)
        for request in slot.requests:
            request.waited = True
        self.emit("Retired", instance, reason)
        self._close_if_unused(instance)
        self.advance(slot)

    def retire_slot(self, slot: Slot, reason: str) -> bool:
        """Retire what is ready and overtake what is being built; False if there was neither."""
        instance, flight = slot.instance, slot.flight
        if flight is not None:
            self.abandon(flight, reason)
        if instance is not None:
            self.retire(instance, reason)
        self.forget_failure(slot)  # who invalidates wants a new attempt, not an old error
        self.advance(slot)
        return instance is not None or flight is not None

    def forget_failure(self, slot: Slot) -> None:
        """No longer tell the last failure. Its traceback holds foreign things: they go outside."""
        if slot.failure is not None:
            self.outbox.append(partial(_let_go, slot.failure))
            slot.failure = None

    def retire_key(self, home: Home, key: Key, reason: str) -> bool:
        """`retire_slot` for the slot of `key`, if there is one."""
        slot = home.slots.get(key)
        return slot is not None and self.retire_slot(slot, reason)

    def end_home(self, home: Home) -> None:
        """The loop of `home` is ending, or gone."""
        home.ending = True
        self.retire_home(home, "loop closed")

    def retire_home(self, home: Home, reason: str) -> None:
        """Retire everything in `home`."""
        for slot in list(home.slots.values()):
            self.retire_slot(slot, reason)

    def clear(self) -> None:
        """Retire everything."""
        for home in self.homes():
            self.retire_home(home, "cleared")

    def shut_down(self) -> None:
        """No more leases: waiters are told, everything is retired."""
        self.shut = True
        for home in self.homes():
            for slot in list(home.slots.values()):
                self._tell_all(slot, self._closed_error())
            self.retire_home(home, "shutdown")

    def break_leases(self) -> list[Site]:
        """Close what is still leased; tells where those leases had been taken."""
        broken = []
        for instance in [each for each in self.open if each.leases]:
            for site in instance.leases.values():
                self.emit("LeaseBroken", instance, site)
                broken.append(site)
            instance.leases.clear()
            self._close(instance)
        return broken

    def _trim(self) -> None:
        idle = self.idle
        while len(idle) > self._max_idle or self._too_heavy():
            self.retire(next(iter(idle)), "evicted")

    def _too_heavy(self) -> bool:
        bound = self.policy.max_weight
        return bound is not None and sum(each.weight for each in self.idle) > bound

    def _close_if_unused(self, instance: Instance) -> None:
        if instance.state is State.RETIRED and not instance.leases:
            self._close(instance)

    def _close_late(self, instance: Instance) -> None:
        """What came of a build that had been given up, or whose end was interrupted."""
        if instance.client is None or self.closes.knows(instance):
            return
        if instance.state is State.BUILDING:
            instance.move(State.CLOSED)
        if instance.state is State.CLOSED:
            self.open[instance] = None
            self.closes.add(instance)

    def _close(self, instance: Instance) -> None:
        instance.move(State.CLOSED)
        self.open[instance] = None
        self.closes.add(instance)

    # -- telling -----------------------------------------------------------------------------------

    def sweep(self, now: float) -> float | None:
        """Do what is due at `now`; when to come again."""
        return self.decide(sweep, self, now)

    def interrupted(self) -> None:
        """A signal handler raised in a section, or before what follows from one was done.

        Have mended what is half done; the housekeeper's section settles the rest.
        """
        self.torn = True
        self._poke(monotonic())

    def mend(self) -> None:
        """After an interruption: whatever should have been done by now, do it."""
        if not self.torn:
            return
        self.torn = False
        for instance in list(self.open):
            self._close_if_unused(instance)
            if instance.state is State.CLOSED and not self.closes.knows(instance):
                self.closes.add(instance)
            if instance.state is READY and not instance.leases and instance not in self.idle:
                self.idle[instance] = None
        self.closes.want_closer()  # an instance may be queued, and nobody called for it
        for flight in self.flights:
            if flight.is_unclaimed and not flight.inline:
                self.outbox.append(partial(self._launch, flight))
        for home in self.homes():
            for slot in list(home.slots.values()):
                self.advance(slot)
        self._trim()

    def can_close_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether `loop` runs, and will go on until what is begun on it has ended."""
        home = self.loop_homes.get(id(loop))
        return loop.is_running() and home is not None and not home.ended

    def adopt(self, loop: asyncio.AbstractEventLoop) -> Home:
        """A home for what belongs to `loop`."""
        former = self.loop_homes.get(id(loop))
        if former is not None:
            self.end_home(former)  # that loop is gone, and its id used again
        home = self.loop_homes[id(loop)] = Home(loop)
        self.due_at(monotonic() + LOOP_CHECK)
        return home

    def out(self) -> list[Site]:
        """Where the leases that are out were taken."""
        return [site for each in self.open for site in each.leases.values()]

    def homes(self) -> Iterator[Home]:
        """Every home there is."""
        yield self.home
        yield from list(self.loop_homes.values())

    def report_leak(self, instance: Instance, site: Site, seconds: float) -> None:
        """A lease has been out for too long."""
        self.emit("LeasedTooLong", instance, site, seconds)

    def _note_return(self, instance: Instance, site: Site, dropped: bool) -> None:
        if dropped:
            self.outbox.append(partial(_let_go, _Dropped(site, self.policy.name)))
        watch = site[2]
        if watch is not None and watch.reported:
            late = monotonic() - watch.since
            self.emit("LeaseReturnedLate", instance, site, late)

    def due_at(self, when: float) -> None:
        """Have the housekeeper come at `when` at the latest."""
        self.outbox.append(partial(self._poke, when))

    def emit(self, kind: str, instance: Instance, *details: object) -> None:
        """Have an event told, outside the lock."""
        self.news.append(partial(self._announce, kind, instance.id, instance.label, *details))


def _let_go(_: object) -> None:
    """Nothing: dropping the argument is the point."""


def _cannot_build() -> TypeError:
    return TypeError(
        "this cache builds asynchronously only: lease with `async with`, "
        "or make it ready with `await cache.awarm(spec)` first"
    )


def _cancel(flight: Flight) -> None:
    loop = flight.loop
    task = None if flight.task is None else flight.task()
    if task is not None and loop is not None:
        try:
            loop.call_soon_threadsafe(task.cancel)
        except RuntimeError:
            pass  # the loop is closed: nothing runs on it any more


@final
class _Dropped:
    """A lease that was dropped; warns when it goes.

    By a finalizer: where the user's filter makes an error of the warning, it must not become that
    of whoever happens to settle.
    """

    __slots__ = ("_name", "_site")

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self._name = name

    def __del__(self) -> None:
        if sys.is_finalizing():
            return  # the modules that warn are being taken apart
        warnings.warn(
            f"a lease of cache {self._name!r} was dropped without being returned; "
            f"taken at {describe(self._site)}",
            ResourceWarning,
            stacklevel=2,
        )
