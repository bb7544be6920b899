"""Watching: what runs, readers and the journal do is counted here, and handed on to metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Protocol, final

from llmkeep.service.records import Run

logger = logging.getLogger(__name__)

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
    """Counts what the service itself is asked for, and hands everything on.

    Nothing here raises: what is counted goes on, whatever metrics do.
    """

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics: Final = metrics
        self._figures: Final = {"first_token": (0, 0.0), "run": (0, 0.0)}
        #: What the last run that asked a provider found.
        self.provider_status: ProviderStatus = "unknown"

    @property
    def latency(self) -> dict[str, tuple[int, float]]:
        """How often, and how many seconds in all, since the start: `first_token` and `run`."""
        return dict(self._figures)

    def run_began(self) -> None:
        """Its turn has come."""
        self._hand_on("run_started")

    def first_token(self, seconds: float) -> None:
        """The model has begun to speak."""
        self._add("first_token", seconds)
        self.provider_status = "ok"
        self._hand_on("first_token", seconds)

    def run_ended(self, run: Run, seconds: float) -> None:
        """A run that began has ended."""
        self._add("run", seconds)
        if run.status in ("success", "interrupted") and run.code in (None, "approval"):
            self.provider_status = "ok"
        elif run.status == "error" and _is_unreachable(run.code or ""):
            self.provider_status = "unreachable"
        self._hand_on("run_ended", run.status, seconds, run.usage or ())

    def batch_written(self, events: int, seconds: float) -> None:
        """The journal has written a transaction."""
        self._hand_on("batch_written", events, seconds)

    def write_failed(self) -> None:
        """The journal could not write one."""
        self._hand_on("write_failed")

    def reader_opened(self) -> None:
        """One more reader."""
        self._hand_on("reader_opened")

    def reader_closed(self) -> None:
        """One fewer."""
        self._hand_on("reader_closed")

    def _hand_on(self, name: str, *arguments: object) -> None:
        if self._metrics is not None:
            try:
                getattr(self._metrics, name)(*arguments)
            except Exception:
                logger.exception("metrics cannot count %s", name)

    def _add(self, name: str, seconds: float) -> None:
        count, total = self._figures[name]
        self._figures[name] = count + 1, total + seconds


def _is_unreachable(code: str) -> bool:
    return code == "unreachable" or code.startswith("http_5")
