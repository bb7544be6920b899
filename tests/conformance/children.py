"""Forked children of a scenario, which report how they fared."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from .stage import Stage, until

#: What a child adds to the outcome of its scenario.
_ADDED = ("calls", "failed", "asked", "hanging")


class Children:
    """The forked children of one scenario."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._running: dict[int, int] = {}

    def fork(self, work: Callable[[], object]) -> None:
        """Run `work` in a child; what it counts there is added here by `wait`."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            self._running[pid] = reading
            return
        try:
            os.close(reading)
            self._stage.start_counting_over()
            work()
            os.write(writing, report_of(self._stage))
            os._exit(0)
        finally:
            os._exit(1)

    def wait(self, seconds: float = 10.0) -> None:
        """Wait for all; those that do not end are killed, and counted like those that broke."""
        deadline = time.monotonic() + seconds
        broken = 0
        for pid, reading in self._running.items():
            broken += not self._ended(pid, deadline)
            with os.fdopen(reading, "rb") as pipe:
                add_report(self._stage, pipe.read())
        self._stage.outcome.processes = (self._stage.outcome.processes or 0) + broken

    def _ended(self, pid: int, deadline: float) -> bool:
        ended: list[int] = []

        def look() -> bool:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(found)

        if not until(look, max(0.1, deadline - time.monotonic())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return ended == [0]


def report_of(stage: Stage) -> bytes:
    """What a child has counted."""
    outcome = stage.finish()
    counted = {name: getattr(outcome, name) for name in _ADDED}
    return json.dumps([counted, outcome.wrong or 0, outcome.errors]).encode()


def add_report(stage: Stage, said: bytes) -> None:
    """Add what a child counted."""
    if not said:
        return
    counted, wrong, errors = json.loads(said)
    for name, value in counted.items():
        setattr(stage.outcome, name, getattr(stage.outcome, name) + value)
    stage.wrong(wrong)
    stage.errors.update(errors)


def shared_connections(received: list[dict[str, Any]]) -> int:
    """How many connections carried prompts of more than one process (a prompt names its own)."""
    users: dict[int, set[str]] = {}
    for each in received:
        users.setdefault(each["client_port"], set()).add(each["prompt"].split()[-2])
    return sum(len(processes) > 1 for processes in users.values())
