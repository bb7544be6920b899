"""Hooks of middleware that stay where they are called.

LangChain wraps each hook for LangSmith, which runs what it does before and after a coroutine
function on the loop's default executor, whether anything is traced or not: two threads' work for
each call of a model, and a place in a queue that a few stuck jobs of somebody else can fill. What
it takes for a plain function it handles in place.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_place(hook: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The hook as a plain function that gives a coroutine. LangSmith sees its call, not its end."""

    @wraps(hook)
    def call(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return hook(*args, **kwargs)

    del call.__wrapped__  # LangSmith would look through it
    return call
