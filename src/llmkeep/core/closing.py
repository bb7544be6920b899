"""Running closes: a blocking one on a thread of ours, a coroutine on the loop it belongs to.

A close that raises or hangs is reported and keeps nothing else from being closed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

from .background import housekeeper, run_on_thread

if TYPE_CHECKING:
    import asyncio

    from .instance import Instance
    from .ledger import Ledger


@final
class Closer:
    """Runs the closes of one cache."""

    def __init__(self, close: Callable[[Any], Any] | None, limit: float | None) -> None:
        self._close: Final = close
        self._limit: Final = limit
        #: A loop whose thread is waiting in `ClientCache.close`, so that nothing can run on it.
        self.blocked_loop: object = None
        # A loop refers to its tasks weakly only.
        self._tasks: Final[set[asyncio.Task[bool]]] = set()

    def start(self, ledger: Ledger) -> None:
        """Start one more closer thread."""
        _in_background(partial(self._work, ledger))

    def _work(self, ledger: Ledger) -> None:
        while True:
            instance = ledger.decide(ledger.closings.next)
            if instance is None or not self._close_one(ledger, instance):
                return

    def _close_one(self, ledger: Ledger, instance: Instance) -> bool:
        """Close `instance`; False if it took so long that another thread replaced this one."""
        assert self._close is not None
        error = None
        try:
            result = self._close(instance.client)
            if inspect.isawaitable(result):
                closing = result if inspect.iscoroutine(result) else _as_coroutine(result)
                return self._await(ledger, instance, closing)
        except BaseException as caught:  # whatever a close raises, the next one is due
            error = type(caught).__name__
        return _report(ledger, instance, error)

    def _await(
        self, ledger: Ledger, instance: Instance, closing: Coroutine[Any, Any, object]
    ) -> bool:
        """Run a coroutine close on its own loop if that runs, else on a short one here."""
        loop = None if instance.loop is None else instance.loop()
        if loop is not None and loop.is_running() and loop is not self.blocked_loop:
            ledger.decide(ledger.closings.hand_over, instance, closing)
            try:
                loop.call_soon_threadsafe(self._start_task, ledger, instance, closing, loop)
            except RuntimeError:
                pass  # closed this very moment
            else:
                return True
        if instance.home.loop is not None and loop is not self.blocked_loop:
            # It belongs to a loop that is gone, and on another one it would only do harm.
            closing.close()
            return _report(ledger, instance, None, dropped=True)
        return self._run(ledger, instance, closing)

    def _run(
        self, ledger: Ledger, instance: Instance, closing: Coroutine[Any, Any, object]
    ) -> bool:
        import asyncio

        return asyncio.run(self._finish(ledger, instance, closing))

    async def _finish(
        self, ledger: Ledger, instance: Instance, closing: Coroutine[Any, Any, object]
    ) -> bool:
        import asyncio

        error = None
        try:
            await asyncio.wait_for(closing, self._limit)
        except BaseException as caught:
            error = type(caught).__name__
            if isinstance(caught, asyncio.CancelledError):
                _report(ledger, instance, error)
                raise
        return _report(ledger, instance, error)

    def _start_task(
        self,
        ledger: Ledger,
        instance: Instance,
        closing: Coroutine[Any, Any, object],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        task = loop.create_task(self._finish(ledger, instance, closing), context=Context())
        self._tasks.add(task)

        def ended(task: asyncio.Task[bool]) -> None:
            self._tasks.discard(task)
            if inspect.getcoroutinestate(closing) == inspect.CORO_CREATED:
                # The loop is ending, and cancelled the task before it ran.
                _in_background(partial(self._run, ledger, instance, closing))

        task.add_done_callback(ended)


async def _as_coroutine(awaitable: Any) -> object:
    return await awaitable


def _report(
    ledger: Ledger, instance: Instance, error: str | None, *, dropped: bool = False
) -> bool:
    return ledger.decide(partial(ledger.closings.ended, instance, error, dropped=dropped))


def _in_background(work: Callable[[], object]) -> None:
    try:
        run_on_thread("close", work)
    except RuntimeError:
        housekeeper.run(work)  # at exit no thread can be started; that one is there
