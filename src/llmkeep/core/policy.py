"""The settings of one cache, checked."""

from __future__ import annotations

from typing import Final, Literal, TypeVar, final

from .scopes import Scope

_N = TypeVar("_N", bound="float | None")


@final
class Policy:
    """What `ClientCache` was told; never changes. Times are in seconds."""

    __slots__ = (
        "build_timeout",
        "close_timeout",
        "context",
        "failure_backoff",
        "idle_ttl",
        "keep_unclaimed",
        "leak_after",
        "max_age",
        "max_idle",
        "max_weight",
        "name",
        "scope",
    )

    def __init__(
        self,
        *,
        name: str = "default",
        scope: Scope = Scope.PROCESS,
        max_idle: int | None = None,
        idle_ttl: float | None = None,
        max_age: float | None = None,
        max_weight: float | None = None,
        build_timeout: float | None = None,
        close_timeout: float | None = 10.0,
        leak_after: float | None = None,
        keep_unclaimed: bool = True,
        failure_backoff: float = 0.0,
        context: Literal["empty", "copy"] = "empty",
    ) -> None:
        if not isinstance(scope, Scope):
            raise TypeError("scope must be Scope.PROCESS, Scope.LOOP or Scope.exclusive(n)")
        if context not in ("empty", "copy"):
            raise ValueError("context must be 'empty' or 'copy'")
        self.name: Final = name
        self.scope: Final = scope
        self.max_idle: Final = _bound("max_idle", max_idle, zero=True)
        self.idle_ttl: Final = _bound("idle_ttl", idle_ttl)
        self.max_age: Final = _bound("max_age", max_age)
        self.max_weight: Final = _bound("max_weight", max_weight, zero=True)
        self.build_timeout: Final = _bound("build_timeout", build_timeout)
        self.close_timeout: Final = _bound("close_timeout", close_timeout)
        self.leak_after: Final = _bound("leak_after", leak_after)
        self.keep_unclaimed: Final = keep_unclaimed
        self.failure_backoff: Final = _bound("failure_backoff", failure_backoff, zero=True)
        self.context: Final = context


def _bound(name: str, value: _N, *, zero: bool = False) -> _N:
    if value is not None and not (value > 0 or (zero and value == 0)):
        least = "0 or more" if zero else "more than 0"
        raise ValueError(f"{name} must be {least}, or None for no bound, not {value!r}")
    return value
