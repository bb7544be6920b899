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
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, final

from .errors import WouldDeadlock
from .fork import on_fork_in_child
from .sites import describe
from .waiters import running_loop

if TYPE_CHECKING:
    from .sites import Site
    from .slots import Flight, Request

#: The build that this code is a part of.
building: Final[ContextVar[Flight | None]] = ContextVar("llmkeep_building", default=None)

#: What tells somebody apart. Weak references: the graph must keep no task and no loop alive.
Tokens: TypeAlias = "tuple[weakref.ref[Any], ...]"
#: A build or the place where a lease was taken, and the tokens that tell whether it stands still.
Party: TypeAlias = "tuple[Flight | Site, Tokens]"
#: Some who could serve a request, and how many of them have to stand still so that they never do.
Group: TypeAlias = "tuple[int, list[Party]]"


class Actor(NamedTuple):
    """The one who asks."""

    #: What stands still while it waits.
    waits: Tokens
    #: How it is recognised as a holder.
    same: Tokens
    name: str
    #: Whether others stand still with it: the tasks of its loop, the other waits of its build.
    is_many: bool


def holder() -> Tokens:
    """The tokens of whoever takes a lease here and now."""
    return _tokens(*_me())


def actor(*, asynchronous: bool) -> Actor:
    """Whoever is about to wait here and now."""
    me, loop = _me()
    waits = _tokens(me, None if asynchronous else loop)
    is_many = len(waits) > 1 or me is building.get()
    return Actor(waits, (*waits, *_tokens(threading.current_thread())), _name(me), is_many)


@final
class WaitGraph:
    """Who waits for what, in the whole process."""

    def __init__(self) -> None:
        self._forget()
        on_fork_in_child(self, "_forget")

    def _forget(self) -> None:
        # Reentrant: a signal handler may lease while its thread is in here. What it begins it ends
        # before we go on, so whatever we have read still holds: the tuples are never changed.
        self._lock = threading.RLock()
        self._blocked: dict[weakref.ref[Any], tuple[Request, ...]] = {}
        #: How many of the waiting are more than one thread or task.
        self._many = 0

    def begin(self, request: Request, who: Actor) -> None:
        """`who` is about to wait for `request`.

        Raises WouldDeadlock, with the cycle, if that never ended.
        """
        with self._lock:
            cycle = self._cycle(request, who.same, with_turns=who.is_many or self._many > 0)
            if cycle is not None:
                raise WouldDeadlock("waiting here would never end:", (f"{who.name} waits", *cycle))
            self._many += who.is_many
            for token in who.waits:
                self._blocked[token] = (*self._blocked.get(token, ()), request)

    def end(self, request: Request, who: Actor) -> None:
        """The wait is over."""
        with self._lock:
            for token in who.waits:
                requests = self._blocked.get(token, ())
                if request not in requests:
                    return  # a forked child, which has a graph of its own
                # In one step, whatever else waits: a signal handler may interrupt each of many.
                place = requests.index(request)
                if left := requests[:place] + requests[place + 1 :]:
                    self._blocked[token] = left
                else:
                    self._blocked.pop(token, None)
            self._many -= who.is_many

    def _cycle(self, asked: Request, me: Tokens, *, with_turns: bool) -> tuple[str, ...] | None:
        """The steps from `asked` on, if nobody who could serve it ever will.

        All that it depends on is taken for stuck, until nothing can be shown to move any more.
        Those ahead in a queue matter only `with_turns`: one thread or task that waits for its own
        turn waits for nothing else.
        """
        served_by = self._reachable(asked, with_turns)
        stuck = set(served_by)
        while True:
            moving = {
                request
                for request in stuck
                if not any(
                    sum(self._stands(tokens, me, stuck) for _, tokens in parties) >= needed
                    for needed, parties in served_by[request]
                )
            }
            if not moving:
                return self._steps(asked, me, stuck, served_by) if asked in stuck else None
            stuck -= moving

    def _reachable(self, asked: Request, with_turns: bool) -> dict[Request, list[Group]]:
        found: dict[Request, list[Group]] = {}
        todo = [asked]
        while todo:
            request = todo.pop()
            if request not in found:
                found[request] = groups = list(_served_by(request, with_turns))
                todo.extend(
                    each
                    for _, parties in groups
                    for _, tokens in parties
                    for each in self._of(tokens)
                )
        return found

    def _of(self, tokens: Tokens) -> list[Request]:
        """What those wait for."""
        waits = (request for token in tokens for request in self._blocked.get(token, ()))
        return [request for request in waits if not request.done]

    def _stands(self, tokens: Tokens, me: Tokens, stuck: set[Request]) -> bool:
        return any(token in me for token in tokens) or not stuck.isdisjoint(self._of(tokens))

    def _steps(
        self, asked: Request, me: Tokens, stuck: set[Request], served_by: dict[Request, list[Group]]
    ) -> tuple[str, ...]:
        """One way through what is stuck, for the message."""
        steps: list[str] = []
        request: Request | None = asked
        seen: set[Request] = set()
        while request is not None and request not in seen:
            seen.add(request)
            parties = [each for _, group in served_by[request] for each in group]
            party, tokens = next(each for each in parties if self._stands(each[1], me, stuck))
            request = next((each for each in self._of(tokens) if each in stuck), None)
            who = "the caller" if any(token in me for token in tokens) else "another one"
            steps.append(f"for {_described(party)}, which waits for {who}")
            if who == "the caller":
                break
        return tuple(steps)


waits: Final = WaitGraph()


def _me() -> tuple[object, object | None]:
    loop = running_loop()
    flight = building.get()
    if flight is not None and not flight.over:
        return flight, loop
    task = None if loop is None else sys.modules["asyncio"].current_task()
    return task or threading.current_thread(), loop


def _served_by(request: Request, with_turns: bool) -> Iterator[Group]:
    """Who has to go on so that `request` is served."""
    slot = request.slot
    assert slot is not None
    instance = slot.instance
    turns: list[Party] = []
    if with_turns:
        turns = [
            (each.lease.site, each.lease.site[3])
            for each in takewhile(lambda each: each is not request, list(slot.requests))
            if each.lease is not None
        ]
    if instance is not None:
        leases: list[Party] = [(site, site[3]) for site in list(instance.leases.values())]
        yield instance.ledger.policy.scope.capacity, leases + turns
        return
    flights = [slot.flight] if slot.flight is not None else list(slot.abandoned)
    if flights:
        yield len(flights), [(each, _tokens(each, each.loop)) for each in flights]
        yield flights[0].ledger.policy.scope.capacity, turns


def _described(party: Flight | Site) -> str:
    return f"the lease taken at {describe(party)}" if isinstance(party, tuple) else str(party)


def _tokens(*things: object) -> Tokens:
    tokens = tuple(weakref.ref(thing) for thing in things if thing is not None)
    hash(tokens)  # a reference that was not hashed in time cannot be once its thing is gone
    return tokens


def _name(me: object) -> str:
    if isinstance(me, threading.Thread):
        return f"thread {me.name!r}"
    get_name = getattr(me, "get_name", None)
    return str(me) if get_name is None else f"task {get_name()!r}"
