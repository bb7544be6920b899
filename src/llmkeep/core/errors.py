"""What the core raises. A build's own exception is not among these: it passes unchanged."""

from __future__ import annotations


class LLMKeepError(Exception):
    """Everything that llmkeep itself raises derives from this."""


class BuildTimeout(LLMKeepError, TimeoutError):
    """A build ran longer than the cache's `build_timeout`; its late result will be closed."""


class LeaseTimeout(LLMKeepError, TimeoutError):
    """The caller's own `timeout` passed before the instance could be leased."""


class CacheClosed(LLMKeepError):
    """The cache was closed; closing is final."""


class LeaseMisuse(LLMKeepError, RuntimeError):
    """A lease was entered or returned a second time, or returned without having been entered."""


class WouldDeadlock(LLMKeepError):
    """Waiting would never end.

    `cycle` tells who waits for whom, one step a line, the caller first.
    """

    def __init__(self, message: str, cycle: tuple[str, ...] = ()) -> None:
        super().__init__(message if not cycle else "\n  ".join((message, *cycle)))
        self.cycle = cycle
