"""Waits that would never end, found before they begin.

Who waits: an *actor*, which is a build (whatever thread or task its factory uses: the context
variable follows it), else a task, else a thread. A thread that waits while it runs an event loop
makes the loop and all its tasks wait too, so an actor is a few tokens, not one. What is waited
for: the build under way; with an exclusive scope those who hold the leases, and those who are
ahead in the queue and will hold them.

A wait is refused if so many of these wait, directly or not, for the one who asks, that its turn
never comes. The graph is process-wide, so cycles through several caches are found. It is looked at
when a wait begins, never on the path of a lease that is served at once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from .errors import WouldDeadlock
from .fork import on_fork_in_child
from .sites import describe
from .waiters import running_loop

if TYPE_CHECKING:
    from .slots import Flight, Request

#: The build that this code is a part of.
building: Final[ContextVar[Flight | None]] = ContextVar("llmkeep_building", default=None)


#: Somebody by name, and the tokens that tell whether it stands still.
Party: TypeAlias = "tuple[str, tuple[object, ...]]"
Steps: TypeAlias = "tuple[str, ...]"
#: What was found out for a request; None while that is not known.
Seen: TypeAlias = "dict[Request, Steps | None]"


class Actor(NamedTuple):
    """The one who asks."""

    #: What stands still while it waits.
    waits: tuple[object, ...]
    #: How it is recognised as a holder.
    same: tuple[object, ...]
    name: str


def holder() -> tuple[object, ...]:
    """The tokens of whoever takes a lease here and now."""
    me, loop = _me()
    return (me,) if loop is None else (me, loop)


def actor(*, asynchronous: bool) -> Actor:
    """Whoever is about to wait here and now."""
    me, loop = _me()
    waits = (me,) if asynchronous or loop is None else (me, loop)
    return Actor(waits, (*waits, threading.current_thread()), _name(me))


@final
class WaitGraph:
    """Who waits for what, in the whole process."""

    def __init__(self) -> None:
        self._forget()
        on_fork_in_child(self, "_forget")

    def _forget(self) -> None:
        # Reentrant: a signal handler may lease while its thread is in here.
        self._lock = threading.RLock()
        self._blocked: dict[object, list[Request]] = {}

    def begin(self, request: Request, who: Actor) -> None:
        """`who` is about to wait for `request`.

        Raises WouldDeadlock, with the cycle, if that never ended.
        """
        with self._lock:
            cycle = self._cycle(request, who.same, {})
            if cycle is not None:
                raise WouldDeadlock("waiting here would never end:", (f"{who.name} waits", *cycle))
            for token in who.waits:
                self._blocked.setdefault(token, []).append(request)

    def end(self, request: Request, who: Actor) -> None:
        """The wait is over."""
        with self._lock:
            for token in who.waits:
                requests = self._blocked.get(token, [])
                if request in requests:  # it is not in a forked child
                    requests.remove(request)
                if not requests:
                    self._blocked.pop(token, None)

    def _cycle(self, request: Request, me: tuple[object, ...], seen: Seen) -> Steps | None:
        """The steps from `request` back to `me`, if nobody who could serve it ever will."""
        seen[request] = None
        for needed, parties in _served_by(request):
            ways = (self._way(party, me, seen) for party in parties)
            stuck = [way for way in ways if way is not None]
            if len(stuck) >= needed:
                seen[request] = stuck[0]
                break
        return seen[request]

    def _way(self, party: Party, me: tuple[object, ...], seen: Seen) -> Steps | None:
        name, tokens = party
        if any(token in me for token in tokens):
            return (f"for {name}, which waits for the caller",)
        for request in [each for token in tokens for each in self._blocked.get(token, ())]:
            onward = seen[request] if request in seen else self._cycle(request, me, seen)
            if onward is not None:
                return (f"for {name}, which waits", *onward)
        return None


waits: Final = WaitGraph()


def _me() -> tuple[object, object | None]:
    loop = running_loop()
    flight = building.get()
    if flight is not None and not flight.over:
        return flight, loop
    task = None if loop is None else sys.modules["asyncio"].current_task()
    return task or threading.current_thread(), loop


def _served_by(request: Request) -> Iterator[tuple[int, list[Party]]]:
    """Who has to go on so that `request` is served, in groups: how many stuck ones are too many."""
    slot = request.slot
    assert slot is not None
    instance = slot.instance
    turns = [
        (f"a lease taken at {describe(each.lease.site)}", each.lease.site[3])
        for each in takewhile(lambda each: each is not request, list(slot.requests))
        if each.lease is not None
    ]
    if instance is not None:
        sites = list(instance.leases.values())
        leases = [(f"the lease taken at {describe(site)}", site[3]) for site in sites]
        yield instance.ledger.policy.scope.capacity, leases + turns
        return
    flights = [slot.flight] if slot.flight is not None else list(slot.abandoned)
    if flights:
        yield len(flights), [(str(each), _tokens(each)) for each in flights]
        yield flights[0].ledger.policy.scope.capacity, turns


def _tokens(flight: Flight) -> tuple[object, ...]:
    return (flight,) if flight.loop is None else (flight, flight.loop)


def _name(me: object) -> str:
    if isinstance(me, threading.Thread):
        return f"thread {me.name!r}"
    get_name = getattr(me, "get_name", None)
    return str(me) if get_name is None else f"task {get_name()!r}"
