"""Running closes: a blocking one on a thread of ours, a coroutine on the loop it belongs to.

A close that raises or hangs is reported and keeps nothing else from being closed.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
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

    def start(self, ledger: Ledger) -> None:
        """Start one more closer thread."""
        work = partial(self._work, ledger)
        try:
            run_on_thread("close", work)
        except RuntimeError:
            housekeeper.run(work)  # at exit no thread can be started; that one is there

    def _work(self, ledger: Ledger) -> None:
        while True:
            with ledger:
                instance = ledger.next_to_close()
            if instance is None or not self._close_one(ledger, instance):
                return

    def _close_one(self, ledger: Ledger, instance: Instance) -> bool:
        """Close `instance`; False if it took so long that another thread replaced this one."""
        assert self._close is not None
        error = None
        try:
            result = self._close(instance.client)
            if inspect.isawaitable(result):
                return self._await(ledger, instance, result)
        except BaseException as caught:  # whatever a close raises, the next one is due
            error = type(caught).__name__
        return _report(ledger, instance, error)

    def _await(self, ledger: Ledger, instance: Instance, result: Awaitable[object]) -> bool:
        loop = None if instance.loop is None else instance.loop()
        work = self._finish(ledger, instance, result)
        if loop is not None and loop.is_running() and loop is not self.blocked_loop:
            with ledger:
                ledger.release_closer(instance)
            try:
                loop.call_soon_threadsafe(partial(_start_task, loop, work))
            except RuntimeError:
                pass  # closed this very moment
            else:
                return True
        elif instance.home.loop is None or loop is self.blocked_loop:
            import asyncio

            return asyncio.run(work)
        _discard(work, result)
        return _report(ledger, instance, None, dropped=True)

    async def _finish(self, ledger: Ledger, instance: Instance, result: Awaitable[object]) -> bool:
        import asyncio

        error = None
        try:
            await asyncio.wait_for(result, self._limit)
        except BaseException as caught:
            error = type(caught).__name__
            if isinstance(caught, asyncio.CancelledError):
                _report(ledger, instance, error)
                raise
        return _report(ledger, instance, error)


def _report(
    ledger: Ledger, instance: Instance, error: str | None, *, dropped: bool = False
) -> bool:
    with ledger:
        return ledger.close_ended(instance, error, dropped=dropped)


def _start_task(loop: asyncio.AbstractEventLoop, work: Any) -> None:
    _running.add(task := loop.create_task(work, context=Context()))
    task.add_done_callback(_running.discard)


#: A loop refers to its tasks weakly only.
_running: Final[set[asyncio.Task[Any]]] = set()


def _discard(*unstarted: Any) -> None:
    for each in unstarted:
        if inspect.iscoroutine(each):
            each.close()
