"""Turns: the runs of one conversation go one after the other, in the order in which they came.

LangGraph lets two runs of one thread work at once, and then stores one of them alone. A turn is an
exclusive lease on the conversation, which the core hands out first come first served across
threads, tasks and event loops of this process.
"""

from __future__ import annotations

from typing import Final

from langgraph.checkpoint.base import BaseCheckpointSaver

from llmkeep.core import ClientCache, Lease, Scope

_turns: Final = ClientCache[str, None](
    lambda _key: None,
    scope=Scope.exclusive(1),
    name="turns",
    label=lambda _key: "conversation",
)


def turn(saver: BaseCheckpointSaver[str], thread_id: str) -> Lease[None]:
    """The right to run in a conversation, for the length of an `async with` statement.

    Raises WouldDeadlock in a run that waits for its own end.
    """
    # The saver counts as itself: whoever has the turn holds it, so that no other has its id.
    return _turns.lease(f"{id(saver)} {thread_id}")
