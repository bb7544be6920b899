"""The program as a process with pipes."""

from __future__ import annotations

import os
import subprocess
import sys

COMMAND = [sys.executable, "-m", "llmkeep.cli"]
PATIENCE = 60.0


def run(*arguments: str, lines: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=lines,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
