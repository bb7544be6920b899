"""Tools that the settings name: found where they are, always the same, and refused in one line."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.tools import BaseTool

from llmkeep.agents.tools import BUILTIN_TOOLS
from llmkeep.agents.tools.loading import chosen_tools, distinct, named_tools
from llmkeep.settings import SettingsError
from tests.agents.calling import called

TOOLS = '''
import functools
from langchain_core.tools import BaseTool, tool

@tool
def decorated(text: str) -> str:
    """Shout."""
    return text.upper()

def plain(text: str) -> str:
    """Whisper."""
    return text.lower()

async def waiting(text: str) -> str:
    """Repeat."""
    return text

class Own(BaseTool):
    name: str = "own"
    description: str = "Reverse"

    def _run(self, text: str) -> str:
        return text[::-1]

    def method(self, text: str) -> str:
        """Do nothing."""
        return text

own = Own()
several = [plain, decorated]
pair = (own, waiting)
nothing = []
nested = [[plain]]
provided = {"type": "web_search"}
number = 5

def undocumented(text: str) -> str:
    return text

def calculator(expression: str) -> str:
    """Compute."""
    return expression

def unclear(part: "Nowhere") -> str:
    """Take what nobody knows."""
    return ""
'''


@pytest.fixture(autouse=True)
def an_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package in the working directory, which is not importable yet."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tools.py").write_text(TOOLS)
    (package / "lazy.py").write_text("def __getattr__(name):\n    import shop.failing\n")
    (package / "broken.py").write_text("import nowhere_to_be_found\n")
    (package / "failing.py").write_text("raise OSError('no route to https://u:hunter2@host')\n")
    (package / "leaving.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    yield package
    for name in [each for each in sys.modules if each.split(".")[0] == "shop"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def names(tools: tuple[BaseTool, ...]) -> list[str]:
    return [tool.name for tool in tools]


async def test_what_is_named_becomes_tools_that_work():
    """Decorated and plain, blocking and not, alone and in lists, in their order."""
    tools = named_tools(["shop.tools:several", " shop.tools : pair "])
    assert names(tools) == ["plain", "decorated", "own", "waiting"]
    answers = [(await called(each, text="Ab")).content for each in tools]
    assert answers == ["ab", "AB", "bA", "Ab"]
    assert tools[0].description == "Whisper."
    assert named_tools([]) == ()


def test_the_same_entries_give_the_same_objects():
    """Those of plain functions too, whichever entry names them."""
    entries = ["shop.tools:plain", "shop.tools:decorated", "shop.tools:own"]
    once, again = named_tools(entries), named_tools(entries)
    assert all(one is other for one, other in zip(once, again, strict=True))
    assert named_tools(["shop.tools:several"])[0] is once[0]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("shop.tools", "write package.module:name"),
        ("shop.tools:", "write package.module:name"),
        (":plain", "write package.module:name"),
        ("shop.tool:plain", "there is no module shop.tool"),
        ("shopp.tools:plain", "there is no module shopp"),
        ("shop.tools.plain:plain", "there is no module shop.tools.plain"),
        ("shop.tools:plane", "there is no plane in "),
        ("shop.tools:own.plane", "there is no own.plane in "),
        ("shop.broken:plain", "the import of shop.broken failed: ModuleNotFoundError: No module"),
        ("shop.failing:plain", "the import of shop.failing failed: OSError: no route to "),
        ("shop.leaving:plain", "the import of shop.leaving failed: SystemExit: 3"),
        ("shop.lazy:plain", "plain cannot be had: OSError: no route to "),
        ("shop.tools:Own", "Own is a class: name an instance of it"),
        ("shop.tools:number", "a int is no tool"),
        ("shop.tools:provided", "a dict is no tool"),
        ("shop.tools:nested", "a list is no tool"),
        ("shop.tools:nothing", "the list is empty"),
        ("shop.tools:undocumented", "undocumented has no docstring"),
        ("shop.tools:unclear", "no tool can be made of unclear: NameError: "),
    ],
)
def test_a_wrong_entry_ends_the_start(entry: str, reason: str):
    """With the variable, the entry and the reason, in one line without a secret."""
    with pytest.raises(SettingsError) as refused:
        named_tools(["shop.tools:plain", entry])
    told = str(refused.value)
    assert told.startswith(f"AGENTS__TOOLS: {entry}: {reason}")
    assert "hunter2" not in told
    assert "\n" not in told


def test_a_failing_import_keeps_where_it_failed():
    """For the traceback that a developer wants to see."""
    with pytest.raises(SettingsError) as refused:
        named_tools(["shop.failing:plain"])
    assert isinstance(refused.value.__cause__, OSError)


def test_a_module_that_has_been_mended_is_found(an_application: Path):
    """A failure is not kept."""
    with pytest.raises(SettingsError):
        named_tools(["shop.failing:mended"])
    (an_application / "failing.py").write_text("def mended() -> str:\n    'Work.'\n    return ''\n")
    importlib.invalidate_caches()
    assert names(named_tools(["shop.failing:mended"])) == ["mended"]


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(SettingsError) as refused:
        named_tools(["shop.tools:several", "shop.tools:plain"])
    assert str(refused.value) == (
        "AGENTS__TOOLS: shop.tools:plain: there is a tool 'plain' already, from "
        "AGENTS__TOOLS: shop.tools:several"
    )
    with pytest.raises(SettingsError) as refused:
        chosen_tools(["calculator"], ["shop.tools:calculator"], database=False)
    assert str(refused.value) == (
        "AGENTS__TOOLS: shop.tools:calculator: there is a tool 'calculator' already, from "
        "AGENTS__BUILTIN_TOOLS"
    )
    assert distinct([("here", BUILTIN_TOOLS[0])]) == BUILTIN_TOOLS[:1]


def test_ours_come_first_and_can_be_replaced():
    entries = ["shop.tools:calculator"]
    tools = chosen_tools(["current_time", "notes"], entries, database=True)
    assert names(tools) == [
        "current_time",
        "add_note",
        "search_notes",
        "delete_note",
        "calculator",
    ]
    assert names(chosen_tools(["notes"], entries, database=False)) == ["calculator"]


def test_an_installed_command_finds_the_working_directory(tmp_path: Path):
    """Which is not on its path as it is for `python -m`."""
    command = tmp_path / "bin" / "command"
    command.parent.mkdir()
    command.write_text(
        "from llmkeep.agents.tools.loading import named_tools\n"
        "print(named_tools(['shop.tools:plain'])[0].invoke({'text': 'HI'}))\n"
    )
    ended = subprocess.run(
        [sys.executable, command], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ended.stdout == "hi\n"


def test_a_working_directory_that_is_gone_is_no_error(tmp_path: Path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SettingsError, match="there is no module shop"):
        named_tools(["shop.tools:plain"])
    os.chdir(tmp_path)
