"""Metrics for Prometheus, in a registry of the application's own.

No label has more values than the code or the settings have: routes are templates, models and
caches are counted up to `Bounded.limit` names, then as `other`. No user, thread or run is in any.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

import llmkeep
from llmkeep.core.cache import all_caches
from llmkeep.core.events import Built, Event
from llmkeep.core.stats import Stats

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "other"

_FAST: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_WRITES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_COUNTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Bounded:
    """The values of a label, as many as there may be; the others are `other`."""

    limit: Final = 32

    def __init__(self) -> None:
        self._known: Final[set[str]] = set()

    def __call__(self, value: str) -> str:
        """The value, or `other`."""
        if value in self._known:
            return value
        if len(self._known) >= self.limit:
            return _OTHER
        self._known.add(value)
        return value


class Metrics:
    """What is counted; lives as long as the application."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._models: Final = Bounded()
        make: Final = _Maker(self.registry)
        self._requests: Final = make.counter(
            "http_requests", "Requests answered.", "method", "route", "status"
        )
        self._request_seconds: Final = make.histogram(
            "http_request_seconds", "From a request to its answer's last byte.", _FAST, "route"
        )
        self._runs: Final = make.counter("runs", "Runs that have ended.", "status")
        self._active: Final = make.gauge("runs_active", "Runs whose turn it is.")
        self._run_seconds: Final = make.histogram("run_seconds", "A run's turn.", _SLOW)
        self._first_token: Final = make.histogram(
            "first_token_seconds", "From a run's start to the first thing it says.", _SLOW
        )
        self._tokens: Final = make.counter("tokens", "Tokens of models.", "model", "kind")
        self._events: Final = make.counter("events_written", "Events of runs that were stored.")
        self._batch: Final = make.histogram(
            "journal_batch_events", "Events in one transaction.", _COUNTS
        )
        self._write_seconds: Final = make.histogram(
            "journal_write_seconds", "One transaction of the journal.", _WRITES
        )
        self._failures: Final = make.counter(
            "journal_failures", "Transactions that failed, and are tried again."
        )
        self._readers: Final = make.gauge("readers", "Streams that are being read.")
        self._builds: Final = make.histogram("model_build_seconds", "Making a model ready.", _SLOW)
        make.gauge("build_info", "What runs here.", "version", "python").labels(
            llmkeep.__version__, platform.python_version()
        ).set(1)
        self.registry.register(CacheCollector())
        ProcessCollector(registry=self.registry)

    # --- requests ---

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request is over; `route` is a template."""
        method = method if method in _METHODS else _OTHER
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    # --- runs ---

    def run_started(self) -> None:
        """A run's turn has come."""
        self._active.inc()

    def run_ended(
        self, status: str, seconds: float, usage: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """It is over; `usage` are AG-UI's TokenUsage, one for each model."""
        self._active.dec()
        self._runs.labels(status).inc()
        self._run_seconds.observe(seconds)
        for each in usage:
            model = self._models(str(each.get("model") or "unknown"))
            for kind in ("input", "output"):
                if count := each.get(f"{kind}Tokens"):
                    self._tokens.labels(model, kind).inc(count)

    def first_token(self, seconds: float) -> None:
        """A run has said something."""
        self._first_token.observe(seconds)

    # --- the journal and those who read ---

    def batch_written(self, events: int, seconds: float) -> None:
        """One transaction."""
        self._events.inc(events)
        self._batch.observe(events)
        self._write_seconds.observe(seconds)

    def write_failed(self) -> None:
        """A transaction failed, and is tried again."""
        self._failures.inc()

    def reader_opened(self) -> None:
        """Somebody follows a run."""
        self._readers.inc()

    def reader_closed(self) -> None:
        """And has left."""
        self._readers.dec()

    # --- models ---

    def watch_builds(self) -> Callable[[], None]:
        """Count how long models take to be made ready, until the returned function is called."""

        def built(event: Event) -> None:
            if isinstance(event, Built):
                self._builds.observe(event.seconds)

        return llmkeep.default_cache().subscribe(built)

    # --- what is told ---

    def exposition(self) -> tuple[bytes, str]:
        """All of it in Prometheus' words, and their media type."""
        return generate_latest(_WithoutBirthdays(self.registry)), CONTENT_TYPE_LATEST

    def latency(self) -> dict[str, dict[str, float]]:
        """Since the start: how often something happened, and how long that took in all."""
        return {
            "build": _total(self._builds),
            "first_token": _total(self._first_token),
            "run": _total(self._run_seconds),
        }


class CacheCollector(Collector):
    """The counters and gauges of all caches of the process, by the names of the caches."""

    _GAUGES: Final = frozenset({"building", "live", "leased", "idle", "retired"})

    def __init__(self) -> None:
        self._names: Final = Bounded()

    def collect(self) -> Iterator[Metric]:
        """A metric for each figure of `core.stats.Stats`."""
        sums: dict[str, Stats] = {}
        for cache in all_caches():
            name, stats = self._names(cache.name), cache.stats()
            sums[name] = sums[name] + stats if name in sums else stats
        for field in fields(Stats):
            is_gauge = field.name in self._GAUGES
            family = (GaugeMetricFamily if is_gauge else CounterMetricFamily)(
                f"llmkeep_cache_{field.name}",
                f"core.stats.Stats.{field.name}",
                labels=("cache",),
            )
            for name, stats in sums.items():
                family.add_metric((name,), getattr(stats, field.name))
            yield family


class _WithoutBirthdays(CollectorRegistry):
    """A registry without the moments at which its metrics were made: as many lines again."""

    def __init__(self, whole: CollectorRegistry) -> None:
        super().__init__()
        self._whole: Final = whole

    def collect(self) -> Iterator[Metric]:
        for metric in self._whole.collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric


class _Maker:
    """Makes metrics of one registry, each with our prefix."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry: Final = registry

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"llmkeep_{name}", meaning, labels, registry=self._registry)

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"llmkeep_{name}", meaning, labels, registry=self._registry)

    def histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"llmkeep_{name}", meaning, labels, registry=self._registry, buckets=buckets
        )


def _total(histogram: Histogram) -> dict[str, float]:
    found = {"count": 0.0, "seconds": 0.0}
    for metric in histogram.collect():
        for sample in metric.samples:
            if sample.name.endswith("_count"):
                found["count"] += sample.value
            elif sample.name.endswith("_sum"):
                found["seconds"] += sample.value
    return found
