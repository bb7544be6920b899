"""What a subject comes to over all scenarios, and the words for what a scenario came to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from .outcome import Outcome
from .stage import Scenario

#: The columns of an outcome, the gravest first: what decides which finding is the worst.
_GRAVEST: Final = (
    *("exit", "stopped", "hanging", "processes", "failed", "wrong", "wasted", "billed"),
    *("builds", "unclosed", "sockets", "threads", "warnings"),
)


class Column(NamedTuple):
    """One subject's figures."""

    module: str
    name: str
    figures: dict[str, Any]

    def outcome(self, scenario: str) -> Outcome | None:
        """What the scenario came to; None if it was not run."""
        kept = self.figures["outcomes"].get(scenario)
        return None if kept is None else Outcome.of(kept)

    def outcomes(self) -> dict[str, Outcome]:
        """What all scenarios came to in which it has a part."""
        found = {name: Outcome.of(kept) for name, kept in self.figures["outcomes"].items()}
        return {name: outcome for name, outcome in found.items() if outcome.applies}


def cell(outcome: Outcome) -> str:
    """What an outcome comes to, in a few words."""
    words = [_word(name, value, outcome) for name, value in outcome.faults().items()]
    return ", ".join(words) or "as it should be"


def _word(name: str, value: float | str, outcome: Outcome) -> str:
    if name == "stopped" or isinstance(value, str):
        return str(value)
    if name == "failed":
        return f"{value} of {outcome.calls} calls fail"
    if name == "billed":
        return f"billed {value:g} times" if value > 1 else f"received {value:g}"
    if name == "builds":
        return f"{value:g} builds"
    return f"{name} {value:g}"


def summary(columns: Iterable[Column]) -> list[list[str]]:
    """A row per subject: how many scenarios are as they should be, and the worst finding."""
    rows = []
    for column in columns:
        outcomes = column.outcomes()
        good = sum(not outcome.faults() for outcome in outcomes.values())
        untidy = sum(outcome.only_untidy() for outcome in outcomes.values()) - good
        counts = [f"{good} of {len(outcomes)}", str(untidy), str(len(outcomes) - good - untidy)]
        rows.append([column.name, *counts, _worst(outcomes)])
    return rows


def _worst(outcomes: dict[str, Outcome]) -> str:
    found = [
        (_GRAVEST.index(name), -_weight(name, value, outcome), scenario, name, value)
        for scenario, outcome in outcomes.items()
        for name, value in outcome.faults().items()
    ]
    if not found:
        return "none"
    _, _, scenario, name, value = min(found)
    return f"{scenario}: {_word(name, value, outcomes[scenario])}"


def _weight(name: str, value: float | str, outcome: Outcome) -> float:
    if isinstance(value, str):
        return 1000.0
    return value / max(1, outcome.calls) if name == "failed" else abs(value)


def broken_by_nobody(columns: Iterable[Column], scenarios: Sequence[Scenario]) -> list[str]:
    """The scenarios that came to no more than warnings or threads with all `columns`."""
    broken = {
        name
        for column in columns
        for name, outcome in column.outcomes().items()
        if not outcome.only_untidy()
    }
    return [each.name for each in scenarios if each.name not in broken]
