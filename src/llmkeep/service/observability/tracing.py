"""Traces: a span for each run, call of a model and call of a tool, where OpenTelemetry is set up.

That is where the application has set a tracer provider, or the environment names a collector
(`OTEL_EXPORTER_OTLP_ENDPOINT`). Else, or without the package, nothing happens. Names are those of
OpenTelemetry's conventions for generative AI. No span has a message, an argument, a result or an
exception's text: its type says what failed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

import llmkeep
from llmkeep.agents.observing import Step

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as OwnProvider
    from opentelemetry.trace import Span, TracerProvider

logger = logging.getLogger(__name__)

#: Seconds that a collector gets to take what is left at the end.
LAST_SEND: Final = 3.0

#: Variables of OpenTelemetry that name a collector.
_COLLECTOR: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing:
    """Makes spans; without a provider, none."""

    def __init__(
        self, provider: TracerProvider | None = None, *, owned: OwnProvider | None = None
    ) -> None:
        self._tracer: Final = (
            provider.get_tracer("llmkeep", llmkeep.__version__) if provider is not None else None
        )
        self._owned: Final = owned

    @property
    def is_on(self) -> bool:
        """Whether there are spans at all."""
        return self._tracer is not None

    def run(
        self, *, run_id: str, thread_id: str, model: str | None
    ) -> AbstractContextManager[object]:
        """The span of a run, and the parent of what is called in it."""
        if self._tracer is None:
            return nullcontext()
        provider, _, name = (model or "").rpartition(":")
        return self._span(
            "invoke_agent llmkeep",
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": "llmkeep",
                "gen_ai.conversation.id": thread_id,
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": name,
                "llmkeep.run_id": run_id,
            },
        )

    def step(self, step: Step) -> AbstractContextManager[object]:
        """The span of a call: what `StatefulAgent._observe` is for."""
        if self._tracer is None:
            return nullcontext()
        return self._call(step)

    async def aclose(self) -> None:
        """Send what is left to the collector, if it was ours to find, within `LAST_SEND`."""
        if self._owned is not None:
            await _within(LAST_SEND, self._owned.shutdown)

    @contextmanager
    def _call(self, step: Step) -> Iterator[None]:
        if step.kind == "model":
            provider, _, model = step.name.rpartition(":")
            name = f"chat {model}"
            attributes = {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": model,
            }
        else:
            name = f"execute_tool {step.name}"
            attributes = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": step.name,
                "gen_ai.tool.call.id": step.call_id,
            }
        with self._span(name, attributes) as span:
            try:
                yield
            finally:
                _tell_outcome(span, step)

    @contextmanager
    def _span(self, name: str, attributes: Mapping[str, Any]) -> Iterator[Span]:
        """A span that is the current one within, and says no more of an exception than its type."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        assert self._tracer is not None
        with self._tracer.start_as_current_span(
            name,
            kind=SpanKind.CLIENT if name.startswith("chat ") else SpanKind.INTERNAL,
            attributes={key: value for key, value in attributes.items() if value},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except asyncio.CancelledError:
                span.set_attribute("llmkeep.status", "cancelled")
                raise
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
                raise


async def _within(seconds: float, work: Callable[[], object]) -> None:
    """Do it on a thread of its own, which is left to itself when the time is over.

    OpenTelemetry waits half a minute for a collector that is not there. A thread of the loop's pool
    would be waited for at the loop's end.
    """
    loop, has_ended = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(has_ended.set)

    threading.Thread(target=run, name="llmkeep-traces", daemon=True).start()
    try:
        await asyncio.wait_for(has_ended.wait(), seconds)
    except TimeoutError:
        logger.warning("the collector of traces does not answer: the last ones are lost")


def make_tracing() -> Tracing:
    """Tracing as the application or the environment has set it up."""
    try:
        from opentelemetry import trace
    except ImportError:
        if _is_asked_for():
            _tell_missing()
        return Tracing()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, trace.ProxyTracerProvider):
        return Tracing(provider)
    if not _is_asked_for():
        return Tracing()
    try:
        own = _exporting()
    except ImportError:
        _tell_missing()
        return Tracing()
    return Tracing(own, owned=own)


def _exporting() -> OwnProvider:
    """A provider of ours, which sends to the environment's collector. Raises ImportError."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "llmkeep"}
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _is_asked_for() -> bool:
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not is_off and any(os.environ.get(name) for name in _COLLECTOR)


def _tell_missing() -> None:
    logger.warning(
        "%s is set, but OpenTelemetry is not installed: pip install opentelemetry-sdk "
        "opentelemetry-exporter-otlp-proto-http",
        " or ".join(_COLLECTOR),
    )


def _tell_outcome(span: Span, step: Step) -> None:
    """What came of a call, in numbers and in a word."""
    for name, count in step.usage.items():
        if name in ("input_tokens", "output_tokens"):
            span.set_attribute(f"gen_ai.usage.{name}", count)
    if step.status:
        span.set_attribute("llmkeep.status", step.status)
    if step.status == "error":
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR))
