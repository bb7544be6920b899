"""Running closes: a blocking one on a thread of ours, a coroutine on the loop it belongs to.

A close that raises or hangs is reported and keeps nothing else from being closed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from .housekeeper import housekeeper
from .loops import hold_until_closed
from .workers import workers

if TYPE_CHECKING:
    import asyncio

    from .close_queue import Close
    from .ledger import Ledger

Coro: TypeAlias = "Coroutine[Any, Any, object]"


@final
class Closer:
    """Runs the closes of one cache."""

    def __init__(self, close: Callable[[Any], Any] | None, limit: float | None) -> None:
        self._close: Final = close
        self._limit: Final = limit
        #: A loop whose thread is waiting in `ClientCache.close`, so that nothing can run on it.
        self.blocked_loop: object = None

    @property
    def does_nothing(self) -> bool:
        """Whether closing is letting go."""
        return self._close is None

    def start(self, ledger: Ledger) -> None:
        """Start one more closer thread."""
        _in_background(partial(self._work, ledger))

    def _work(self, ledger: Ledger) -> None:
        closing = ledger.decide(ledger.closes.next, None)
        while closing is not None:
            self._close_one(ledger, closing)
            closing = ledger.decide(ledger.closes.next, closing)

    def _close_one(self, ledger: Ledger, closing: Close) -> None:
        error = None
        try:
            result = None if self._close is None else self._close(closing.client)
            if inspect.isawaitable(result):
                coroutine = result if inspect.iscoroutine(result) else _as_coroutine(result)
                self._run_coroutine(ledger, closing, coroutine)
                return
        except BaseException as caught:  # whatever a close raises, the next one is due
            error = type(caught).__name__
        closing.client = None  # here, so that its finalizer runs on this thread
        _report(ledger, closing, error)

    def _run_coroutine(self, ledger: Ledger, closing: Close, coroutine: Coro) -> None:
        """On its own loop if that runs, else on a short one here."""
        reference = closing.instance.loop
        loop = None if reference is None else reference()
        is_blocked = loop is not None and loop is self.blocked_loop
        if loop is not None and ledger.can_close_on(loop) and not is_blocked:
            if not ledger.decide(ledger.closes.hand_over, closing, coroutine, loop):
                coroutine.close()  # overdue, and reported
                return
            try:
                loop.call_soon_threadsafe(self._start_task, ledger, closing, coroutine, loop)
            except RuntimeError:  # closed this very moment
                ledger.decide(ledger.closes.take_back, closing)
            else:
                return
        self._run_elsewhere(ledger, closing, coroutine, is_blocked=is_blocked)

    def _run_elsewhere(
        self, ledger: Ledger, closing: Close, coroutine: Coro, *, is_blocked: bool
    ) -> None:
        """Its own loop cannot run it: on a short one here, unless that would only do harm."""
        if closing.instance.home.loop is None or is_blocked:
            self._run_here(ledger, closing, coroutine)
        else:
            coroutine.close()
            _report(ledger, closing, None, dropped=True)

    def rescue(self, ledger: Ledger, closing: Close) -> None:
        """A close that was handed to a loop that is gone, or blocked, before it began."""
        coroutine = closing.coroutine
        assert coroutine is not None
        reference = closing.instance.loop
        loop = None if reference is None else reference()
        is_blocked = loop is not None and loop is self.blocked_loop
        if closing.runner is not None and not is_blocked:
            closing.runner.close()  # its task has gone with the loop
        _in_background(
            partial(self._run_elsewhere, ledger, closing, coroutine, is_blocked=is_blocked)
        )

    def _run_here(self, ledger: Ledger, closing: Close, coroutine: Coro) -> None:
        import asyncio

        try:
            asyncio.run(self._finish(ledger, closing, coroutine))
        except asyncio.CancelledError:
            pass  # the close cancelled itself, and that is reported

    async def _finish(self, ledger: Ledger, closing: Close, coroutine: Coro) -> None:
        import asyncio

        closing.runner = error = None
        try:
            await asyncio.wait_for(coroutine, self._limit)
        except BaseException as caught:
            error = type(caught).__name__
            if isinstance(caught, asyncio.CancelledError):
                _report(ledger, closing, error)
                raise
        _report(ledger, closing, error)

    def _start_task(
        self, ledger: Ledger, closing: Close, coroutine: Coro, loop: asyncio.AbstractEventLoop
    ) -> None:
        if closing.loop is None or not ledger.can_close_on(loop):
            return  # it was taken back, or will be by the housekeeper
        closing.runner = self._finish(ledger, closing, coroutine)
        task = loop.create_task(closing.runner, context=Context())
        held = hold_until_closed(loop, task)  # not by us: the loop must go when it is dropped

        def ended(task: asyncio.Task[None]) -> None:
            held.cancel()
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                # The loop is ending, and cancelled the task before it ran: once more on it, or
                # the housekeeper finds it when the loop is closed.
                loop.call_soon(self._start_task, ledger, closing, coroutine, loop)

        task.add_done_callback(ended)


async def _as_coroutine(awaitable: Any) -> object:
    return await awaitable


def _report(ledger: Ledger, closing: Close, error: str | None, *, dropped: bool = False) -> None:
    ledger.decide(partial(ledger.closes.ended, closing, error, dropped=dropped))


def _in_background(work: Callable[[], object]) -> None:
    if sys.is_finalizing():
        return  # a lease that goes with the interpreter itself: no thread runs any more
    try:
        workers.run("close", work)
    except RuntimeError:
        # At exit no thread can be started. The housekeeper's is there, or else this one.
        if not housekeeper.run(work):
            work()
