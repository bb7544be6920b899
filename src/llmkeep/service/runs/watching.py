"""Watching: what runs, readers and the journal do is counted here, and handed on to metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, ParamSpec, Protocol, final

from llmkeep.service.records import Run

logger = logging.getLogger(__name__)

P = ParamSpec("P")

ProviderStatus = Literal["ok", "unreachable", "unknown"]


class Metrics(Protocol):
    """Who keeps the figures of the service."""

    def run_started(self) -> None:
        """A run's turn has come."""

    def run_ended(self, status: str, seconds: float, usage: Iterable[Mapping[str, Any]]) -> None:
        """It ended, so long after that; the tokens are AG-UI's TokenUsage."""

    def first_token(self, seconds: float) -> None:
        """The model has begun to speak, so long after its run's turn."""

    def batch_written(self, events: int, seconds: float) -> None:
        """The journal has written a transaction."""

    def write_failed(self) -> None:
        """It could not write one."""

    def reader_opened(self) -> None:
        """Somebody follows a run."""

    def reader_closed(self) -> None:
        """And does no more."""


@final
class Watcher:
    """Hands on what is to be counted, and remembers what the provider was like.

    Nothing here raises: what is counted goes on, whatever metrics do.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics: Final[Metrics] = metrics or NoMetrics()
        #: What the last run that asked a provider found.
        self.provider_status: ProviderStatus = "unknown"

    def run_began(self) -> None:
        """Its turn has come."""
        _safely(self._metrics.run_started)

    def first_token(self, seconds: float) -> None:
        """The model has begun to speak."""
        self.provider_status = "ok"
        _safely(self._metrics.first_token, seconds)

    def run_ended(self, run: Run, seconds: float) -> None:
        """A run that began has ended."""
        if run.status in ("success", "interrupted") and run.code in (None, "approval"):
            self.provider_status = "ok"
        elif run.status == "error" and _is_unreachable(run.code or ""):
            self.provider_status = "unreachable"
        _safely(self._metrics.run_ended, run.status, seconds, run.usage or ())

    def batch_written(self, events: int, seconds: float) -> None:
        """The journal has written a transaction."""
        _safely(self._metrics.batch_written, events, seconds)

    def write_failed(self) -> None:
        """The journal could not write one."""
        _safely(self._metrics.write_failed)

    def reader_opened(self) -> None:
        """One more reader."""
        _safely(self._metrics.reader_opened)

    def reader_closed(self) -> None:
        """One fewer."""
        _safely(self._metrics.reader_closed)


class NoMetrics:
    """Counts nothing."""

    def run_started(self) -> None:
        """Nothing."""

    def run_ended(self, status: str, seconds: float, usage: Iterable[Mapping[str, Any]]) -> None:
        """Nothing."""

    def first_token(self, seconds: float) -> None:
        """Nothing."""

    def batch_written(self, events: int, seconds: float) -> None:
        """Nothing."""

    def write_failed(self) -> None:
        """Nothing."""

    def reader_opened(self) -> None:
        """Nothing."""

    def reader_closed(self) -> None:
        """Nothing."""


#: For whom nobody counts.
NOBODY: Final = Watcher()


def _safely(count: Callable[P, None], *arguments: P.args, **more: P.kwargs) -> None:
    try:
        count(*arguments, **more)
    except Exception:
        logger.exception("metrics cannot count")


def _is_unreachable(code: str) -> bool:
    return code == "unreachable" or code.startswith("http_5")
