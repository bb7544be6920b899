"""Spans of runs, calls of models and of tools; and that there are none without OpenTelemetry."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from contextlib import AbstractContextManager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from llmkeep.agents.observing import Step
from llmkeep.service.observability import Tracing, make_tracing
from llmkeep.service.observability import tracing as tracing_module
from tests.support.scripted import Scripted
from tests.support.scripted_agent import Agent
from tests.support.scripted_talk import ask
from tests.support.scripted_wire import Call, Text, Usage
from tests.support.served import served

MESSAGE = "the-patient-has-a-rare-disease"


class Spans:
    """What was traced."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def one(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self.all() if span.name == name)
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


async def test_a_run_is_a_tree_of_what_it_calls(spans: Spans, scripted: Scripted):
    """Names, ids, tokens and outcomes; not a word of what was said."""

    class Traced(Agent):
        def _observe(self, step: Step) -> AbstractContextManager[object]:
            return spans.tracing.step(step)

        def _get_parameters(self, provider: str) -> dict[str, Any]:
            return {"stream_usage": True}

    scripted.say(Call(0, "c1", "add", '{"a": 19740523}'), Usage(100, 20))
    scripted.say(Text("An answer-about-the-disease."), Usage(130, 10))
    agent = Traced("anna", None)
    with spans.tracing.run(run_id="r1", thread_id="t1", model="openai:gpt-5-mini"):
        await ask(agent, MESSAGE)
    run = spans.one("invoke_agent llmkeep")
    tool = spans.one("execute_tool add")
    models = [span for span in spans.all() if span.name.startswith("chat ")]
    assert run.context is not None
    for span in (tool, *models):
        assert span.parent is not None
        assert span.parent.span_id == run.context.span_id
    assert run.attributes is not None
    assert run.attributes["llmkeep.run_id"] == "r1"
    assert run.attributes["gen_ai.conversation.id"] == "t1"
    assert run.attributes["gen_ai.provider.name"] == "openai"
    assert tool.attributes is not None
    assert dict(tool.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "add",
        "gen_ai.tool.call.id": "c1",
        "llmkeep.status": "success",
    }
    assert len(models) == 2
    assert [_attribute(span, "gen_ai.usage.input_tokens") for span in models] == [100, 130]
    assert [_attribute(span, "gen_ai.usage.output_tokens") for span in models] == [20, 10]
    told = "".join(span.to_json() for span in spans.all())
    for said in (MESSAGE, "19740523", "answer-about-the-disease", "anna"):
        assert said not in told


def test_a_failure_is_told_by_its_type_alone(spans: Spans):
    """Its text may quote what was said."""
    step = Step("model", "openai:gpt-5")
    with pytest.raises(ValueError, match=MESSAGE), spans.tracing.step(step):
        raise ValueError(MESSAGE)
    failed = spans.one("chat gpt-5")
    assert failed.status.status_code is StatusCode.ERROR
    assert _attribute(failed, "error.type") == "ValueError"
    assert MESSAGE not in failed.to_json()


def test_a_tool_that_failed_and_a_stop_are_told_apart(spans: Spans):
    """The one is an error without an exception, the other an exception without an error."""
    step = Step("tool", "add", "c1")
    with spans.tracing.step(step):
        step.status = "error"
    with (
        pytest.raises(asyncio.CancelledError),
        spans.tracing.run(run_id="r", thread_id="t", model=None),
    ):
        raise asyncio.CancelledError
    assert spans.one("execute_tool add").status.status_code is StatusCode.ERROR
    stopped = spans.one("invoke_agent llmkeep")
    assert stopped.status.status_code is StatusCode.UNSET
    assert _attribute(stopped, "llmkeep.status") == "cancelled"


def test_without_being_asked_nothing_is_traced(monkeypatch: pytest.MonkeyPatch):
    """Neither a provider of the application nor a collector in the environment: no span."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    tracing = make_tracing()
    assert not tracing.is_on
    with tracing.run(run_id="r", thread_id="t", model=None) as run, tracing.step(Step("tool", "x")):
        assert run is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not make_tracing().is_on


async def test_a_collector_of_the_environment_is_sent_the_spans(monkeypatch: pytest.MonkeyPatch):
    """By OTLP over HTTP, the last ones when tracing is closed."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: list[str] = []

    async def collector(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        request = ExportTraceServiceRequest.FromString(body)
        received.extend(
            span.name
            for resource in request.resource_spans
            for scoped in resource.scope_spans
            for span in scoped.spans
        )
        assert b"llmkeep" in body
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with served(collector) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        tracing = make_tracing()
        assert tracing.is_on
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider), "not ours to set"
        with tracing.run(run_id="r", thread_id="t", model=None):
            pass
        await tracing.aclose()
    assert received == ["invoke_agent llmkeep"]


async def test_a_collector_that_does_not_answer_keeps_nobody_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """OpenTelemetry would wait for half a minute."""
    monkeypatch.setattr(tracing_module, "LAST_SEND", 0.05)
    may_end = threading.Event()

    class Stuck:
        def get_tracer(self, *names: Any) -> Any:
            return TracerProvider(shutdown_on_exit=False).get_tracer("x")

        def shutdown(self) -> None:
            may_end.wait()

    stuck: Any = Stuck()
    tracing = Tracing(stuck, owned=stuck)
    try:
        await tracing.aclose()
    finally:
        may_end.set()
    assert "the last ones are lost" in caplog.text


def test_a_provider_of_the_application_is_used(monkeypatch: pytest.MonkeyPatch):
    """Whatever the environment says; it is not ours to close."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing = make_tracing()
    with tracing.run(run_id="r", thread_id="t", model=None):
        pass
    asyncio.run(tracing.aclose())
    assert len(exporter.get_finished_spans()) == 1


def test_without_the_package_nothing_happens(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    """But where a collector is named, the log says what is missing."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with caplog.at_level(logging.WARNING):
        assert not make_tracing().is_on
        assert caplog.text == ""
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        assert not make_tracing().is_on
    assert "pip install" in caplog.text


def _attribute(span: ReadableSpan, name: str) -> Any:
    assert span.attributes is not None
    return span.attributes.get(name)
