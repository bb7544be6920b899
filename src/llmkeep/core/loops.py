"""What an event loop does for those who keep something for it: call at its end, hold a thing.

A loop that ends in order (`asyncio.run`, every well-behaved server) calls
`loop.shutdown_asyncgens()` before it closes. That closes every asynchronous generator that was
started on the loop, so one that we start and leave suspended is our call at the loop's end. A loop
that is closed, or dropped, drops its timers: a timer far away is a hold on a thing that belongs to
the loop. Both are public API on asyncio and uvloop.

This is no registry of loops: whoever calls keeps what comes back.
"""

from __future__ import annotations

import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

if TYPE_CHECKING:  # `import llmkeep` must not load asyncio
    from asyncio import AbstractEventLoop, TimerHandle

T = TypeVar("T")

#: In seconds; what a timer has that is never to go off.
TEN_YEARS: Final = 10 * 365 * 24 * 3600.0


class LoopEnd:
    """One call at the end of one loop; lives as long as somebody holds it.

    A handle that is dropped, or whose loop dies without `shutdown_asyncgens()`, calls nothing.
    """

    __slots__ = ("__weakref__", "_callback", "_generator")

    def __init__(self, callback: Callable[[], Awaitable[None]]) -> None:
        # A list, so that cancelling reaches the generator, while the generator does not hold the
        # handle: it must go when the handle goes.
        self._callback = [callback]
        self._generator = _wait_for_the_end(self._callback)
        # The loop's own finalizer would hold the loop, and would run the callback on it when the
        # generator is collected. Ours lets a dropped generator go without a step.
        with _generator_hooks(finalizer=_let_go), suppress(StopIteration):
            self._generator.asend(None).send(None)

    def cancel(self) -> None:
        """Call nothing any more; safe from any thread, and more than once."""
        self._callback.clear()

    @property
    def cancelled(self) -> bool:
        """Whether the call was cancelled or has been made."""
        return not self._callback


def at_loop_end(callback: Callable[[], Awaitable[None]]) -> LoopEnd:
    """Have `callback` awaited when the running loop ends in order; keep what comes back.

    The loop closes all its generators side by side, so `callback` runs beside those of others.
    Synchronous: nothing is awaited here. Raises RuntimeError where no asyncio loop runs. After the
    loop's `shutdown_asyncgens()` the call comes never, and the loop says so by its ResourceWarning.
    """
    from asyncio import get_running_loop

    get_running_loop()
    return LoopEnd(callback)


def hold_until_closed(loop: AbstractEventLoop, thing: object) -> TimerHandle:
    """Keep `thing` alive until `loop` is closed or collected, for those who hold it weakly.

    What belongs to a loop (its sockets) refers to the loop; a strong reference from anywhere else
    would keep a loop alive that everybody has dropped. Call it, and cancel the handle, on the
    loop's thread.
    """
    return loop.call_later(TEN_YEARS, _let_go, thing, context=Context())


@types.coroutine
def unseen(begin: Callable[[], Awaitable[T]]) -> Generator[Any, Any, T]:
    """Await `begin()`, and keep the asynchronous generators that it starts from the loop.

    A loop that ends closes all generators that it knows side by side; of those that iterate over
    each other the outer then closes an inner one that is being closed already, which is an error.
    Generators that start in the first step are not known to the loop, and are let go without a
    step when they are dropped: whoever starts them has another way to close what is below them.
    """
    with _generator_hooks(firstiter=None, finalizer=_let_go):
        steps = begin().__await__()
        try:
            step = next(steps)
        except StopIteration as done:
            return cast("T", done.value)
    while True:  # `yield from`, had the first step not been taken already
        try:
            advance = partial(steps.send, (yield step))
        except BaseException as error:
            advance = partial(steps.throw, error)
        try:
            step = advance()
        except StopIteration as done:
            return cast("T", done.value)


@contextmanager
def _generator_hooks(**changed: Any) -> Iterator[None]:
    """Change this thread's hooks for generators that are started within the block."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(**changed)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)


async def _wait_for_the_end(
    callback: list[Callable[[], Awaitable[None]]],
) -> AsyncGenerator[None, None]:
    try:
        yield
    except GeneratorExit:
        if callback:
            await callback.pop()()


def _let_go(_: Any) -> None:
    """Do nothing."""
