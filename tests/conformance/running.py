"""Runs scenarios on subjects, each pair in a process of its own, beside one upstream.

What the process itself cannot see is counted here: what the upstream received, what was printed,
and how the process ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

from .outcome import Outcome, in_general
from .stage import load_scenarios
from .subject import load
from .upstream import Upstream

#: Seconds that a scenario may take, and one that starts interpreters or servers of its own.
LIMIT: Final = 30.0
HEAVY: Final = 90.0
#: Seconds that the interpreter may take to end afterwards.
END: Final = 15.0

#: How a warning, an ignored error or a stray traceback begins.
WARNINGS: Final = re.compile(
    r"^(?:.*?: )?(?P<warning>\w*Warning: (?!Enable tracemalloc).*)"
    r"|^(?P<error>Exception ignored in|Exception in thread|Task exception was never retrieved"
    r"|Task was destroyed but it is pending|Future exception was never retrieved"
    r"|Error on reading from the event loop self pipe|SSL error in data received"
    r"|an error occurred during closing of asynchronous generator"
    r"|Fatal Python error|Fatal error on SSL|Error in atexit).*",
    re.MULTILINE,
)

#: Variables that would let a run speak to somebody else.
_FOREIGN: Final = re.compile(
    r"OPENAI_|ANTHROPIC_|LANGCHAIN_|LANGSMITH_|.*_API_KEY$|.*_PROXY$", re.IGNORECASE
)


class Zygote:
    """A process that forks a run on demand."""

    def __init__(self, modules: Iterable[str]) -> None:
        environment = {name: text for name, text in os.environ.items() if not _FOREIGN.match(name)}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "default", "-m", f"{__package__}.zygote", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONUNBUFFERED": "1"},
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._lines.get(timeout=120)  # "ready"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())

    def run(self, order: dict[str, Any]) -> int | None:
        """How the run ended; None if it had to be killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        pid = int(self._lines.get(timeout=20))
        try:
            code: int | None = int(self._lines.get(timeout=order["limit"] + END))
        except Empty:
            code = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # it, or what it left behind
        if code is None:
            self._lines.get(timeout=20)
        return code

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._reader.join(20)
        self._process.stdout.close()


class Runner:
    """An upstream, and a process to fork runs of one subject from; lives as long as its block.

    That process has imported what the subject needs and no more: all of it has to end in each run.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __enter__(self) -> Self:
        self._upstream = Upstream()
        self._upstream.__enter__()
        self._zygote = Zygote(load(self._subject).modules)
        self._folder = tempfile.TemporaryDirectory(prefix="llmkeep-conformance-")
        return self

    def __exit__(self, *_: object) -> None:
        self._zygote.close()
        self._upstream.__exit__()
        self._folder.cleanup()

    def run(self, scenario: str) -> Outcome:
        """What `scenario` comes to on the subject."""
        self.said = ""
        lacking = load(self._subject).lacks(load_scenarios()[scenario].needs)
        if lacking is not None:
            return Outcome(applies=False, reason=lacking)
        upstream, folder = self._upstream, Path(self._folder.name)
        upstream.start_over()
        files = {name: folder / name for name in ("result", "output", "trace")}
        for file in files.values():
            file.unlink(missing_ok=True)
        order = {
            "scenario": scenario,
            "limit": HEAVY if load_scenarios()[scenario].heavy else LIMIT,
            "subject": self._subject,
            "url": upstream.url,
            "authority": str(upstream.authority),
            "environment": {"SSL_CERT_FILE": str(upstream.authority)},
            **{name: str(file) for name, file in files.items()},
        }
        code = self._zygote.run(order)
        if files["result"].exists():
            outcome = Outcome.of(json.loads(files["result"].read_text()))
        else:
            outcome = Outcome(reason="the process ended before the scenario did", hanging=1)
        outcome.exit = code
        said = files["output"].read_text(errors="replace")
        kinds = Counter(map(_kind, WARNINGS.finditer(said)))
        outcome.warnings, outcome.printed = kinds.total(), dict(kinds.most_common(4))
        self.said = said + (files["trace"].read_text() if files["trace"].exists() else "")
        received = sum(upstream.times().values())
        if outcome.asked:
            outcome.billed = round(received / outcome.asked, 3)
            outcome.wasted = max(0, received - max(0, outcome.asked - outcome.failed))
        return outcome


def _kind(found: re.Match[str]) -> str:
    """A warning without its particulars."""
    return in_general(found["warning"] or found["error"])
