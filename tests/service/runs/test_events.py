"""The service's own events: what a terminal event means for its run."""

from __future__ import annotations

from ag_ui.core import RunFinishedEvent, RunFinishedSuccessOutcome

from llmkeep.service.runs import events as told
from llmkeep.service.runs.events import fields_of
from tests.service.runs.fakes import failed, interrupted, usage


def test_what_a_terminal_event_means():
    """Status and code of a run follow from its last event, and from who stopped it."""
    success = RunFinishedEvent(
        thread_id="t", run_id="r", outcome=RunFinishedSuccessOutcome(), usage=[usage(4), usage(5)]
    )

    def meaning(end: told.Terminal, stop: str | None = None) -> tuple[object, ...]:
        fields = fields_of(end, stop)
        return fields["status"], fields.get("code"), fields["tokens"]

    assert meaning(success) == ("success", None, 11)
    assert meaning(RunFinishedEvent(thread_id="t", run_id="r")) == ("success", None, 0)
    assert meaning(told.cancelled("t", "r", success), "superseded") == (
        "cancelled", "superseded", 11,
    )  # fmt: skip
    assert meaning(interrupted("c1")) == ("interrupted", "approval", 0)
    assert meaning(failed(code="unreachable")) == ("error", "unreachable", 0)
    assert meaning(told.ended("timeout", success)) == ("timeout", "timeout", 11)
    assert meaning(told.ended("shutdown")) == ("interrupted", "shutdown", 0)
    assert meaning(told.ended("interrupted")) == ("interrupted", "restart", 0)
    assert meaning(told.ended("unstored")) == ("error", "internal", 0)
    assert fields_of(success)["usage"][0]["inputTokens"] == 4
