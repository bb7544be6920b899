"""`Runs`: the runs of all users, from the request to the last reader."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self, final

from llmkeep.service.errors import Conflict, NotFound, Unavailable
from llmkeep.service.interfaces import Store
from llmkeep.service.records import UNFINISHED, Run, RunRequest, Thread

from .journal import Journal
from .live_run import PATIENCE, Handlers, LiveRun, Surroundings
from .mending import Mender, RunKey, key_of
from .placing import Placed, Placer
from .queueing import Line, Lines
from .readers import Reader
from .recovery import mend, recover
from .requests import stored_form
from .watching import Metrics, ProviderStatus, Watcher

logger = logging.getLogger(__name__)

#: Seconds that `reject` waits for a run that is just ending.
REJECT_PATIENCE: Final = 2.0

#: Seconds in which the connection of a request has to begin to read its run.
STARTER_PATIENCE: Final = 10.0

ThreadKey = tuple[str, str]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@final
class Runs:
    """Lives as long as the service: an asynchronous context manager, on one loop.

    Entering it ends what a killed process left; leaving it ends everything.

    Args:
        store: where all is kept; not closed here.
        handlers: gives the agents.
        run_timeout: seconds that a run may take from its turn on.
        write_interval: seconds between two transactions of the journal, where several runs write.
        patience: seconds that a run gets to end when it is stopped.
        metrics: told what happens.
        around: entered around each run, in its task.
        now: the time, with its zone.
    """

    def __init__(
        self,
        store: Store,
        handlers: Handlers,
        *,
        run_timeout: float = 600.0,
        write_interval: float = 0.015,
        patience: float = PATIENCE,
        metrics: Metrics | None = None,
        around: Callable[[Run], AbstractContextManager[object]] | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._store: Final = store
        self._handlers: Final = handlers
        self._now: Final = now
        self._watcher: Final = Watcher(metrics)
        self._placer: Final = Placer(store)
        self._journal: Final = Journal(store, interval=write_interval, watcher=self._watcher)
        self._lines: Final = Lines()
        self._live: Final[dict[RunKey, LiveRun]] = {}
        self._counts: Final[Counter[str]] = Counter()
        self._starting: Final[dict[asyncio.Task[Run], RunKey]] = {}
        self._unstored: Final = Mender(lambda run: mend(store, self._placer, run, now))
        self._is_draining = False
        self._shared: Final = Surroundings(
            handlers=handlers,
            journal=self._journal,
            placer=self._placer,
            place=self._place,
            watcher=self._watcher,
            around=around or (lambda _run: nullcontext()),
            ended=self._ended,
            is_draining=lambda: self._is_draining,
            now=now,
            run_timeout=run_timeout,
            patience=patience,
        )

    async def __aenter__(self) -> Self:
        self._unstored.add(await recover(self._store, self._placer, self._now))
        self._journal.start()
        return self

    def __repr__(self) -> str:
        draining = ", draining" if self._is_draining else ""
        return (
            f"<Runs: {len(self._live)} live, {len(self._starting)} starting, "
            f"{len(self._unstored)} unstored{draining}>"
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.drain(0.0)
        finally:
            await self._unstored.close()
            await self._journal.close()

    # --- looking -----------------------------------------------------------------------------

    @property
    def is_draining(self) -> bool:
        """Whether no run starts any more."""
        return self._is_draining

    @property
    def provider_status(self) -> ProviderStatus:
        """What the last run that asked a provider found."""
        return self._watcher.provider_status

    def count(self, user: str) -> int:
        """The runs of a user that run, wait for their turn, or are being started."""
        return self._counts[user]

    def active(self, user: str, thread_id: str) -> Run | None:
        """The run that has the turn in a thread."""
        runs = self._lines.runs((user, thread_id))
        return runs[0].record if runs else None

    async def find(self, user: str, thread_id: str, run_id: str) -> Run:
        """A run, as it is now. Raises NotFound."""
        key = user, thread_id, run_id
        while (live := self._live.get(key)) is None:
            try:
                await self._unstored.mend(key)
            except Exception:  # it is looked at as it is
                logger.exception("run %s cannot be brought to its end", run_id)
            run = await self._store.run(user, thread_id, run_id)
            if run is None:
                raise NotFound("there is no such run in this conversation")
            starting = [task for task, each in self._starting.items() if each == key]
            if run.status not in UNFINISHED or not starting:
                return run
            await asyncio.wait(starting)
        return live.record

    def read(self, run: Run, *, after: int = 0, is_starter: bool = False) -> Reader:
        """Follow a run from the event after number `after`."""
        return Reader(
            self._store,
            run,
            self._live.get(key_of(run)),
            after=after,
            is_starter=is_starter,
            mend=lambda: self._unstored.mend(key_of(run)),
            watcher=self._watcher,
        )

    # --- starting ----------------------------------------------------------------------------

    async def start(self, user: str, asked: RunRequest) -> Run:
        """Start a run, or join the one that this request started before.

        Whoever calls it has to `read` it soon as its starter. The run is in `count` before this
        is first suspended.

        Raises Unavailable (`draining`), Conflict (`run_exists`, `thread_busy`, `thread_deleted`),
        and what `plan` and `Handlers.name` raise.
        """
        if self._is_draining:
            raise _draining()
        # In a task: whoever asks may be gone in the middle, and a run that is in the store must
        # come to its end.
        self._counts[user] += 1
        task = asyncio.create_task(self._start(user, asked))
        self._starting[task] = user, asked.thread_id, asked.run_id
        task.add_done_callback(self._started)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # it took longer than the server had
                raise _draining() from None
            task.add_done_callback(self._started_for_nobody)
            raise

    def _started(self, task: asyncio.Task[Run]) -> None:
        del self._starting[task]
        if not task.cancelled():
            task.exception()  # whoever asked was told, or is gone

    def _started_for_nobody(self, task: asyncio.Task[Run]) -> None:
        if not task.cancelled() and task.exception() is None:
            live = self._live.get(key_of(task.result()))
            if live is not None:
                live.attendance.starter_is_late()

    async def _start(self, user: str, asked: RunRequest) -> Run:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REJECT_PATIENCE
        try:
            model = await self._handlers.name(asked.model)
            with self._lines.at((user, asked.thread_id)) as line:
                while True:
                    async with line.entrance:
                        run = await self._enter(line, user, asked, model)
                    if run is not None:
                        return run
                    await _over(line.runs, deadline - loop.time())
                    if line.runs and loop.time() >= deadline:
                        raise _busy(line)
        finally:
            self._uncount(user)

    async def _enter(self, line: Line, user: str, asked: RunRequest, model: str) -> Run | None:
        """Join the line, at its entrance; None: the run that is in the way is just ending."""
        await self._unstored.mend_thread(user, asked.thread_id)
        was_busy = bool(line.runs)
        thread = await self._store.thread(user, asked.thread_id, deleted=True)
        if thread is not None:
            if thread.deleted_at is not None:
                raise Conflict(
                    "this conversation has been deleted: restore it first", code="thread_deleted"
                )
            known = await self._known(user, asked)
            if known is not None:
                return _same(known, asked)
        if asked.multitask_strategy == "reject" and line.runs:
            if all(each.is_ending for each in line.runs):
                return None
            raise _busy(line)
        if was_busy and not line.runs:  # the thread is not any more what it was
            thread = await self._store.thread(user, asked.thread_id)
        return await self._join(line, user, thread, asked, model)

    async def _join(
        self, line: Line, user: str, thread: Thread | None, asked: RunRequest, model: str
    ) -> Run:
        """Add the run to the store, and let it live."""
        supersedes = asked.multitask_strategy == "interrupt"
        placed: Placed | None = None
        if line.runs:
            fresh = await self._placer.behind_others(thread, asked, _said(line, supersedes))
        else:
            placed = await self._placer.at_request(thread, asked)
            fresh = placed.plan
        if thread is None:
            thread, _ = await self._store.open_thread(user, asked.thread_id)
        run, is_new = await self._store.add_run(
            thread, asked, request=stored_form(asked, fresh.messages), model=model
        )
        if not is_new:
            return _same(run, asked)
        # Not suspended from here on: it is in the store, so it must live.
        before = [*line.runs]
        live = LiveRun(run, asked, thread, placed, self._shared)
        self._live[key_of(run)] = live
        self._counts[user] += 1
        line.join(live)
        if supersedes:
            for each in before:
                each.stop("superseded")
        live.later(STARTER_PATIENCE, live.attendance.starter_is_late)
        return run

    async def _known(self, user: str, asked: RunRequest) -> Run | None:
        live = self._live.get((user, asked.thread_id, asked.run_id))
        if live is not None:
            return live.record
        return await self._store.run(user, asked.thread_id, asked.run_id)

    # --- ending ------------------------------------------------------------------------------

    async def cancel(
        self, user: str, thread_id: str, run_id: str, *, wait: bool = True, code: str = "stopped"
    ) -> Run:
        """Stop a run, and with `wait` let it end; one that has ended stays as it is.

        Raises NotFound.
        """
        run = await self.find(user, thread_id, run_id)
        live = self._live.get(key_of(run))
        if live is None:
            return run
        live.stop(code)
        if wait:
            await live.over.wait()
        return live.record

    async def stop_thread(self, user: str, thread_id: str) -> None:
        """Stop all runs of a thread, and let them end."""
        runs = self._lines.runs((user, thread_id))
        for each in reversed(runs):  # those that wait first: none begins when another ends
            each.stop("deleted")
        await _over(runs, None)

    def begin_drain(self) -> None:
        """From now on no run starts, and none that waits is answered."""
        self._is_draining = True

    async def drain(self, deadline: float) -> None:
        """Let no run start, give those that run so many seconds to end, and then stop them.

        What is stopped gets twice the `patience`, and the store what the journal gives it.
        """
        self.begin_drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline
        if self._starting:
            # What they wait for is the store; at the end they get the patience of those that run.
            await asyncio.wait([*self._starting], timeout=max(deadline, self._shared.patience))
        await _over([*self._live.values()], end - loop.time())
        for starting in [*self._starting]:
            starting.cancel()
        for each in [*self._live.values()]:
            each.stop("shutdown")
        await _over([*self._live.values()], None)
        await self._journal.flush()

    def _ended(self, live: LiveRun) -> None:
        run = live.record
        if live.is_unstored:
            self._unstored.add([run])
        del self._live[key_of(run)]
        self._uncount(run.user)
        self._lines.leave((run.user, run.thread_id), live)

    def _uncount(self, user: str) -> None:
        self._counts[user] -= 1
        if not self._counts[user]:
            del self._counts[user]

    async def _place(self, run: Run, asked: RunRequest) -> Placed:
        """Where a run hangs, at its turn."""
        await self._unstored.mend_thread(run.user, run.thread_id)
        return await self._placer.at_turn(run, asked)


def _same(run: Run, asked: RunRequest) -> Run:
    if run.fingerprint != asked.fingerprint:
        raise Conflict(
            "this run id was used for another request: choose a new one", code="run_exists"
        )
    return run


def _draining() -> Unavailable:
    return Unavailable(
        "the server is shutting down: send it again in a moment",
        code="draining",
        headers={"Retry-After": "5"},
    )


def _busy(line: Line) -> Conflict:
    run = line.runs[0].record
    return Conflict(
        "a run is under way in this conversation: wait for its end, or cancel it",
        code="thread_busy",
        run_id=run.run_id,
    )


def _said(line: Line, supersedes: bool) -> frozenset[str]:
    """Ids of messages that runs of the line have said, or will."""
    staying = line.runs[:1] if supersedes else line.runs
    saying = [each for each in staying if each.will_say]
    return frozenset(message.id for each in saying for message in each.asked.messages)


async def _over(runs: Sequence[LiveRun], seconds: float | None) -> None:
    """Wait until all of these are over, for so many seconds at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for each in [*runs]:
                await each.over.wait()
