"""What happens to instances, as typed events for `ClientCache.subscribe`.

No event holds a client, a spec or an exception: an exception's text may quote a credential.
`error` is the name of its type.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """Something that happened to the instance `instance` (its random display id) of `cache`."""

    cache: str
    instance: str
    label: str


@dataclass(frozen=True)
class Built(Event):
    """A build succeeded and its instance is ready."""

    seconds: float


@dataclass(frozen=True)
class BuildFailed(Event):
    """A build raised."""

    error: str


@dataclass(frozen=True)
class BuildAbandoned(Event):
    """A build was given up; its result, if it comes, is closed.

    `reason`: timed out, invalidated, cleared, loop closed or shutdown.
    """

    reason: str


@dataclass(frozen=True)
class Retired(Event):
    """No new lease gets the instance. `reason`: evicted, idle, age, invalidated, cleared, loop
    closed, unclaimed or shutdown.
    """

    reason: str


@dataclass(frozen=True)
class Closed(Event):
    """The instance was closed."""


@dataclass(frozen=True)
class CloseFailed(Event):
    """Close the instance raised, or ran out of time."""

    error: str


@dataclass(frozen=True)
class Dropped(Event):
    """The instance was let go without a close: the loop it belonged to is gone."""


@dataclass(frozen=True)
class LeasedTooLong(Event):
    """A lease has been out for longer than the cache's `leak_after`. `where` it was taken."""

    where: str
    seconds: float


@dataclass(frozen=True)
class LeaseReturnedLate(Event):
    """A lease that had been reported with `LeasedTooLong` came back after all."""

    where: str
    seconds: float


@dataclass(frozen=True)
class LeaseBroken(Event):
    """The cache was closed, and its deadline passed, while this lease was out."""

    where: str
