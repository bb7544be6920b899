"""The tools that every conversation has: arithmetic and the time.

A tool's work lives in a module of its own, as a plain function; here it gets the name, the
description and the types that a model sees. A tool tells the model what it did wrong by raising
`ToolException`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field

from .calculator import calculate
from .clock import tell_time
from .marks import is_marked, needs_approval

__all__ = ["BUILTIN_TOOLS", "calculator", "current_time", "is_marked", "needs_approval"]


def calculator(
    expression: Annotated[
        str, Field(description="For example 12 * (3 + 4) ** 2, sqrt(2) or round(10 / 3, 2)")
    ],
) -> str:
    """Compute an arithmetic expression. Use it for every calculation."""
    return calculate(expression)


def current_time(
    time_zone: Annotated[
        str | None, Field(description="An IANA name such as Europe/Paris; none for local time")
    ] = None,
) -> str:
    """Tell the current date, time and day of the week, in any time zone."""
    return tell_time(time_zone)


def _quick(function: Callable[..., str]) -> BaseTool:
    """A tool whose work is too short for a thread: it runs where it is called, loops included."""

    async def on_the_loop(**arguments: object) -> str:
        return function(**arguments)

    return StructuredTool.from_function(function, coroutine=on_the_loop)


#: Made once: agents with the same tools share one compiled graph.
BUILTIN_TOOLS: Final[tuple[BaseTool, ...]] = (_quick(calculator), _quick(current_time))
