"""What is counted of runs, the journal, readers and caches."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

import llmkeep
from llmkeep import ClientCache
from llmkeep.service.observability import Metrics
from llmkeep.service.observability.metrics import Bounded


def told(metrics: Metrics) -> dict[str, float]:
    """Each sample by its name and labels, as Prometheus reads them."""
    body, media_type = metrics.exposition()
    assert media_type.startswith("text/plain")
    return {
        f"{sample.name}{','.join(f'{key}={value}' for key, value in sample.labels.items())}": (
            sample.value
        )
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_runs_are_counted_by_how_they_end():
    """With their time, what they used, and how many there are at the moment."""
    metrics = Metrics()
    for _ in range(3):
        metrics.run_started()
    usage: list[dict[str, Any]] = [
        {"model": "openai:gpt-5", "inputTokens": 30, "outputTokens": 7},
        {"model": "openai:mini", "inputTokens": 1},
    ]
    metrics.first_token(0.3)
    metrics.run_ended("success", 1.5, usage)
    metrics.run_ended("cancelled", 0.5)
    samples = told(metrics)
    assert samples["llmkeep_runs_active"] == 1
    assert samples["llmkeep_runs_totalstatus=success"] == 1
    assert samples["llmkeep_runs_totalstatus=cancelled"] == 1
    assert samples["llmkeep_run_seconds_sum"] == 2.0
    assert samples["llmkeep_first_token_seconds_count"] == 1
    assert samples["llmkeep_tokens_totalkind=input,model=openai:gpt-5"] == 30
    assert samples["llmkeep_tokens_totalkind=output,model=openai:gpt-5"] == 7
    assert samples["llmkeep_tokens_totalkind=input,model=openai:mini"] == 1
    assert metrics.latency()["run"] == {"count": 2, "seconds": 2.0}
    assert metrics.latency()["first_token"] == {"count": 1, "seconds": 0.3}


def test_the_journal_and_its_readers_are_counted():
    """How much is written at a time, how long that takes, and how often it fails."""
    metrics = Metrics()
    metrics.batch_written(20, 0.002)
    metrics.batch_written(1, 0.001)
    metrics.write_failed()
    metrics.reader_opened()
    metrics.reader_opened()
    metrics.reader_closed()
    samples = told(metrics)
    assert samples["llmkeep_events_written_total"] == 21
    assert samples["llmkeep_journal_batch_events_count"] == 2
    assert samples["llmkeep_journal_write_seconds_sum"] == 0.003
    assert samples["llmkeep_journal_failures_total"] == 1
    assert samples["llmkeep_readers"] == 1


def test_caches_tell_what_their_stats_say():
    """Those of one name together, and as they are at the moment."""
    metrics = Metrics()
    with (
        ClientCache(str, name="shop") as one,
        ClientCache(str, name="shop") as another,
        one.lease("a"),
        another.lease("b"),
    ):
        samples = told(metrics)
        assert samples["llmkeep_cache_builds_totalcache=shop"] == 2
        assert samples["llmkeep_cache_leasedcache=shop"] == 2
        for name, value in vars(one.stats() + another.stats()).items():
            suffix = "" if f"llmkeep_cache_{name}cache=shop" in samples else "_total"
            assert samples[f"llmkeep_cache_{name}{suffix}cache=shop"] == value


def test_labels_of_caches_and_models_are_bounded():
    """However many names an application makes up."""
    metrics = Metrics()
    caches = [ClientCache(str, name=f"made up {number}") for number in range(2 * Bounded.limit)]
    for number in range(2 * Bounded.limit):
        metrics.run_ended("success", 1.0, [{"model": f"m{number}", "inputTokens": 1}])
    samples = told(metrics)
    named = [name for name in samples if name.startswith("llmkeep_cache_live")]
    assert len(named) == Bounded.limit + 1
    assert samples["llmkeep_tokens_totalkind=input,model=other"] == Bounded.limit
    for cache in caches:
        cache.close()


def test_two_applications_in_one_process_count_apart():
    """The registry is the application's own."""
    one, another = Metrics(), Metrics()
    one.write_failed()
    assert told(one)["llmkeep_journal_failures_total"] == 1
    assert told(another)["llmkeep_journal_failures_total"] == 0


def test_it_is_said_what_runs_here():
    """By its version."""
    (name,) = (name for name in told(Metrics()) if name.startswith("llmkeep_build_info"))
    assert f"version={llmkeep.__version__}" in name


def test_builds_of_models_are_timed(monkeypatch):
    """For as long as somebody watches."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    metrics = Metrics()
    unwatch = metrics.watch_builds()
    llmkeep.chat_model("openai:gpt-5-mini")
    built = metrics.latency()["build"]
    assert built["count"] == llmkeep.stats().builds_ok
    unwatch()
    llmkeep.chat_model("openai:gpt-5")
    assert metrics.latency()["build"] == built
