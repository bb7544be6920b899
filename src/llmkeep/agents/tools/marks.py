"""The mark of a tool that needs a person's approval; who is asked, and how, is not known here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as tool_of

#: In the tool's metadata, which goes with every copy of it.
_MARK: Final = "llmkeep_needs_approval"


def needs_approval(tool: BaseTool | Callable[..., Any]) -> BaseTool:
    """A copy of `tool` that is called only when a person has said yes to the call.

    Also as a decorator, above `@tool` or in its place:

        @needs_approval
        def delete_account(number: int) -> str:
            "Delete an account."

    Raises ValueError for a function without a docstring.
    """
    marked = tool if isinstance(tool, BaseTool) else tool_of(tool)
    return marked.model_copy(update={"metadata": {**(marked.metadata or {}), _MARK: True}})


def is_marked(tool: object) -> bool:
    """Whether `tool` was given by `needs_approval`."""
    return isinstance(tool, BaseTool) and (tool.metadata or {}).get(_MARK) is True
