"""Without an optional package there is one line, which says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [
        ("ag_ui", "import llmkeep.agents"),
        ("langgraph", "import llmkeep.agents"),
        ("pydantic_settings", "import llmkeep.agents"),
        ("pydantic_settings", "import llmkeep.settings"),
        ("typer", "from llmkeep.cli import main; main()"),
        ("rich", "import sys; sys.argv[1:] = ['chat']; from llmkeep.cli import main; main()"),
    ],
)
def test_a_missing_package_names_its_extra(missing: str, wanted: str):
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules[{missing!r}] = None; {wanted}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    last = ended.stderr.splitlines()[-1]
    assert last.endswith('pip install "llmkeep[agents]"')
    assert missing in last
