"""What every test gets: no provider in the environment, and a check that nothing is left behind.

Not here: fakes and stand-ins. Those live beside the tests that use them, in the folder of their
layer.
"""

from __future__ import annotations

import gc
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

#: How long, in seconds, what is on its way out may take: a server's side of a closed connection,
#: a thread that has been told to end. Nobody waits for it unless something is left.
GRACE = 10.0

#: Threads of the process itself: daemons that are started once and shared from then on.
SHARED_THREADS = ("llmkeep-housekeeper", "llmkeep-idle", "execnet")

#: Processes that multiprocessing starts once and keeps.
SHARED_PROCESSES = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")

#: Variables of the environment that would make a test speak to somebody, or behave otherwise on
#: one machine than on the next.
FOREIGN_VARIABLES = re.compile(
    r"OPENAI_|ANTHROPIC_|LANGCHAIN_|LANGSMITH_|LLMKEEP_|LLM__|AGENTS__|SERVICE__|OTEL_"
    r"|.*_API_KEY$|.*_PROXY$",
    re.IGNORECASE,
)


def pytest_configure() -> None:
    """No test, and no process that a test starts, meets a real key, tracer or proxy."""
    for name in list(os.environ):
        if FOREIGN_VARIABLES.match(name):
            del os.environ[name]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fails a test that leaves a thread, a child process or a socket behind.

    Wider fixtures are set up before this one and may keep what they have.
    """
    before = _held()
    yield
    began = time.monotonic()
    collected = False
    while (left := _held() - before) and time.monotonic() < began + GRACE:
        time.sleep(0.002)  # between two looks at the condition; the deadline decides
        if not collected and time.monotonic() > began + 0.1:
            collected = bool(gc.collect()) or True  # slow, and most often not needed
    if left:
        pytest.fail(f"left behind: {', '.join(sorted(left))}", pytrace=False)


def _held() -> set[str]:
    return _threads() | _children() | _sockets()


def _threads() -> set[str]:
    return {
        f"thread {thread.name!r} ({thread.ident})"
        for thread in threading.enumerate()
        if not (thread.daemon and thread.name.startswith(SHARED_THREADS))
    }


def _children() -> set[str]:
    """Child processes, ended ones that nobody waited for included (Linux)."""
    found = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        for pid in _read(listing).split():
            command = _read(Path("/proc") / pid / "cmdline").replace("\0", " ").strip()
            if not any(shared in command for shared in SHARED_PROCESSES):
                found.add(f"process {pid} ({command or 'ended'})")
    return found


def _sockets() -> set[str]:
    """Open sockets by descriptor and inode (Linux)."""
    found = set()
    for descriptor in Path("/proc/self/fd").glob("*"):
        try:
            target = str(descriptor.readlink())
        except OSError:  # closed between the two looks
            continue
        if target.startswith("socket:"):
            found.add(f"descriptor {descriptor.name} ({target})")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # the thread or the process has ended
        return ""
