"""Putting a fault into a copy of the package, and looking whether a test finds it.

The sources themselves are never touched: the copy lies in a temporary folder, and a pytest of its
own imports it from there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import llmkeep

from .patches import Patch

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = Path(llmkeep.__file__).parent

#: Seconds after which a run of tests is ended, if that did not help.
LIMIT: Final = 300.0

#: The plugins that these tests need, and no other: loading all that is installed takes longer than
#: most of the tests.
PLUGINS: Final = ("-p", "no:cacheprovider", "-p", "asyncio", "-p", "anyio")
#: A test that hangs is ended after so many seconds, and has failed.
HANGS: Final = ("-o", "faulthandler_timeout=60", "-o", "faulthandler_exit_on_timeout=true")
ENVIRONMENT: Final = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}

#: What pytest returns: all passed, or some failed. Anything else is no answer.
PASSED: Final = 0
FAILED: Final = 1


@dataclass(frozen=True)
class Trial:
    """How one run of tests ended."""

    returned: int | None
    """What pytest returned; None if it hung."""
    seconds: float
    output: str

    @property
    def word(self) -> str:
        """The outcome, as the table has it."""
        words = {PASSED: "passed", FAILED: "failed", None: "hung"}
        return words.get(self.returned, "broke")


def applied(patch: Patch) -> str:
    """The text of the patched file. Raises ValueError where the patch does not fit any more."""
    text = (PACKAGE / patch.file).read_text(encoding="utf-8")
    found = text.count(patch.before)
    if found != 1:
        raise ValueError(f"{patch}: its text stands {found} times in {patch.file}")
    return text.replace(patch.before, patch.after)


@contextmanager
def package_with(patch: Patch | None) -> Iterator[Path]:
    """A folder to import a copy of the package from, with a fault in it or with none."""
    with tempfile.TemporaryDirectory(prefix="llmkeep-mutant-") as folder:
        copy = Path(folder) / PACKAGE.name
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "static"))
        if patch is not None:
            (copy / patch.file).write_text(applied(patch), encoding="utf-8")
        yield Path(folder)


def trial(tests: Iterable[str], patch: Patch | None = None) -> Trial:
    """Run `tests`, named from the folder of tests on, over a copy of the package with the patch."""
    began = time.monotonic()
    named = [f"tests/{test}" for test in tests]
    with package_with(patch) as sources:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-x", *PLUGINS, *HANGS, *named],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(sources)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        returned: int | None
        try:
            output, _ = process.communicate(timeout=LIMIT)
            returned = process.returncode
        except subprocess.TimeoutExpired:
            returned = None
            output = ""
        finally:
            _end(process)
    return Trial(returned, time.monotonic() - began, output)


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and all that it started: a fault may leave a child behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()
