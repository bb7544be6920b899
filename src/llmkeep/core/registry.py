"""A weak set that may be added to and walked through at the same time, without a lock."""

from __future__ import annotations

import weakref
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Things that live as long as somebody else holds them, in the order in which they came.

    `weakref.WeakSet` walks itself in Python, and raises if anything is added meanwhile.
    """

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: Final[dict[int, weakref.ref[T]]] = {}

    def add(self, thing: T) -> None:
        """Know `thing` from now on."""
        number, references = id(thing), self._references

        def forget(reference: weakref.ref[T]) -> None:
            # The number may belong to another thing by now.
            if references.get(number) is reference:
                del references[number]

        references[number] = weakref.ref(thing, forget)

    def living(self) -> list[T]:
        """All that are there now."""
        things = (reference() for reference in list(self._references.values()))
        return [thing for thing in things if thing is not None]
