"""Who follows a live run, and so whether anybody still wants it.

    on_disconnect=cancel     the run is wanted while its starter is there; after that, while anybody
                             reads; it is abandoned when the last one leaves
    on_disconnect=continue   the run is wanted until it ends

A starter is whoever asked for the run, or asked for it again: the connection of that request. One
that never comes counts as gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from llmkeep.service.records import OnDisconnect


@final
class Attendance:
    """Lives as long as its run.

    Args:
        on_disconnect: the run's.
        abandon: called when nobody wants the run any more; more than once, perhaps.
    """

    def __init__(self, on_disconnect: OnDisconnect, abandon: Callable[[], object]) -> None:
        self._is_bound: Final = on_disconnect == "cancel"
        self._abandon: Final = abandon
        self._readers = 0
        self._starters = 0
        self._has_starter_come = False
        self._has_starter_gone = False

    def came(self, *, is_starter: bool) -> None:
        """One more follows it."""
        self._readers += 1
        if is_starter:
            self._starters += 1
            self._has_starter_come = True
            self._has_starter_gone = False

    def left(self, *, is_starter: bool) -> None:
        """One fewer does."""
        self._readers -= 1
        if is_starter:
            self._starters -= 1
            self._has_starter_gone = self._starters == 0
        self._look()

    def starter_is_late(self) -> None:
        """It has had its time to come."""
        if not self._has_starter_come:
            self._has_starter_gone = True
            self._look()

    def _look(self) -> None:
        if self._is_bound and self._has_starter_gone and self._readers == 0:
            self._abandon()
