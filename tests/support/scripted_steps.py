"""Something done just before the n-th step that any task of a loop takes.

A step is what a task does between two waits, so that every await point of a run can be hit, those
inside of the libraries included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from typing_extensions import override


class Steps:
    """Counts, and acts before the steps with these numbers. Lives as long as one run."""

    def __init__(self, acts: Mapping[int, Callable[[], object]]) -> None:
        self.taken = 0
        self._acts = acts

    @property
    def has_acted(self) -> bool:
        return self.taken >= min(self._acts)

    def next(self) -> None:
        """A task is about to take a step."""
        self.taken += 1
        if act := self._acts.get(self.taken):
            act()


class _Noticed(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are noticed; in all else it is the one that it was made of."""

    def __init__(self, of: Coroutine[Any, Any, Any], notice: Callable[[], object]) -> None:
        self._of, self._notice = of, notice

    @override
    def send(self, value: Any) -> Any:
        self._notice()
        return self._of.send(value)

    @override
    def throw(self, *error: Any) -> Any:
        self._notice()
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
def noticed(notice: Callable[[], object]) -> Iterator[None]:
    """`notice` is called before each step of the tasks made in this `with` block, on this loop."""

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Noticed(coroutine, notice), loop=loop, **more)

    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)


async def turns_of_the_loop() -> None:
    """What has been made a task gets as far as it can without the outside."""
    for _ in range(50):
        await asyncio.sleep(0)
