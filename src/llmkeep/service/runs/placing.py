"""Placing: what the store knows for a plan, and what the agent is given for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from ag_ui.core import ResumeEntry
from langchain_core.messages import BaseMessage, HumanMessage

from llmkeep.agents import Turn
from llmkeep.service.errors import Conflict
from llmkeep.service.interfaces import Store
from llmkeep.service.records import Message, Run, RunRequest, Thread

from .plan import Facts, Plan, check_form, needs_head, new_messages, plan
from .titles import title_of


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a run hangs, now that its turn has come."""

    plan: Plan
    title: str = ""
    """For its thread, where that has none."""
    taken: Collection[str] = ()
    """Ids of the thread that are not on the path to where it hangs."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Calls of other branches that wait for an answer, and the message under which that hangs."""
    is_cut: bool = False
    """Whether the run before did not come to its end: its last message may be less than the agent
    remembers of it."""


@final
class Placer:
    """Finds out where runs hang. Lives as long as the service."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    async def at_request(self, thread: Thread | None, asked: RunRequest) -> Placed:
        """Where it hangs in a thread in which nothing runs. Raises what `plan` raises."""
        return await self._placed(thread, asked, await self._known(thread, asked))

    async def behind_others(
        self, thread: Thread | None, asked: RunRequest, ahead: Collection[str]
    ) -> Plan:
        """What of it is new, where others run in the thread: where it hangs is not known yet.

        `ahead` are ids of messages that those have said, or will. Raises Invalid.
        """
        known = await self._known(thread, asked) | frozenset(ahead)
        check_form(asked, known)
        return Plan(messages=new_messages(asked, known))

    async def at_turn(self, run: Run, asked: RunRequest) -> Placed:
        """Where it hangs now that all before it has ended. Raises what `plan` raises."""
        thread = await self._store.thread(run.user, run.thread_id)
        if thread is None:
            raise Conflict(
                "this conversation has been deleted: restore it first", code="thread_deleted"
            )
        return await self._placed(thread, asked, await self._known(thread, asked))

    async def _known(self, thread: Thread | None, asked: RunRequest) -> frozenset[str]:
        ids = [message.id for message in asked.messages]
        if thread is None or not ids:
            return frozenset()
        return await self._store.known_messages(thread, ids)

    async def _placed(
        self, thread: Thread | None, asked: RunRequest, known: frozenset[str]
    ) -> Placed:
        head_id = thread.head_id if thread is not None else None
        facts = await self._facts(thread, asked, known)
        placed = plan(asked, head_id, facts)
        is_first = head_id is None and not (thread is not None and thread.title)
        return Placed(
            plan=placed,
            title=title_of(placed.messages) if is_first else "",
            taken=await self._taken(thread, placed.parent_id),
            elsewhere=await self._elsewhere(thread, placed.parent_id),
            is_cut=thread is not None and thread.last_status not in (None, "success"),
        )

    async def _facts(
        self, thread: Thread | None, asked: RunRequest, known: frozenset[str]
    ) -> Facts:
        if thread is None:
            return Facts(known=known)
        parent = head = head_run = last_asked = None
        if asked.is_placed and asked.parent_id is not None:
            parent = await self._store.message(thread, asked.parent_id)
        if needs_head(asked, known) and thread.head_id is not None:
            path = await self._store.path(thread, thread.head_id)
            head = path[-1]
            head_run = await self._store.run(thread.user, thread.thread_id, head.run_id)
            last_asked = next((m.message_id for m in reversed(path) if m.role == "user"), None)
        return Facts(
            known=known, head=head, head_run=head_run, parent=parent, last_asked=last_asked
        )

    async def _taken(self, thread: Thread | None, parent_id: str | None) -> frozenset[str]:
        if thread is None or not (thread.is_branched or parent_id != thread.head_id):
            return frozenset()
        return await self._store.ids_beside(thread, parent_id)

    async def _elsewhere(self, thread: Thread | None, parent_id: str | None) -> Mapping[str, str]:
        """The agent declines what waits, when a conversation goes on from somewhere else."""
        if thread is None or thread.last_status != "interrupted" or parent_id == thread.head_id:
            return {}
        on_path = {each.message_id for each in await self._store.path(thread, parent_id)}
        everything = await self._store.messages(thread)
        answers = {each.tool_call_id: each.message_id for each in everything}
        hung: dict[str, str] = {}
        for message in everything:
            if message.message_id not in on_path:
                last = [answers[call.id] for call in message.calls if call.id in answers]
                under = last[-1] if last else message.message_id
                hung |= {call.id: under for call in message.calls if call.id not in answers}
        return hung

    # --- what the agent is given --------------------------------------------------------------

    def question(
        self, thread: Thread, asked: RunRequest, placed: Placed
    ) -> Turn | Sequence[ResumeEntry]:
        """What the agent shall answer."""
        if asked.resume:
            return asked.resume
        parent_id = placed.plan.parent_id

        async def load() -> Sequence[BaseMessage]:
            from llmkeep.service.agent import messages_of

            return messages_of(await self._history(thread, parent_id))

        return Turn(
            messages=[HumanMessage(each.content, id=each.id) for each in placed.plan.messages],
            head=parent_id,
            load=load,
            taken=placed.taken,
            is_cut=placed.is_cut,
        )

    async def _history(self, thread: Thread, head_id: str | None) -> Sequence[Message]:
        """The path down to there, with the answers to its calls, wherever they hang."""
        path = await self._store.path(thread, head_id)
        answered = {message.tool_call_id for message in path}
        missing = {call.id for message in path for call in message.calls} - answered
        if not missing:
            return path
        all_messages = await self._store.messages(thread)
        return [*path, *(each for each in all_messages if each.tool_call_id in missing)]
