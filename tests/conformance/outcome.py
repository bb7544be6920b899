"""What one run of a scenario on a subject came to.

The parent process fills in what only it can see: what the upstream received, what was printed, how
the process ended.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Final


class DoesNotApply(Exception):
    """Raised by a subject that has no such thing; its text says why."""


#: What is counted of every run, and what it should come to. None: there was nothing to count.
COLUMNS: Final = {
    "failed": "calls that failed",
    "billed": "requests the upstream received, per request asked for",
    "wasted": "requests received beyond one for each call that was answered",
    "builds": "builds, per build that was needed",
    "wrong": "answers, clients or states that were not what the rule says",
    "hanging": "callers that were still waiting when the scenario gave up on them",
    "unclosed": "clients that were never closed",
    "sockets": "sockets left open",
    "threads": "threads left",
    "processes": "child processes that did not end in order",
    "warnings": "warnings and ignored errors printed",
    "exit": "0: the process ended in order",
}

#: What of a text differs from run to run, or from machine to machine.
_PARTICULARS: Final = re.compile(r"<[^>]*>?|0x[0-9a-f]+|\d+(?:[.:]\d+)*|/\S+|\(.*")


def in_general(text: str, length: int = 80) -> str:
    """A text of an error or a warning without its particulars, and not longer than `length`."""
    return _PARTICULARS.sub("..", text)[:length].strip(" :")


@dataclass
class Outcome:
    """The figures of one run; see COLUMNS."""

    applies: bool = True
    #: Why it does not apply, or what stopped the scenario.
    reason: str = ""
    calls: int = 0
    failed: int = 0
    asked: int = 0
    billed: float | None = None
    wasted: int | None = None
    builds: float | None = None
    wrong: int | None = None
    hanging: int = 0
    unclosed: int | None = None
    sockets: int | None = None
    threads: int = 0
    processes: int | None = None
    warnings: int = 0
    exit: int | None = 0
    seconds: float = 0.0
    #: How often each kind of error was met.
    errors: dict[str, int] = field(default_factory=dict)
    #: How often each kind of warning was printed.
    printed: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without those that say nothing."""
        nothing = dataclasses.asdict(Outcome())
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if value != nothing[name]
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Outcome:
        """The outcome that `to_json` wrote."""
        return cls(**values)

    def faults(self) -> dict[str, float | str]:
        """The columns that are not the zero or one that they should be."""
        if not self.applies:
            return {}
        found: dict[str, float | str] = {}
        if self.reason:
            found["stopped"] = self.reason
        for column in COLUMNS:
            value = getattr(self, column)
            if value is not None and value != (1 if column in ("billed", "builds") else 0):
                found[column] = value
        if self.exit is None:
            found["exit"] = "had to be killed"
        return found

    def only_untidy(self) -> bool:
        """Whether its faults, if any, are but warnings, and threads left."""
        return set(self.faults()) <= {"warnings", "threads"}
