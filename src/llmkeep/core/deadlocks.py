"""Waits that would never end, found before they begin.

Who waits: an *actor*, which is a build (whatever thread or task its factory uses: the context
variable follows it), else a task, else a thread. A thread that waits while it runs an event loop
makes the loop and all its tasks wait too, so an actor is a few tokens, not one. What is waited
for: a slot, held by the build under way or by those who hold the exclusive leases.

A wait is refused if everybody who could end it waits, directly or not, for the one who asks. The
graph is process-wide, so cycles through several caches are found. It is looked at when a wait
begins, never on the path of a lease that is served at once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple, final

from .errors import WouldDeadlock
from .fork import on_fork_in_child
from .sites import describe
from .waiters import running_loop

if TYPE_CHECKING:
    from .slots import Flight, Slot

#: The build that this code is a part of.
building: Final[ContextVar[Flight | None]] = ContextVar("llmkeep_building", default=None)


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
        self._blocked: dict[object, list[Slot]] = {}

    @contextmanager
    def waiting_for(self, slot: Slot, who: Actor) -> Iterator[None]:
        """While `who` waits for `slot`. Raises WouldDeadlock, with the cycle, if it never ended."""
        with self._lock:
            cycle = self._cycle(slot, who.same, set())
            if cycle is not None:
                raise WouldDeadlock("waiting here would never end:", (f"{who.name} waits", *cycle))
            for token in who.waits:
                self._blocked.setdefault(token, []).append(slot)
        try:
            yield
        finally:
            with self._lock:
                for token in who.waits:
                    slots = self._blocked.get(token, [])
                    if slot in slots:  # it is not in a forked child
                        slots.remove(slot)
                    if not slots:
                        self._blocked.pop(token, None)

    def _cycle(self, slot: Slot, me: tuple[object, ...], seen: set[Slot]) -> tuple[str, ...] | None:
        """The steps from `slot` back to `me`, if every way leads there."""
        seen.add(slot)
        steps: tuple[str, ...] = ()
        for name, tokens in _holders(slot):
            if any(token in me for token in tokens):
                steps = (f"for {name}, which waits for the caller",)
                continue
            onward = (
                self._cycle(other, me, seen)
                for token in tokens
                for other in self._blocked.get(token, ())
                if other not in seen
            )
            way = next((found for found in onward if found is not None), None)
            if way is None:
                return None
            steps = (f"for {name}, which waits", *way)
        return steps or None


waits: Final = WaitGraph()


def _me() -> tuple[object, object | None]:
    loop = running_loop()
    flight = building.get()
    if flight is not None and not flight.over:
        return flight, loop
    task = None if loop is None else sys.modules["asyncio"].current_task()
    return task or threading.current_thread(), loop


def _holders(slot: Slot) -> list[tuple[str, tuple[object, ...]]]:
    flight, instance = slot.flight, slot.instance
    flights = [flight] if flight is not None else list(slot.abandoned)
    if flights and instance is None:
        return [
            (str(each), (each,) if each.loop is None else (each, each.loop)) for each in flights
        ]
    if instance is None:
        return []
    sites = list(instance.leases.values())
    return [(f"a lease of {instance.id} taken at {describe(site)}", site[3]) for site in sites]


def _name(me: object) -> str:
    if isinstance(me, threading.Thread):
        return f"thread {me.name!r}"
    get_name = getattr(me, "get_name", None)
    return str(me) if get_name is None else f"task {get_name()!r}"
