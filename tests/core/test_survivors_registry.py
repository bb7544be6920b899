"""What mutation testing of the weak registry found unproved."""

from __future__ import annotations

import weakref

from llmkeep.core.registry import Registry


class Thing:
    """Something to be known."""


def test_i10_a_registry_forgets_what_is_gone() -> None:
    """Nothing is left of it, not even a dead reference."""
    registry: Registry[Thing] = Registry()
    things = [Thing() for _ in range(100)]
    for thing in things:
        registry.add(thing)
    assert registry.living() == things

    del thing
    things.clear()

    assert registry.living() == []
    assert not registry._references


def test_i10_a_number_that_was_given_again_is_not_forgotten_with_its_first_owner() -> None:
    """1. a thing goes; 2. before its end is noticed another has its `id`; 3. that one stays."""
    registry: Registry[Thing] = Registry()
    first, second = Thing(), Thing()
    registry.add(first)
    known = registry._references[id(first)]
    registry._references[id(first)] = weakref.ref(second)

    del first

    assert known() is None
    assert registry.living() == [second]
