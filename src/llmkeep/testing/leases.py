"""Leases, watched: which are out, and which were dropped without being returned.

For the length of a test the methods by which a `Lease` is entered and left are wrapped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import pytest

from llmkeep.core import Lease

from .places import Place, place_here


class LeaseWatch:
    """Watches every lease from `begin` to `end`; lives as long as a test."""

    def __init__(self) -> None:
        #: Where the leases were taken that went without being returned.
        self.dropped: Final[list[Place]] = []
        #: While it is set, what is taken outlives the test.
        self.lasting = False
        #: By the lease's id, which is its own until its finalizer has run.
        self._out: Final[dict[int, Place]] = {}
        self._patches: Final = pytest.MonkeyPatch()

    def begin(self) -> None:
        """Wrap the methods."""
        self._wrap("__enter__", self._entering)
        self._wrap("__aenter__", self._entering_asynchronously)
        self._wrap("__exit__", self._leaving)  # `__aexit__` calls it
        self._wrap("__del__", self._dropping)

    def end(self) -> None:
        """Put the methods back."""
        self._patches.undo()

    def out(self) -> list[Place]:
        """Where the leases were taken that are out."""
        return list(self._out.values())

    def _wrap(self, name: str, wrapping: Callable[[Any], Any]) -> None:
        original = getattr(Lease, name)
        self._patches.setattr(Lease, name, functools.wraps(original)(wrapping(original)))

    def _entering(self, original: Any) -> Any:
        def enter(lease: Lease[Any]) -> Any:
            client = original(lease)
            self._taken(lease)
            return client

        return enter

    def _entering_asynchronously(self, original: Any) -> Any:
        async def aenter(lease: Lease[Any]) -> Any:
            client = await original(lease)
            self._taken(lease)
            return client

        return aenter

    def _leaving(self, original: Any) -> Any:
        def leave(lease: Lease[Any], *error: Any) -> None:
            original(lease, *error)
            self._out.pop(id(lease), None)

        return leave

    def _dropping(self, original: Any) -> Any:
        def drop(lease: Lease[Any]) -> None:
            place = self._out.pop(id(lease), None)
            if place is not None:
                self.dropped.append(place)
            original(lease)

        return drop

    def _taken(self, lease: Lease[Any]) -> None:
        if not self.lasting:
            self._out[id(lease)] = place_here()
