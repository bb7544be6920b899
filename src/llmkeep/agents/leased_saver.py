"""`LeasedSaver`: a checkpoint saver for every thread and event loop, made of savers that are not.

Each call leases the saver that does the work, for as long as it works. Which saver that is (the
running loop's, the conversation's) is for the subclass to say; nothing is stored here.
"""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Final

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

Saver = BaseCheckpointSaver[str]

#: How to prune: keep what something can go on from (see `pruning`), or nothing.
KEEP_LATEST: Final = "keep_latest"
DELETE: Final = "delete"

#: Asked for version numbers alone; the savers that are leased number in the same way.
_VERSIONS: Final = InMemorySaver()


class LeasedSaver(Saver, ABC):
    """Hands every call to a leased saver.

    What is listed is read to the end first, so that nobody waits for its reader. Copying
    conversations and deleting by run raise NotImplementedError, as in the savers that are leased.
    """

    @abstractmethod
    def _lease(self, thread_id: str | None) -> AbstractContextManager[Saver]:
        """The saver for a conversation, for a synchronous call; None: for all conversations.

        Raises ValueError where one has to be named.
        """

    @abstractmethod
    def _alease(self, thread_id: str | None) -> AbstractAsyncContextManager[Saver]:
        """The same for an asynchronous call."""

    # --- reading -----------------------------------------------------------------------------

    @override
    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        with self._lease(thread_in(config)) as saver:
            return saver.get_tuple(config)

    @override
    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        async with self._alease(thread_in(config)) as saver:
            return await saver.aget_tuple(config)

    @override
    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        with self._lease(None if config is None else thread_in(config)) as saver:
            return iter([*saver.list(config, filter=filter, before=before, limit=limit)])

    @override
    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        async with self._alease(None if config is None else thread_in(config)) as saver:
            listed = saver.alist(config, filter=filter, before=before, limit=limit)
            found = [each async for each in listed]
        for each in found:
            yield each

    @override
    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        with self._lease(thread_in(config)) as saver:
            return saver.get_delta_channel_history(config=config, channels=channels)

    @override
    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        async with self._alease(thread_in(config)) as saver:
            return await saver.aget_delta_channel_history(config=config, channels=channels)

    @override
    def get_next_version(self, current: str | None, channel: None) -> str:
        return _VERSIONS.get_next_version(current, channel)

    # --- writing -----------------------------------------------------------------------------

    @override
    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        with self._lease(thread_in(config)) as saver:
            return saver.put(config, checkpoint, metadata, new_versions)

    @override
    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        async with self._alease(thread_in(config)) as saver:
            return await saver.aput(config, checkpoint, metadata, new_versions)

    @override
    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        with self._lease(thread_in(config)) as saver:
            saver.put_writes(config, writes, task_id, task_path)

    @override
    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        async with self._alease(thread_in(config)) as saver:
            await saver.aput_writes(config, writes, task_id, task_path)

    @override
    def delete_thread(self, thread_id: str) -> None:
        with self._lease(thread_id) as saver:
            saver.delete_thread(thread_id)

    @override
    async def adelete_thread(self, thread_id: str) -> None:
        async with self._alease(thread_id) as saver:
            await saver.adelete_thread(thread_id)

    @override
    def prune(self, thread_ids: Sequence[str], *, strategy: str = KEEP_LATEST) -> None:
        for thread_id in _checked(thread_ids, strategy):
            if strategy == DELETE:
                self.delete_thread(thread_id)
                continue
            with self._lease(thread_id) as saver:
                saver.prune([thread_id])

    @override
    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = KEEP_LATEST) -> None:
        for thread_id in _checked(thread_ids, strategy):
            if strategy == DELETE:
                await self.adelete_thread(thread_id)
                continue
            async with self._alease(thread_id) as saver:
                await saver.aprune([thread_id])


def thread_in(config: RunnableConfig) -> str:
    """The name of the conversation that is meant."""
    return str(config["configurable"]["thread_id"])


def _checked(thread_ids: Sequence[str], strategy: str) -> builtins.list[str]:
    if isinstance(thread_ids, str):
        raise TypeError("thread_ids is one name: give a list of names")
    if strategy not in (KEEP_LATEST, DELETE):
        raise ValueError(f"unknown strategy {strategy!r}: {KEEP_LATEST} or {DELETE}")
    return [*thread_ids]
