"""Where conversations are remembered: by user and session, in this process unless told otherwise.

The saver here is the default, for development and for conversations that may be forgotten. It is
bounded and says so when it forgets. Give an agent another one with its `checkpointer` property.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, final
from uuid import UUID

from langgraph.checkpoint.base import ChannelVersions
from langgraph.checkpoint.memory import InMemorySaver
from typing_extensions import override

from llmkeep.core import ClientCache, Lease
from llmkeep.core.events import Event, Retired

from .leased_saver import LeasedSaver
from .pruning import Row, row_of, superseded

logger = logging.getLogger(__name__)

UserId = str | int | UUID

#: How many conversations the default saver keeps that nobody is answering in, and for how long.
MAX_CONVERSATIONS: Final = 1000
MAX_IDLE_SECONDS: Final = 24 * 3600.0


def thread_of(user_id: UserId, session_id: str) -> str:
    """The name of a conversation: no two pairs share one, and user 1 is not user "1".

    A UUID is its text.
    """
    return json.dumps([user_id if isinstance(user_id, str | int) else str(user_id), session_id])


class ConversationMemory(LeasedSaver):
    """A checkpoint saver in memory that forgets the conversations which were idle for longest.

    For every thread and event loop at once. A forked child starts without memories. `close` one
    that is given up before the process ends.

    Args:
        max_conversations: how many are kept that no run is under way in.
        idle_ttl: seconds after which a conversation without a run is forgotten.
    """

    def __init__(
        self, *, max_conversations: int = MAX_CONVERSATIONS, idle_ttl: float = MAX_IDLE_SECONDS
    ) -> None:
        super().__init__()
        self._max_conversations: Final = max_conversations
        self._idle_ttl: Final = idle_ttl
        self._said = False
        # One saver for each conversation: to forget one is to drop it, whatever the others hold.
        self._conversations: Final = ClientCache[str, ConversationSaver](
            lambda _thread: ConversationSaver(),
            name="conversations",
            label=lambda _thread: "conversation",
            max_idle=max_conversations,
            idle_ttl=idle_ttl,
        )
        self._conversations.subscribe(self._notice)

    def hold(self, thread_id: str) -> Lease[ConversationSaver]:
        """Keep a conversation from being forgotten, for the length of a `with` statement."""
        return self._conversations.lease(thread_id)

    def count(self) -> int:
        """How many conversations are remembered. Not `len`: an empty saver would count as none."""
        return self._conversations.stats().live

    def clear(self) -> None:
        """Forget every conversation."""
        self._conversations.clear()

    def close(self) -> None:
        """Forget every conversation, and take no more."""
        self._conversations.close()

    @override
    def delete_thread(self, thread_id: str) -> None:
        self._conversations.invalidate(thread_id)

    @override
    async def adelete_thread(self, thread_id: str) -> None:
        self.delete_thread(thread_id)

    @override
    def _lease(self, thread_id: str | None) -> Lease[ConversationSaver]:
        if thread_id is None:
            raise ValueError("name the conversation: config['configurable']['thread_id']")
        return self.hold(thread_id)

    @override
    def _alease(self, thread_id: str | None) -> _AtOnce:
        return _AtOnce(self._lease(thread_id))

    def _notice(self, event: Event) -> None:
        forgets = isinstance(event, Retired) and event.reason in ("evicted", "idle", "age")
        if forgets and not self._said:
            self._said = True
            logger.warning(
                "conversations are being forgotten: those without a message for %g s, and beyond "
                "%d the ones idle for longest. Give the agent a checkpointer of its own to keep "
                "them",
                self._idle_ttl,
                self._max_conversations,
            )


@final
class ConversationSaver(InMemorySaver):
    """The saver of one conversation; lives until that is forgotten."""

    @override
    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        # Without a lock: whatever is put meanwhile follows a checkpoint that stays.
        for thread, spaces in [*self.storage.items()]:
            found = self._checkpoints(spaces)
            gone = superseded(row for row, _ in found.values())
            kept = {
                (namespace, *version)
                for (namespace, name), (_, versions) in found.items()
                if (namespace, name) not in gone
                for version in versions.items()
            }
            for namespace, name in gone:
                for version in found[namespace, name][1].items():
                    if (namespace, *version) not in kept:
                        self.blobs.pop((thread, namespace, *version), None)
                self.writes.pop((thread, namespace, name), None)
                del spaces[namespace][name]
                if not spaces[namespace]:
                    del spaces[namespace]

    def _checkpoints(
        self, spaces: Mapping[str, Mapping[str, Any]]
    ) -> dict[tuple[str, str], tuple[Row, ChannelVersions]]:
        """What is stored, by namespace and id, with the versions of the values that it is of."""
        found = {}
        for namespace, space in [*spaces.items()]:
            for name, (checkpoint, metadata, parent) in [*space.items()]:
                row = row_of(namespace, name, parent, self.serde.loads_typed(metadata))
                versions = self.serde.loads_typed(checkpoint)["channel_versions"]
                found[namespace, name] = row, versions
        return found

    @override
    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self.prune(thread_ids, strategy=strategy)


@final
class _AtOnce(AbstractAsyncContextManager[ConversationSaver]):
    """A lease that is entered without waiting: making a saver in memory takes no time.

    A loop may do it as it is, and its calls are done in one step.
    """

    def __init__(self, lease: Lease[ConversationSaver]) -> None:
        self._lease = lease

    @override
    async def __aenter__(self) -> ConversationSaver:
        return self._lease.__enter__()

    @override
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lease.__exit__(kind, error, trace)


#: The default saver, one for the process.
SHARED_MEMORY: Final = ConversationMemory()
