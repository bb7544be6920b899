"""The tools that an application names in its settings, and all of an agent's tools together.

An entry is `package.module:name`, where the name is a tool, a function with a docstring, or a list
of those. What is wrong with one ends the start: an agent without a tool that somebody has named
would only look as if it worked.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as tool_of

from llmkeep.agents.faults import redacted
from llmkeep.settings import SettingsError

from . import builtin_tools

#: The tools made of plain functions: always the same, as agents with the same tools share a graph.
_made: Final[dict[Any, BaseTool]] = {}

#: Where a tool comes from, as a message says it, and the tool.
Sourced = tuple[str, BaseTool]


def chosen_tools(
    builtin: Iterable[str], entries: Iterable[str], *, database: bool
) -> tuple[BaseTool, ...]:
    """Ours and the application's: `AGENTS__BUILTIN_TOOLS` and `AGENTS__TOOLS`.

    Without a `database` there are no notes. Raises SettingsError for an entry that is wrong, and
    for two tools of one name.
    """
    ours = [("AGENTS__BUILTIN_TOOLS", each) for each in builtin_tools(builtin, database=database)]
    return distinct([*ours, *_named(entries)])


def named_tools(entries: Iterable[str]) -> tuple[BaseTool, ...]:
    """The tools that `entries` name; always the same objects for the same entries.

    Imports what is not imported yet, the working directory included. Raises SettingsError with the
    entry and what is wrong with it.
    """
    return distinct(_named(entries))


def distinct(tools: Iterable[Sourced]) -> tuple[BaseTool, ...]:
    """The tools alone. Raises SettingsError for two of one name, of which a model knows but one."""
    sources: dict[str, str] = {}
    found: list[BaseTool] = []
    for source, tool in tools:
        if tool.name in sources:
            raise SettingsError(
                f"{source}: there is a tool {tool.name!r} already, from {sources[tool.name]}"
            )
        sources[tool.name] = source
        found.append(tool)
    return tuple(found)


def _named(entries: Iterable[str]) -> Iterator[Sourced]:
    for entry in entries:
        source = f"AGENTS__TOOLS: {entry}"
        try:
            tools = [_tool(each) for each in _each(_find(entry))]
        except _Wrong as wrong:
            raise SettingsError(f"{source}: {wrong}") from wrong.__cause__
        for tool in tools:
            yield source, tool


class _Wrong(Exception):
    """What is wrong with an entry."""


def _find(entry: str) -> object:
    """The object that an entry names."""
    module, colon, path = (part.strip() for part in entry.partition(":"))
    if not (module and colon and path):
        raise _Wrong("write package.module:name")
    found = _module(module)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = getattr(sys.modules[module], "__file__", None) or "a module without a file"
            raise _Wrong(f"there is no {path} in {where}") from None
        except Exception as error:  # some modules make their names when asked
            raise _Wrong(f"{path} cannot be had: {_told(error)}") from error
    return found


def _module(name: str) -> Any:
    _make_working_directory_importable()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise _Wrong(f"there is no module {error.name}") from None
        raise _Wrong(f"the import of {name} failed: {_told(error)}") from error


def _make_working_directory_importable() -> None:
    """As it is for `python -m`, but not for an installed command."""
    try:
        here = os.getcwd()  # noqa: PTH109 - sys.path is text
    except OSError:  # it has been deleted
        return
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)


def _each(found: object) -> list[object]:
    if not isinstance(found, list | tuple):
        return [found]
    if not found:
        raise _Wrong("the list is empty")
    return list(found)


def _tool(found: object) -> BaseTool:
    if isinstance(found, BaseTool):
        return found
    if inspect.isclass(found) and issubclass(found, BaseTool):
        raise _Wrong(f"{found.__name__} is a class: name an instance of it")
    if not inspect.isroutine(found):
        raise _Wrong(f"a {type(found).__name__} is no tool: name a tool, a function, or a list")
    if found in _made:
        return _made[found]
    if not inspect.getdoc(found):
        raise _Wrong(f"{found.__name__} has no docstring to tell the model what it is for")
    try:
        made = tool_of(found)
    except Exception as error:
        raise _Wrong(f"no tool can be made of {found.__name__}: {_told(error)}") from error
    return _made.setdefault(found, made)


def _told(error: BaseException) -> str:
    return redacted(f"{type(error).__name__}: {error}")
