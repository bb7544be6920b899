"""What a request comes to: which messages are new, and under which one the run hangs.

Pure: no I/O, no clock. The server's own history is the truth: of what a client sends only messages
of the user that the thread does not have are taken, in their order. `placing` finds out what has
to be known.

    is_placed  new messages   answers
    no         some           no        appended to the head
    no         none           no        the last message is answered again, if it has no answer
    yes        some           no        an edit: they hang under `parent_id` (None: they begin anew)
    yes        none           no        a regeneration: `parent_id`, the user's, is answered again
    no         none           some      the run that waits goes on
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, final

from llmkeep.service.errors import Conflict, Invalid, NotFound
from llmkeep.service.records import Message, Run, RunRequest, UserMessage

#: Codes of interrupted runs that nobody is asked to go on with: their answer is missing.
_CUT: Final = frozenset(("restart", "shutdown"))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a plan depends on; a look at one moment."""

    known: Collection[str] = ()
    """Those ids of the request's messages that the thread has."""
    head: Message | None = None
    """The message said last; only looked for where the plan `needs_head`."""
    head_run: Run | None = None
    """The run that said it."""
    parent: Message | None = None
    """The message with the id `parent_id`, where the request is placed."""
    last_asked: str | None = None
    """The id of the user's last message on the path to the head."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where a run hangs, and what it says first."""

    messages: Sequence[UserMessage] = ()
    parent_id: str | None = None
    """The message before the first new one; where there is none, the one that is answered."""


def new_messages(asked: RunRequest, known: Collection[str]) -> tuple[UserMessage, ...]:
    """Those that the thread does not have, each once."""
    seen = set(known)
    fresh: list[UserMessage] = []
    for message in asked.messages:
        if message.id not in seen:
            seen.add(message.id)
            fresh.append(message)
    return tuple(fresh)


def check_form(asked: RunRequest, known: Collection[str]) -> None:
    """Raise Invalid for a request that means nothing, whatever the thread holds."""
    if asked.resume and (asked.is_placed or new_messages(asked, known)):
        raise Invalid(
            "send the answers to what waits alone: a new message declines it",
            code="invalid_resume",
        )
    if asked.is_placed and asked.parent_id is None and not new_messages(asked, known):
        raise Invalid(
            "name the user's message to answer again as parent_message_id, or send a new message",
            code="invalid_parent",
        )


def needs_head(asked: RunRequest, known: Collection[str]) -> bool:
    """Whether the plan depends on the message said last."""
    return bool(asked.resume) or not (asked.is_placed or new_messages(asked, known))


def plan(asked: RunRequest, head_id: str | None, facts: Facts) -> Plan:
    """What the request comes to, in a thread whose last message is `head_id`.

    Raises Invalid, Conflict (`nothing_to_answer`, `not_waiting`) and NotFound
    (`parent_unknown`).
    """
    check_form(asked, facts.known)
    if asked.resume:
        return _resumption(head_id, facts)
    fresh = new_messages(asked, facts.known)
    if asked.is_placed:
        return _placed(asked, fresh, facts)
    if fresh:
        return Plan(messages=fresh, parent_id=head_id)
    return _retry(facts)


def _resumption(head_id: str | None, facts: Facts) -> Plan:
    run = facts.head_run
    if run is None or (run.status, run.code) != ("interrupted", "approval"):
        raise Conflict(
            "nothing waits for an answer here, or no longer: send a message", code="not_waiting"
        )
    return Plan(parent_id=head_id)


def _placed(asked: RunRequest, fresh: Sequence[UserMessage], facts: Facts) -> Plan:
    if asked.parent_id is not None and facts.parent is None:
        raise NotFound(
            "the conversation has no message with this parent_message_id: load its messages again",
            code="parent_unknown",
        )
    if not fresh and (facts.parent is None or facts.parent.role != "user"):
        raise Conflict(
            "only a user's message can be answered again: name one as parent_message_id",
            code="nothing_to_answer",
        )
    return Plan(messages=fresh, parent_id=asked.parent_id)


def _retry(facts: Facts) -> Plan:
    if facts.last_asked is None or not _is_unanswered(facts):
        raise Conflict(
            "all messages of this conversation are answered: send a new one",
            code="nothing_to_answer",
        )
    return Plan(parent_id=facts.last_asked)


def _is_unanswered(facts: Facts) -> bool:
    if facts.head is None or facts.head.role == "user":
        return facts.head is not None
    run = facts.head_run
    if run is None:
        return False
    return run.status in ("error", "timeout") or (run.status == "interrupted" and run.code in _CUT)
