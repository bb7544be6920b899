"""The whole service, asked over HTTP: what its log, its metrics and its traces tell of a run."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmkeep.service.observability import configure_logging
from llmkeep.settings import settings
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Call, Text, Usage
from tests.support.service_client import Client, run_input

TOKEN = "planted-bearer-token-of-anna"
KEY = "sk-planted-0123456789abcdef"
MESSAGE = "the-patient-has-a-rare-disease"
ANSWER = "the-answer-about-it"
WORDS = (TOKEN, KEY, MESSAGE, ANSWER, "19740523")


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the application sends its spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


async def test_i12_a_conversation_leaves_ids_and_numbers_alone(
    start: Any,
    scripted: Scripted,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
):
    """In the log at debug level, in the metrics and in the spans: each tells its part of a run."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    log = io.StringIO()
    settings.service.log_level = "debug"
    tokens = {TOKEN: {"user": "anna"}}
    settings.service.tokens = tokens  # type: ignore[assignment]
    configure_logging(settings.service, log)
    for name in ("", "openai", "httpx", "httpx2", "httpcore2", "aiosqlite", "sqlalchemy.engine"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    scripted.say(Call(0, "c1", "calculator", '{"expression": "19740523 + 1"}'), Usage(100, 20))
    scripted.say(Text(ANSWER), Usage(130, 10))
    async with (
        start(sign_in="token", tokens=tokens) as app,
        Client(app.address, TOKEN) as client,
        client.post(run_input("t1", MESSAGE, run_id="r1")) as stream,
    ):
        events = [told.kind async for told in stream]
        assert events[-1] == "RUN_FINISHED"
        refused = await client.http.get("/api/me", headers={"Authorization": f"Bearer x{TOKEN}"})
        assert refused.status_code == 401
        metrics = (await client.http.get("/metrics")).text
        assert (await client.http.get("/api/threads", params={"q": MESSAGE})).status_code == 200

    told = [json.loads(line) for line in log.getvalue().splitlines()]
    asked = next(line for line in told if line.get("route") == "/api/agent")
    assert (asked["user"], asked["status"]) == ("anna", 200)
    assert 'llmkeep_runs_total{status="success"} 1.0' in metrics
    assert "llmkeep_runs_active 0.0" in metrics
    assert f"llmkeep_events_written_total {len(events)}.0" in metrics
    assert "llmkeep_first_token_seconds_count 1.0" in metrics
    assert 'route="/api/agent"' in metrics
    assert 'llmkeep_tokens_total{kind="input",model="scripted"} 230.0' in metrics
    assert 'llmkeep_tokens_total{kind="output",model="scripted"} 30.0' in metrics
    spans = [
        span
        for span in exporter.get_finished_spans()
        if span.instrumentation_scope is not None and span.instrumentation_scope.name == "llmkeep"
    ]
    run = _named(spans, "invoke_agent llmkeep")
    assert run.attributes is not None
    assert run.attributes["llmkeep.run_id"] == "r1"
    assert run.context is not None
    for name in ("chat scripted", "execute_tool calculator"):
        parent = _named(spans, name).parent
        assert parent is not None
        assert parent.span_id == run.context.span_id
    for text in (log.getvalue(), metrics, *(span.to_json() for span in spans)):
        for word in WORDS:
            assert word not in text


async def test_a_failed_run_is_in_the_log_with_its_ids(start: Any, scripted: Scripted):
    """So that it can be found from what a user sees."""
    log = io.StringIO()
    configure_logging(settings.service, log)
    async with (
        start(models=("openai:scripted",)) as app,
        Client(app.address) as client,
    ):
        scripted.answers = _failing
        async with client.post(run_input("t1", MESSAGE, run_id="r1")) as stream:
            assert [told.kind async for told in stream][-1] == "RUN_ERROR"
        metrics = (await client.http.get("/metrics")).text
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    about = [line for line in told if line.get("run_id") == "r1"]
    assert about
    assert {(line["thread_id"], line["user"]) for line in about} == {("t1", "local")}
    assert 'llmkeep_runs_total{status="error"} 1.0' in metrics
    assert MESSAGE not in log.getvalue()


def _failing(asked: Any) -> Any:
    raise RuntimeError("the provider is broken")


def _named(spans: Iterable[ReadableSpan], name: str) -> ReadableSpan:
    return next(span for span in spans if span.name == name)


async def test_i12_what_a_user_searches_for_is_in_no_span(
    start: Any, exporter: InMemorySpanExporter
):
    """The framework has spans of its own, with whole queries, as soon as there is a provider."""
    async with start(models=("openai:scripted",)) as app, Client(app.address) as client:
        answer = await client.http.get("/api/threads", params={"q": MESSAGE})
        assert answer.status_code == 200
    for span in exporter.get_finished_spans():
        assert MESSAGE not in span.to_json()
