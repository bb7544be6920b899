"""One instance: its states, the moves between them, and what is known of it.

An instance is *building*, then *ready*, then *retired*, then *closed*. Leased or idle is not a
state: it is whether a lease is out.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, final

from .specs import display_id

if TYPE_CHECKING:
    from .ledger import Ledger
    from .sites import Site
    from .slots import Home, Slot


class State(Enum):
    """Where an instance is in its life."""

    BUILDING = "building"
    READY = "ready"
    RETIRED = "retired"
    CLOSED = "closed"


#: Looking a member up in its class takes as long as all else that returning a lease does.
READY: Final = State.READY

#: Every move there is. A build that fails, or whose result is unwanted, goes straight to CLOSED.
MOVES: Final = {
    State.BUILDING: frozenset({State.READY, State.CLOSED}),
    State.READY: frozenset({State.RETIRED}),
    State.RETIRED: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


@final
class Instance:
    """What is known of one instance; lives from the start of its build until it is closed."""

    __slots__ = (
        "built_at",
        "client",
        "home",
        "id",
        "idle_since",
        "label",
        "leases",
        "ledger",
        "loop",
        "slot",
        "state",
        "weight",
    )

    def __init__(self, ledger: Ledger, slot: Slot) -> None:
        self.ledger: Final = ledger
        self.slot: Final = slot
        self.home: Final[Home] = slot.home
        self.id: Final = display_id()
        self.state = State.BUILDING
        self.client: Any = None
        self.label = ""
        self.weight = 0.0
        self.built_at = 0.0
        self.idle_since = 0.0
        #: The loop that built it (a weak reference), where a coroutine close belongs.
        self.loop: Any = None
        #: Where the leases that are out were taken, by token: a reference to the lease itself would
        #: keep a dropped one alive.
        self.leases: dict[int, Site] = {}

    def move(self, to: State) -> None:
        """The only way to another state."""
        if to not in MOVES[self.state]:
            raise AssertionError(f"instance {self.id} cannot go from {self.state} to {to}")
        self.state = to

    def __repr__(self) -> str:
        return f"<Instance {self.id} {self.label!r} {self.state.value}, {len(self.leases)} leased>"
