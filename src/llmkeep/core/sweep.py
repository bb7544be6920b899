"""Housekeeping of one ledger: what time alone brings about. Called with the guard held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .instance import State

if TYPE_CHECKING:
    from .ledger import Ledger

#: How often, in seconds, to look whether a loop has died without ceremony.
LOOP_CHECK: Final = 1.0


def sweep(ledger: Ledger, now: float) -> float | None:
    """Do what is due at `now` (monotonic seconds); when to come again, None if nothing waits."""
    ledger.mend()
    due = [
        step(ledger, now) for step in (_builds, _closes, _loops, _idle, _aged, _leaks, _backoffs)
    ]
    return min((when for when in due if when is not None), default=None)


def _builds(ledger: Ledger, now: float) -> float | None:
    """End the builds that are beyond their time limit."""
    for flight in list(ledger.flights):
        if flight.deadline is not None and not flight.timed_out and flight.deadline <= now:
            ledger.expire(flight)
    return min(
        (each.deadline for each in ledger.flights if each.deadline and not each.timed_out),
        default=None,
    )


def _closes(ledger: Ledger, now: float) -> float | None:
    """Report the closes that are beyond theirs."""
    under_way = ledger.closes.under_way
    for closing in list(under_way):
        if closing.deadline is not None and closing.deadline <= now:
            ledger.closes.end_overdue(closing)
    look_again = [now + LOOP_CHECK] if ledger.closes.rescue() else []
    return min((*look_again, *(each.deadline for each in under_way if each.deadline)), default=None)


def _loops(ledger: Ledger, now: float) -> float | None:
    """Let go of what belonged to loops that are gone."""
    for name, home in list(ledger.loop_homes.items()):
        if home.is_gone:
            ledger.end_home(home)
            del ledger.loop_homes[name]
    on_loops = [flight for flight in ledger.flights if flight.is_task]
    for flight in on_loops:
        if flight.loop is None:
            ledger.failed(flight, GeneratorExit())
    return now + LOOP_CHECK if ledger.loop_homes or on_loops else None


def _idle(ledger: Ledger, now: float) -> float | None:
    """Retire what nobody has used for `idle_ttl`."""
    limit = ledger.policy.idle_ttl
    if limit is None:
        return None
    for instance in list(ledger.idle):
        if instance.idle_since + limit > now:
            return instance.idle_since + limit
        ledger.retire(instance, "idle")
    # What is leased now may be returned at any moment, and nobody tells us.
    return now + limit if ledger.open else None


def _aged(ledger: Ledger, now: float) -> float | None:
    """Retire what is older than `max_age`."""
    limit = ledger.policy.max_age
    if limit is None:
        return None
    for instance in [each for each in ledger.open if each.state is State.READY]:
        if instance.built_at + limit > now:
            return instance.built_at + limit
        ledger.retire(instance, "age")
    return None


def _leaks(ledger: Ledger, now: float) -> float | None:
    """Report, once each, the leases that are out for longer than `leak_after`."""
    limit = ledger.policy.leak_after
    if limit is None or not ledger.open:
        return None
    for instance in ledger.open:
        for site in instance.leases.values():
            watch = site[2]
            if watch is not None and not watch.reported and watch.since + limit <= now:
                watch.reported = True
                ledger.report_leak(instance, site, now - watch.since)
    return now + limit


def _backoffs(ledger: Ledger, now: float) -> float | None:
    """Forget failures that need no longer be told."""
    for slot in list(ledger.backoffs):
        if slot.failure is None or slot.failure[2] <= now:
            ledger.forget_failure(slot)
            del ledger.backoffs[slot]
            ledger.advance(slot)
    return min((each.failure[2] for each in ledger.backoffs if each.failure), default=None)
