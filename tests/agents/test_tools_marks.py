"""The mark of a tool that needs approval: it is on the tool, and stays there."""

from __future__ import annotations

import pytest
from langchain_core.tools import tool

from llmkeep.agents.tool_pool import pooled
from llmkeep.agents.tools import BUILTIN_TOOLS, is_marked, needs_approval


def test_a_decorated_tool_is_marked():
    """Above `@tool`, and in its place."""

    @needs_approval
    @tool
    def above(text: str) -> str:
        """Shout."""
        return text.upper()

    @needs_approval
    def instead(text: str) -> str:
        """Shout."""
        return text.upper()

    for shout in (above, instead):
        assert is_marked(shout)
        assert shout.invoke({"text": "hi"}) == "HI"
        assert shout.description == "Shout."


def test_a_tool_of_somebody_else_is_not_touched():
    calculator = BUILTIN_TOOLS[0]
    marked = needs_approval(calculator)
    assert is_marked(marked)
    assert not is_marked(calculator)


def test_other_metadata_and_copies_keep():
    @tool
    def shout(text: str) -> str:
        """Shout."""
        return text.upper()

    shout.metadata = {"team": "blue"}
    marked = needs_approval(shout)
    assert (marked.metadata or {})["team"] == "blue"
    assert is_marked(pooled(marked, 2))
    assert is_marked(marked.model_copy(update={"description": "Speak up"}))


def test_what_is_no_tool_is_not_marked():
    assert not is_marked({"type": "web_search"})
    assert not is_marked(print)

    def undocumented() -> None:
        pass

    with pytest.raises(ValueError, match="docstring"):
        needs_approval(undocumented)
