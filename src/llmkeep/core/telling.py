"""What a ledger shows of itself. Called with the guard held, so that it adds up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .instance import Instance, State
from .stats import InstanceInfo, Stats

if TYPE_CHECKING:
    from .ledger import Ledger


def stats(ledger: Ledger) -> Stats:
    """The counters, and the gauges counted afresh."""
    ready = [each for each in ledger.open if each.state is State.READY]
    leased = sum(1 for each in ready if each.leases)
    retired = sum(1 for each in ledger.open if each.state is State.RETIRED)
    return Stats(
        acquired=ledger.granted,
        hits=ledger.granted - ledger.built - ledger.joined,
        built=ledger.built,
        joined=ledger.joined,
        builds=ledger.builds,
        builds_ok=ledger.builds_ok,
        build_failures=ledger.build_failures,
        builds_abandoned=ledger.builds_abandoned,
        building=sum(1 for each in ledger.flights if each.abandoned is None),
        live=len(ready) + retired,
        leased=leased,
        idle=len(ready) - leased,
        retired=retired,
        closed=ledger.closes.closed,
        close_failures=ledger.closes.failures,
    )


def snapshot(ledger: Ledger) -> list[InstanceInfo]:
    """A row per instance that is open or being built."""
    now = time.monotonic()
    building = [flight.instance for flight in ledger.flights if flight.abandoned is None]
    return [_row(ledger, each, now) for each in (*ledger.open, *building)]


def one_line(ledger: Ledger) -> str:
    """The state in a line, for `repr` and error messages."""
    figures = stats(ledger)
    waiting = sum(len(slot.requests) for home in ledger.homes() for slot in home.slots.values())
    policy = ledger.policy
    return (
        f"<ClientCache {policy.name!r} {policy.scope.name}: "
        f"{figures.leased + figures.idle} ready ({figures.leased} leased), "
        f"{figures.building} building, {waiting} waiting, {figures.retired} retired, "
        f"max_idle {policy.max_idle}{', closed' if ledger.shut else ''}>"
    )


def _row(ledger: Ledger, instance: Instance, now: float) -> InstanceInfo:
    is_idle = instance in ledger.idle
    return InstanceInfo(
        id=instance.id,
        label=instance.label,
        scope=ledger.policy.scope.name,
        state=instance.state.value,
        leases=len(instance.leases),
        age=now - instance.built_at if instance.built_at else 0.0,
        idle=now - instance.idle_since if is_idle else 0.0,
        weight=instance.weight,
    )
