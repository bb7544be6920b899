"""What an edition for several processes fills: where things are kept, and how limits are counted.

`storage.sqlite_store` and `users.limits` fill them for one process with a data folder of its own.
A PostgreSQL edition fills `Store`; a Redis one `Limiter`, and carries the frames of live runs
between processes (`runs.live_run` is the place: it holds them in this process).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, final

from .records import Frame, Message, Principal, Run, RunRequest, Thread, ThreadPage


@final
@dataclass(frozen=True, slots=True)
class EventsAdded:
    """Events of a run, in their order."""

    run: int
    """The run's `key`."""
    frames: Sequence[Frame]


@final
@dataclass(frozen=True, slots=True)
class MessagesPut:
    """Messages of a thread: added, or, where the id is there, replaced.

    The last of them becomes the thread's head, and the thread is active now. Sets `is_branched`
    where another message has the same parent.
    """

    thread: int
    messages: Sequence[Message]


@final
@dataclass(frozen=True, slots=True)
class RunChanged:
    """Fields of `records.Run` that have changed."""

    run: int
    fields: Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True)
class TitleGiven:
    """An automatic title, which counts only where nobody has given one."""

    thread: int
    title: str


Change = EventsAdded | MessagesPut | RunChanged | TitleGiven


class Store(Protocol):
    """Where threads, messages, runs and events are kept. Safe for many tasks of one loop.

    Each method is one transaction; nothing that is cancelled leaves half of one.
    """

    # --- threads: those of `user` alone; deleted ones are not found, unless it says so ---

    async def thread(self, user: str, thread_id: str, *, deleted: bool = False) -> Thread | None:
        """The thread; with `deleted` also one whose undo time is not over."""

    async def open_thread(
        self,
        user: str,
        thread_id: str,
        *,
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[Thread, bool]:
        """The thread, and whether it was made now. A deleted one comes with `deleted_at`."""

    async def threads(
        self, user: str, *, limit: int, cursor: str | None = None, query: str = ""
    ) -> ThreadPage:
        """Newest activity first; `query` is looked for in titles and messages.

        Raises Invalid for a cursor that is none.
        """

    async def rename_thread(self, thread: Thread, title: str) -> Thread:
        """Give it a title that automatic ones do not replace."""

    async def delete_thread(self, thread: Thread, at: datetime) -> None:
        """Hide it; `purge` ends it."""

    async def restore_thread(self, thread: Thread) -> Thread:
        """Undo that."""

    async def threads_deleted_before(self, moment: datetime) -> Sequence[Thread]:
        """Those whose undo time is over."""

    async def purge_thread(self, thread: Thread) -> None:
        """Delete it with messages, runs and events, unless it has been restored."""

    # --- messages ---

    async def messages(self, thread: Thread) -> Sequence[Message]:
        """All, of all branches, oldest first; `model` and `usage` come from their runs."""

    async def message(self, thread: Thread, message_id: str) -> Message | None:
        """One."""

    async def path(self, thread: Thread, message_id: str | None) -> Sequence[Message]:
        """From the first message down to this one; empty for None."""

    async def known_messages(self, thread: Thread, ids: Sequence[str]) -> frozenset[str]:
        """Which of these ids there are."""

    async def ids_beside(self, thread: Thread, message_id: str | None) -> frozenset[str]:
        """Ids of messages and of their calls that are not on the path to this one."""

    # --- runs ---

    async def run(self, user: str, thread_id: str, run_id: str) -> Run | None:
        """One; None also where its thread is deleted."""

    async def add_run(
        self, thread: Thread, asked: RunRequest, *, request: Mapping[str, Any], model: str | None
    ) -> tuple[Run, bool]:
        """A pending run, and whether it was added now."""

    async def runs(self, thread: Thread, *, limit: int) -> Sequence[Run]:
        """Newest first."""

    async def last_run(self, thread: Thread) -> Run | None:
        """The newest that has begun."""

    async def unfinished_runs(self) -> Sequence[Run]:
        """Of all users, oldest first: what a process that was killed has left."""

    async def tokens_since(self, user: str, moment: datetime) -> int:
        """The tokens of the user's runs that were made since then."""

    # --- events ---

    async def events(self, run: Run, *, after: int, limit: int) -> Sequence[Frame]:
        """The events behind number `after`; `is_terminal` is true of the last of an ended run."""

    async def runs_to_compact(self, ended_before: datetime, *, limit: int) -> Sequence[Run]:
        """Ended runs whose events are still there."""

    async def compact_run(self, run: Run) -> None:
        """Drop its events but the first and the last."""

    # --- writing, in one transaction, in order ---

    async def write(self, changes: Sequence[Change]) -> None:
        """All of them or none."""

    # --- the store itself ---

    async def check(self) -> None:
        """Whether it can be read and written. Raises Unavailable, which says why not."""

    async def version(self) -> tuple[str, str]:
        """Which version of the tables there is, and which one this code writes."""

    async def close(self) -> None:
        """End it."""


class Limiter(Protocol):
    """Counts what a user does."""

    async def take_request(self, who: Principal) -> None:
        """One more request. Raises TooMany."""

    async def check_run(self, who: Principal, *, running: int, characters: int) -> None:
        """Whether one more run may start. Raises TooMany and TooLarge."""
