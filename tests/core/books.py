"""Whether the books of a cache add up, at any moment."""

from __future__ import annotations

from typing import Any

from llmkeep import ClientCache
from llmkeep.core.instance import State


def check(cache: ClientCache[Any, Any]) -> None:
    """Compare everything that a cache has written down with everything else.

    Holds under the lock at any moment, but for what has been queued by those who found it taken.
    """
    figures = cache.stats()
    assert figures.acquired == figures.hits + figures.built + figures.joined
    assert figures.builds == (
        figures.builds_ok + figures.build_failures + figures.builds_abandoned + figures.building
    )
    assert figures.live == figures.leased + figures.idle + figures.retired
    assert min(vars(figures).values()) >= 0
    cache._ledger.decide(_check_records, cache._ledger)


def check_at_rest(cache: ClientCache[Any, Any]) -> None:
    """`check`, where nobody is using the cache: nothing is leased, waited for or pending."""
    check(cache)
    cache._ledger.decide(_check_rest, cache._ledger)


def _check_records(ledger: Any) -> None:
    for instance in ledger.open:
        _check_instance(ledger, instance)
    for home in ledger.homes():
        for key, slot in home.slots.items():
            assert slot.key == key
            assert slot.home is home
            _check_slot(ledger, slot)
    for flight in ledger.flights:
        assert not flight.over
        assert flight is flight.slot.flight or flight in flight.slot.abandoned
    _check_bounds(ledger)


def _check_rest(ledger: Any) -> None:
    assert not ledger.inbox
    assert not [each for each in ledger.open if each.leases]
    for home in ledger.homes():
        for slot in home.slots.values():
            assert not slot.requests
            assert not slot.flight


def _check_instance(ledger: Any, instance: Any) -> None:
    slot = instance.slot
    is_current = slot.instance is instance
    if instance.state is State.READY:
        assert is_current
        assert slot.home.slots[slot.key] is slot
        assert (instance in ledger.idle) == (not instance.leases)
        assert len(instance.leases) <= ledger.policy.scope.capacity
    else:
        assert not is_current
        assert instance not in ledger.idle
        assert (instance.state is State.RETIRED) == bool(instance.leases)
        assert instance.state in (State.RETIRED, State.CLOSED)


def _check_slot(ledger: Any, slot: Any) -> None:
    instance, flight = slot.instance, slot.flight
    assert not slot.is_empty
    assert instance is None or flight is None
    if instance is not None:
        assert instance.state is State.READY
        assert instance in ledger.open
        assert not slot.requests or len(instance.leases) == ledger.policy.scope.capacity
    elif slot.requests:
        assert flight or slot.abandoned, "nobody will serve who waits here"
    if flight is not None:
        assert flight in ledger.flights
        assert flight.abandoned is None
        assert len(slot.abandoned) <= 1
    assert len(slot.abandoned) <= 2
    for each in slot.abandoned:
        assert each in ledger.flights
        assert each.abandoned is not None
    for request in slot.requests:
        assert not request.done
        assert request.slot is slot


def _check_bounds(ledger: Any) -> None:
    policy = ledger.policy
    assert all(each.state is State.READY and each in ledger.open for each in ledger.idle)
    assert policy.max_idle is None or len(ledger.idle) <= policy.max_idle
    if policy.max_weight is not None:
        assert sum(each.weight for each in ledger.idle) <= policy.max_weight
