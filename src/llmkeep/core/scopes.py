"""Scopes: whom an instance may be shared with."""

from __future__ import annotations

from typing import ClassVar, Final, final

#: As good as none, and small enough that CPython compares it in one step.
_NO_BOUND: Final = 2**30 - 1


@final
class Scope:
    """Whom an instance may be shared with.

    - `Scope.PROCESS`: any thread and any event loop, at the same time.
    - `Scope.LOOP`: the callers on one event loop; all synchronous callers share one more.
    - `Scope.exclusive(n)`: at most `n` leases at a time, first come first served.
    """

    __slots__ = ("capacity", "name", "per_loop")

    PROCESS: ClassVar[Scope]
    LOOP: ClassVar[Scope]

    def __init__(self, name: str, capacity: int = _NO_BOUND, *, per_loop: bool = False) -> None:
        self.name: Final = name
        self.capacity: Final = capacity
        self.per_loop: Final = per_loop

    @classmethod
    def exclusive(cls, n: int = 1) -> Scope:
        """At most `n` leases of an instance at a time.

        Raises ValueError when `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"Scope.exclusive(n) needs n >= 1, not {n}")
        return cls(f"exclusive({n})", n)

    @property
    def is_exclusive(self) -> bool:
        """Whether leases have to wait for each other."""
        return self.capacity < _NO_BOUND

    def __repr__(self) -> str:
        return f"<Scope {self.name}>"


Scope.PROCESS = Scope("process")
Scope.LOOP = Scope("loop", per_loop=True)
