"""Something done just before the n-th step that any task of a loop takes.

A step is what a task does between two waits, so that every await point of a run can be hit, those
inside of the libraries included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from typing_extensions import override


class Steps:
    """Counts, and acts once. Lives as long as one run."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self.taken = 0
        self._at, self._act = at, act

    @property
    def has_acted(self) -> bool:
        return self.taken >= self._at

    def next(self) -> None:
        """A task is about to take a step."""
        self.taken += 1
        if self.taken == self._at:
            self._act()


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are counted; in all else it is the one that it was made of."""

    def __init__(self, of: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._of, self._steps = of, steps

    @override
    def send(self, value: Any) -> Any:
        self._steps.next()
        return self._of.send(value)

    @override
    def throw(self, *error: Any) -> Any:
        self._steps.next()
        return self._of.throw(*error)

    @override
    def close(self) -> None:
        self._of.close()

    @override
    def __await__(self) -> Any:
        return self._of.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


@contextmanager
def counted(steps: Steps) -> Iterator[None]:
    """Tasks made in this `with` block, on this loop, have their steps counted."""

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Counted(coroutine, steps), loop=loop, **more)

    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)
