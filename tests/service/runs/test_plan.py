"""What a request comes to: each row of the plan's table, and each refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ag_ui.core import ResumeEntry

from llmkeep.service.errors import Conflict, Invalid, NotFound, ServiceError
from llmkeep.service.records import Message, Run, RunRequest
from llmkeep.service.runs.plan import Facts, Plan, plan
from tests.service.runs.fakes import request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANSWER = ResumeEntry(interrupt_id="i1", status="resolved", payload={"approved": True})


def message(message_id: str, role: Any = "user") -> Message:
    return Message(
        message_id=message_id, parent_id=None, run_id="r0", role=role, content="", created_at=NOW
    )


def run(status: Any, code: str | None = None) -> Run:
    return Run(
        key=1, thread_key=1, user="u", thread_id="t", run_id="r0", fingerprint="", request={},
        status=status, code=code, created_at=NOW,
    )  # fmt: skip


def ids(planned: Plan) -> tuple[list[str], str | None]:
    return [each.id for each in planned.messages], planned.parent_id


def test_unseen_messages_are_appended_in_order():
    """Messages that the thread has are left out, wherever they stand, and none comes twice."""
    asked = request("r1", "m1", "m3", "m2", "m3")

    assert ids(plan(asked, "a1", Facts(known={"m1"}))) == (["m3", "m2"], "a1")


def test_the_first_message_of_a_thread_has_no_parent():
    """An empty thread has no head."""
    assert ids(plan(request("r1", "m1"), None, Facts())) == (["m1"], None)


@pytest.mark.parametrize("parent", ["a1", None])
def test_a_placed_message_is_an_edit(parent: str | None):
    """It hangs under its parent, or begins the conversation anew, whatever the head is."""
    asked = request("r1", "m1", "m9", is_placed=True, parent_id=parent)
    facts = Facts(known={"m1"}, parent=message("a1", "assistant") if parent else None)

    assert ids(plan(asked, "a7", facts)) == (["m9"], parent)


def test_a_placed_request_without_messages_answers_again():
    """A regeneration: the user's message that it names."""
    asked = request("r1", "m1", is_placed=True, parent_id="m1")

    assert ids(plan(asked, "a1", Facts(known={"m1"}, parent=message("m1")))) == ([], "m1")


@pytest.mark.parametrize(
    ("head", "head_run"),
    [
        ("user", run("cancelled", "stopped")),
        ("user", run("success")),
        ("assistant", run("error", "unreachable")),
        ("tool", run("error", "max_steps")),
        ("assistant", run("timeout", "timeout")),
        ("assistant", run("interrupted", "restart")),
        ("tool", run("interrupted", "shutdown")),
    ],
)
def test_an_unanswered_message_is_answered_again(head: str, head_run: Run):
    """Nothing new, but the last message has no answer, or one that was cut by no user."""
    facts = Facts(known={"m1"}, head=message("h", head), head_run=head_run, last_asked="m1")

    assert ids(plan(request("r1", "m1"), "h", facts)) == ([], "m1")


@pytest.mark.parametrize(
    "head_run", [run("success"), run("cancelled", "stopped"), run("interrupted", "approval"), None]
)
def test_nothing_to_answer(head_run: Run | None):
    """An answer that is there, or that the user stopped, is not made again unasked."""
    facts = Facts(known={"m1"}, head=message("a1", "assistant"), head_run=head_run, last_asked="m1")

    assert refusal(request("r1", "m1"), facts) == (Conflict, "nothing_to_answer")


def test_an_empty_thread_has_nothing_to_answer():
    """No message was ever sent."""
    assert refusal(request("r1"), Facts(), None) == (Conflict, "nothing_to_answer")


def test_answers_go_to_a_run_that_waits():
    """The run goes on behind what it said."""
    facts = Facts(
        known={"m1"}, head=message("a1", "assistant"), head_run=run("interrupted", "approval")
    )

    assert ids(plan(request("r1", "m1", resume=(ANSWER,)), "a1", facts)) == ([], "a1")


@pytest.mark.parametrize(
    "head_run", [None, run("success"), run("interrupted", "restart"), run("error", "failed")]
)
def test_answers_to_nothing(head_run: Run | None):
    """No run waits."""
    facts = Facts(head=message("a1", "assistant"), head_run=head_run)

    assert refusal(request("r1", resume=(ANSWER,)), facts) == (Conflict, "not_waiting")


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request("r1", "m1", resume=(ANSWER,)), "invalid_resume"),
        (request("r1", resume=(ANSWER,), is_placed=True, parent_id="m0"), "invalid_resume"),
        (request("r1", is_placed=True, parent_id=None), "invalid_parent"),
    ],
)
def test_what_means_nothing(asked: RunRequest, code: str):
    """Answers together with a message, or a regeneration of nothing."""
    assert refusal(asked, Facts()) == (Invalid, code)


def test_an_unknown_parent():
    """The thread has no such message."""
    asked = request("r1", "m1", is_placed=True, parent_id="elsewhere")

    assert refusal(asked, Facts()) == (NotFound, "parent_unknown")


@pytest.mark.parametrize("role", ["assistant", "tool"])
def test_only_a_users_message_is_answered_again(role: str):
    """A regeneration hangs under what the user said."""
    asked = request("r1", is_placed=True, parent_id="a1")

    assert refusal(asked, Facts(parent=message("a1", role))) == (Conflict, "nothing_to_answer")


def refusal(
    asked: RunRequest, facts: Facts, head: str | None = "h"
) -> tuple[type[ServiceError], str]:
    with pytest.raises(ServiceError) as refused:
        plan(asked, head, facts)
    return type(refused.value), refused.value.code
