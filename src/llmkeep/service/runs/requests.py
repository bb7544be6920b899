"""A request in the form in which it waits in the store: what a restart needs of it.

Of the messages it has only the new ones; who sent it, and how, is in the run's own fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ag_ui.core import ResumeEntry

from llmkeep.service.records import Run, RunRequest, UserMessage


def stored_form(asked: RunRequest, fresh: Sequence[UserMessage]) -> dict[str, Any]:
    """As JSON."""
    return {
        "messages": [{"id": each.id, "content": each.content} for each in fresh],
        "is_placed": asked.is_placed,
        "parent_id": asked.parent_id,
        "resume": [each.model_dump(by_alias=True, exclude_none=True) for each in asked.resume],
    }


def asked_of(run: Run) -> RunRequest:
    """The request of a run that was stored."""
    request = run.request
    return RunRequest(
        thread_id=run.thread_id,
        run_id=run.run_id,
        fingerprint=run.fingerprint,
        messages=tuple(UserMessage(each["id"], each["content"]) for each in request["messages"]),
        resume=tuple(ResumeEntry.model_validate(each) for each in request["resume"]),
        is_placed=request["is_placed"],
        parent_id=request["parent_id"],
        model=run.model,
        on_disconnect=run.on_disconnect,
        multitask_strategy=run.multitask_strategy,
    )
