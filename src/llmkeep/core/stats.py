"""What a cache tells of itself: counters and gauges, and a row per instance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stats:
    """A consistent snapshot.

    Leases granted, by how: `acquired == hits + built + joined`. Calls of the factory:
    `builds == builds_ok + build_failures + builds_abandoned + building`. Instances:
    `live == leased + idle + retired`. Counters never go backwards; `building`, `live`, `leased`,
    `idle` and `retired` are gauges.
    """

    acquired: int
    """Leases granted."""
    hits: int
    """Leases that found the instance ready."""
    built: int
    """Leases whose caller started the build."""
    joined: int
    """Leases that waited for a build that somebody else had started."""
    builds: int
    """Calls of a factory, warming included."""
    builds_ok: int
    """Builds whose instance became ready."""
    build_failures: int
    """Builds that raised."""
    builds_abandoned: int
    """Builds that ran out of time or were overtaken by an invalidation."""
    building: int
    """Builds under way, without the abandoned ones."""
    live: int
    """Instances that are or may be in use."""
    leased: int
    """Ready instances that are leased."""
    idle: int
    """Ready instances that nobody uses."""
    retired: int
    """Retired instances whose last lease is still out."""
    closed: int
    """Instances closed, the failed attempts included."""
    close_failures: int
    """Closes that raised or ran out of time."""

    def __add__(self, other: Stats) -> Stats:
        """The sum of two caches' figures."""
        return Stats(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class InstanceInfo:
    """One instance, as `ClientCache.snapshot` shows it. Times are in seconds."""

    id: str
    """Random; means nothing outside this process."""
    label: str
    scope: str
    state: str
    leases: int
    age: float
    """Since it became ready."""
    idle: float
    """Since its last lease returned; 0 while it is leased."""
    weight: float
