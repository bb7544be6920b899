"""What the documents show is run, block after block as a reader would; or else at least compiled.

The README's blocks have names that are the reader's own (`build`, `db_session`): what they import
must be there.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmkeep
from llmkeep.agents import ConversationHandler
from llmkeep.settings import load, settings

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(document: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    found = BLOCK.findall(text)
    assert len(found) == text.count("```python"), f"{document}: a block that does not end"
    return found


@pytest.fixture(autouse=True)
def nothing_of_others() -> Iterator[None]:
    """What other tests left is not the reader's, and what a reader sets is not the others'."""
    kept = settings.llm, settings.agents, settings.service
    llmkeep.close()
    fresh = load()
    settings.llm, settings.agents, settings.service = fresh.llm, fresh.agents, fresh.service
    yield
    settings.llm, settings.agents, settings.service = kept
    ConversationHandler.clear_llm_cache()
    llmkeep.close()


@pytest.mark.parametrize("document", sorted(path.name for path in ROOT.glob("docs/*.md")))
def test_examples_run(document: str) -> None:
    """Every block of a document runs, with what the blocks before it left."""
    names: dict[str, Any] = {"__name__": "reader"}
    document = f"docs/{document}"
    for number, block in enumerate(blocks(document), 1):
        exec(compile(block, f"{document}, block {number}", "exec"), names)


@pytest.mark.parametrize("document", ["README.md", "README.zh.md"])
def test_the_readme_imports_what_is_there(document: str) -> None:
    """Every block of the README compiles, and finds what it imports."""
    for number, block in enumerate(blocks(document), 1):
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
        tree = compile(block, f"{document}, block {number}", "exec", flags=flags)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert [each.name for each in node.names if not hasattr(module, each.name)] == []


def test_both_readmes_show_the_same_code() -> None:
    """The Chinese README says the same: the same blocks, their comments apart."""

    def bare(document: str) -> list[str]:
        return [re.sub(r"#.*", "", block) for block in blocks(document)]

    assert bare("README.zh.md") == bare("README.md")
