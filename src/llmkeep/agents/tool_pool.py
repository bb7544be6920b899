"""Threads of our own for synchronous tools, so that they hold up neither the loop nor the exit.

LangChain runs a synchronous tool that is called asynchronously on the loop's default executor: a
few stuck tools fill that for everybody, and the interpreter waits for them at its end. Here it runs
on a daemon thread of `llmkeep.core.workers`, of which tools have so many at most in the process.

Not a queue: a call that finds all of them busy fails at once. Not a time limit either: whoever
stops waiting is rid of the result, but a thread cannot be stopped, and counts until it has ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar, final

from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException

from llmkeep.core.fork import on_fork_in_child
from llmkeep.core.workers import workers

T = TypeVar("T")


class ToolBusy(ToolException):
    """All threads for tools are busy; the message says which setting gives more."""


@final
class _Slots:
    """How many threads tools hold in this process; a forked child counts anew."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self.taken = 0

    def take(self, limit: int) -> None:
        with self._lock:
            if self.taken >= limit:
                raise ToolBusy(
                    f"all {limit} threads for tools are busy: try again later, or raise "
                    "AGENTS__TOOL_THREADS"
                )
            self.taken += 1

    def give_back(self) -> None:
        with self._lock:
            self.taken -= 1


@final
class ToolPool:
    """The threads that run tools; one for the process."""

    def __init__(self) -> None:
        self._start_over()
        on_fork_in_child(self, "_start_over")

    def _start_over(self) -> None:
        self._slots = _Slots()

    @property
    def busy(self) -> int:
        """How many threads are running a tool now, abandoned ones included."""
        return self._slots.taken

    async def run(self, work: Callable[[], T], *, threads: int, name: str) -> T:
        """Run `work` on a thread, with the caller's context variables.

        When the caller is cancelled, the thread goes on and its result is dropped.

        Raises ToolBusy if `threads` of them are busy, and what `work` raises; what would end more
        than the tool, as `sys.exit` does, is told as a RuntimeError.
        """
        # Kept here: a tool may fork, and its child must not give back what it never took.
        slots = self._slots
        slots.take(threads)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        in_context = partial(contextvars.copy_context().run, work)
        try:
            workers.run(f"tool-{name}", partial(_serve, in_context, slots, loop, answer))
        except BaseException:
            slots.give_back()
            raise
        try:
            return await answer
        finally:
            del answer  # it may hold an exception that holds this frame


def _serve(
    work: Callable[[], T],
    slots: _Slots,
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[T],
) -> None:
    """What the thread does."""
    settle = _settling(work)
    slots.give_back()
    try:
        loop.call_soon_threadsafe(settle, answer)
    except RuntimeError:  # the loop has been closed: nobody waits
        return


def _settling(work: Callable[[], T]) -> Callable[[asyncio.Future[T]], None]:
    """Do the work, and give what tells its outcome to a future."""
    try:
        result = work()
    except BaseException as error:
        return partial(_fail, _bearable(error))
    return partial(_succeed, result)


def _bearable(error: BaseException) -> Exception:
    """The error as one that ends the tool alone.

    A future takes no StopIteration; SystemExit would end the loop; and a CancelledError of the
    tool's own would look as if its caller had been cancelled.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    instead = RuntimeError(f"the tool raised {type(error).__name__}: {error}")
    instead.__cause__ = error
    return instead


def _succeed(result: T, answer: asyncio.Future[T]) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(error: BaseException, answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(error)


pool: Final = ToolPool()


#: The pooled tools that somebody has. As long as one is here its tool is, so that nothing else has
#: the tool's `id`.
_known: Final = weakref.WeakValueDictionary[tuple[int, int], BaseTool]()


def pooled(tool: BaseTool, threads: int) -> BaseTool:
    """`tool`, but asynchronous calls of a synchronous one run on the pool, `threads` at most.

    What is given looks like the tool and is of its class; each call is made by the tool itself. An
    asynchronous tool is given back as it is. Equal arguments give the same object as long as
    somebody has it.
    """
    if is_pooled(tool) or not is_synchronous(tool):
        return tool
    key = (id(tool), threads)
    known = _known.get(key)
    # Two threads may make one each: the first to have come is everybody's.
    return _known.setdefault(key, _twin(tool, threads)) if known is None else known


def _twin(tool: BaseTool, threads: int) -> BaseTool:
    def on_the_pool(blocking: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            work = partial(blocking, *args, **kwargs)
            return await pool.run(work, threads=threads, name=tool.name)

        return call

    twin = tool.model_copy()
    # In the instance, where they go before the class's own: whoever looks at the tool, as LangChain
    # does, asks for its class, and a class of ours would have to repeat what that one is.
    vars(twin).update(
        invoke=tool.invoke,
        ainvoke=on_the_pool(tool.invoke),
        run=tool.run,
        arun=on_the_pool(tool.run),
    )
    return twin


def is_pooled(tool: BaseTool | None) -> bool:
    """Whether `tool` is one that `pooled` gave: a call of it cannot be stopped."""
    return tool is not None and "ainvoke" in vars(tool)


def is_synchronous(tool: BaseTool) -> bool:
    """Whether LangChain would run an asynchronous call of `tool` on a thread."""
    kind = type(tool)
    if isinstance(tool, StructuredTool | Tool):
        own = kind.ainvoke not in (StructuredTool.ainvoke, Tool.ainvoke)
        return tool.coroutine is None and not own
    untouched = kind.ainvoke is BaseTool.ainvoke and kind.arun is BaseTool.arun
    return untouched and kind._arun is BaseTool._arun
