"""Dependencies point one way only, and the bare import stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def loaded_by(statement: str) -> set[str]:
    """The modules that one statement loads in a fresh interpreter."""
    program = (
        "import json, sys\n"
        "before = {*sys.modules}\n"
        f"{statement}\n"
        "print(json.dumps([*{*sys.modules} - before]))"
    )
    outcome = run_python("-I", "-c", program)
    assert outcome.returncode == 0, outcome.stderr
    return set(json.loads(outcome.stdout))


def test_layers_import_downwards_only() -> None:
    """The contracts under [tool.importlinter] hold."""
    outcome = run_python(
        "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"
    )

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "0 broken" in outcome.stdout


def test_bare_import_loads_the_core_alone() -> None:
    """`import llmkeep` loads no other layer, no asyncio, nothing outside the standard library."""
    loaded = loaded_by("import llmkeep")

    ours = {name for name in loaded if name.split(".")[0] == "llmkeep"}
    assert {name.split(".")[1] for name in ours if "." in name} <= {"core"}
    assert {name.split(".")[0] for name in loaded - ours} <= sys.stdlib_module_names
    assert "asyncio" not in loaded


@pytest.mark.parametrize("module", ["transports", "models", "agents", "service", "cli"])
def test_layer_loads_no_layer_above_it(module: str) -> None:
    """What a layer imports when it is imported alone lies below it."""
    order = ["core", "transports", "models", "agents", "service", "cli"]

    loaded = loaded_by(f"import llmkeep.{module}")

    above = {f"llmkeep.{name}" for name in order[order.index(module) + 1 :]}
    assert not above & loaded
