"""Where conversations are remembered: by user and session, in this process unless told otherwise.

The saver here is the default, for development and for conversations that may be forgotten. It is
bounded and says so when it forgets. Give an agent another one with its `checkpointer` property.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.memory import InMemorySaver
from typing_extensions import override

from llmkeep.core import ClientCache, Lease
from llmkeep.core.events import Event, Retired

logger = logging.getLogger(__name__)

UserId = str | int | UUID

#: How many conversations the default saver keeps that nobody is answering in, and for how long.
MAX_CONVERSATIONS: Final = 1000
MAX_IDLE_SECONDS: Final = 24 * 3600.0


def thread_of(user_id: UserId, session_id: str) -> str:
    """The name of a conversation: no two pairs share one, and user 1 is not user "1"."""
    return json.dumps([user_id if isinstance(user_id, str | int) else str(user_id), session_id])


class ConversationMemory(BaseCheckpointSaver[str]):
    """A checkpoint saver in memory that forgets the conversations which were idle for longest.

    For every thread and event loop at once. A forked child starts without memories. `close` one
    that is given up before the process ends.

    Args:
        max_conversations: how many are kept that no run is under way in.
        max_idle: seconds after which a conversation without a run is forgotten.
    """

    def __init__(
        self, *, max_conversations: int = MAX_CONVERSATIONS, max_idle: float = MAX_IDLE_SECONDS
    ) -> None:
        super().__init__()
        self._max_conversations: Final = max_conversations
        self._said = False
        # One saver for each conversation: to forget one is to drop it, whatever the others hold.
        self._conversations: Final = ClientCache[str, InMemorySaver](
            lambda _thread: InMemorySaver(),
            name="conversations",
            label=lambda _thread: "conversation",
            max_idle=max_conversations,
            idle_ttl=max_idle,
        )
        self._conversations.subscribe(self._notice)

    def hold(self, thread_id: str) -> Lease[InMemorySaver]:
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

    def _notice(self, event: Event) -> None:
        if isinstance(event, Retired) and event.reason == "evicted" and not self._said:
            self._said = True
            logger.warning(
                "more than %d conversations: the ones idle for longest are being forgotten. "
                "Give the agent a checkpointer of its own to keep them",
                self._max_conversations,
            )

    # --- the checkpoint saver's interface: each call goes to its conversation's own --------------

    @override
    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        with self.hold(_thread(config)) as saver:
            return saver.get_tuple(config)

    @override
    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        if config is None:
            raise ValueError("name the conversation: config['configurable']['thread_id']")
        with self.hold(_thread(config)) as saver:
            found = [*saver.list(config, filter=filter, before=before, limit=limit)]
        return iter(found)

    @override
    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        with self.hold(_thread(config)) as saver:
            return saver.put(config, checkpoint, metadata, new_versions)

    @override
    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        with self.hold(_thread(config)) as saver:
            saver.put_writes(config, writes, task_id, task_path)

    @override
    def delete_thread(self, thread_id: str) -> None:
        self._conversations.invalidate(thread_id)

    @override
    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        with self.hold(_thread(config)) as saver:
            return saver.get_delta_channel_history(config=config, channels=channels)

    @override
    def get_next_version(self, current: str | None, channel: None) -> str:
        return _VERSIONS.get_next_version(current, channel)

    # Nothing here waits for anything, so a loop may run it as it is.

    @override
    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self.get_tuple(config)

    @override
    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        for each in self.list(config, filter=filter, before=before, limit=limit):
            yield each

    @override
    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self.put(config, checkpoint, metadata, new_versions)

    @override
    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self.put_writes(config, writes, task_id, task_path)

    @override
    async def adelete_thread(self, thread_id: str) -> None:
        self.delete_thread(thread_id)

    @override
    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self.get_delta_channel_history(config=config, channels=channels)


#: Asked for version numbers alone.
_VERSIONS: Final = InMemorySaver()


def _thread(config: RunnableConfig) -> str:
    return str(config["configurable"]["thread_id"])


#: The default saver, one for the process.
SHARED_MEMORY: Final = ConversationMemory()
