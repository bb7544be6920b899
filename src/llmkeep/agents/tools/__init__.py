"""The tools that every conversation can have: arithmetic, the time, and notes.

A tool's work lives in a module of its own, as a plain function; here it gets the name, the
description and the types that a model sees. (Examples are annotations of their own: LangChain
drops those of a `Field`.) A tool tells the model what it did wrong by raising
`ToolException`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Final

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field
from pydantic.json_schema import Examples

from llmkeep.settings import SettingsError

from .calculator import calculate
from .clock import tell_time
from .hints import HINTS
from .marks import is_marked, needs_approval

__all__ = [
    "BUILTIN_TOOLS",
    "builtin_tools",
    "calculator",
    "current_time",
    "is_marked",
    "needs_approval",
    "takes_notes",
]


def calculator(
    expression: Annotated[
        str,
        Field(
            description="Numbers with + - * / // % ** and functions such as sqrt, round, log, sin"
        ),
        Examples(["12 * (3 + 4) ** 2", "sqrt(2)", "round(19.99 * 3, 2)"]),
    ],
) -> str:
    """Compute an arithmetic expression. Use it for every calculation."""
    return calculate(expression)


def current_time(
    time_zone: Annotated[
        str | None,
        Field(description="An IANA name, for the time at that place; none for the local time"),
        Examples(["Europe/Paris", "Asia/Tokyo", "UTC"]),
    ] = None,
) -> str:
    """Tell the current date, time and day of the week, in any time zone."""
    return tell_time(time_zone)


def _quick(function: Callable[..., str]) -> BaseTool:
    """A tool whose work is too short for a thread: it runs where it is called, loops included."""

    async def on_the_loop(**arguments: object) -> str:
        return function(**arguments)

    hints = HINTS.get(function.__name__)
    return StructuredTool.from_function(function, coroutine=on_the_loop, extras=hints)


#: Made once: agents with the same tools share one compiled graph.
BUILTIN_TOOLS: Final[tuple[BaseTool, ...]] = (_quick(calculator), _quick(current_time))

_BY_NAME: Final = {tool.name: tool for tool in BUILTIN_TOOLS}


def builtin_tools(names: Iterable[str], *, database: bool) -> tuple[BaseTool, ...]:
    """Those of our tools that are named, always the same objects.

    `notes` stands for three tools, and for none without a `database`. Raises SettingsError for a
    name that is not known, and ImportError for `notes` where SQLAlchemy is missing.
    """
    chosen: list[BaseTool] = []
    for name in dict.fromkeys(names):
        if name in _BY_NAME:
            chosen.append(_BY_NAME[name])
        elif name != "notes":
            raise SettingsError(f"AGENTS__BUILTIN_TOOLS: there is no built-in tool {name!r:.80}")
        elif database:
            from .notes import NOTES_TOOLS

            chosen.extend(NOTES_TOOLS)
    return tuple(chosen)


def takes_notes(db_session: object) -> bool:
    """Whether notes can be kept through `db_session`: a session of SQLAlchemy's, or its factory."""
    if "sqlalchemy.orm" not in sys.modules:
        return False  # nobody can have made one
    from .sessions import is_session

    return is_session(db_session)
