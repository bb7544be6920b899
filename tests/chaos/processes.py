"""The processes of a storm: the upstream, and forked children; and waiting for what must come.

Not here: what the upstream does (`plan`, `upstream`), what a child does (`storm`).
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
#: Seconds in which what must happen does, on a machine that has other things to do.
PATIENCE: Final = 60.0


def in_child(work: Callable[[], list[str]]) -> list[str]:
    """What `work` returns in a forked child; one that hangs shows where, and is ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        faulthandler.enable()  # not its timer: the parent may have one, whose thread is not here
        try:
            found = work()
        except BaseException:
            found = [f"a forked child raised: {traceback.format_exc()}"]
        os.write(writing, json.dumps(found)[:60_000].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        if not select.select([pipe], [], [], PATIENCE)[0]:
            os.kill(child, signal.SIGABRT)
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    if status or not text:
        return [f"a forked child hung or died (status {status})"]
    return json.loads(text)  # type: ignore[no-any-return]


@contextmanager
def upstream(seed: int, *, refuses: bool = True) -> Iterator[int]:
    """The port of an upstream in a process of its own, which refuses connections now and then."""
    manner = () if refuses else ("steady",)
    command = [sys.executable, "-m", "tests.chaos.upstream", str(seed), *manner]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            raise


def journal_of(port: int) -> dict[str, Any]:
    """What the upstream saw: of each request its attempts."""
    return _ask(port)["attempts"]  # type: ignore[no-any-return]


def connections_of_loops(port: int) -> int:
    """How many connections of asynchronous clients, or of nobody yet, the upstream holds open."""
    return sum(kind != "sync" for kind in _ask(port)["connections"])


def _ask(port: int) -> dict[str, Any]:
    for _ in range(1000):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/journal") as response:
                return json.loads(response.read())  # type: ignore[no-any-return]
        except OSError:  # it refuses connections now and then
            time.sleep(0.01)  # its listener comes back by itself; a thousand tries decide
    raise AssertionError("the upstream does not answer")


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether `condition()` comes to hold."""
    deadline = time.monotonic() + PATIENCE / 4
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)  # between two looks; the deadline decides
    return condition()
