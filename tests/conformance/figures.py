"""Figures of many runs: measured now, kept as JSON, read again for the report."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from .outcome import Outcome
from .running import Runner
from .stage import load_scenarios
from .subject import Subject, load, names

#: Where figures and the report are kept.
FOLDER: Final = Path(__file__).parents[2] / "docs" / "conformance"
PEERS: Final = FOLDER / "peers.json"
OURS: Final = FOLDER / "ours.json"

Told = Callable[[str, str, Outcome, str], None]


def ours() -> list[str]:
    """The modules of our own subjects."""
    return [name for name in names() if load(name).ours]


def peers() -> list[str]:
    """The modules of all others."""
    return [name for name in names() if not load(name).ours]


def measure(subject: str, scenarios: Iterable[str], told: Told) -> dict[str, Any]:
    """What `scenarios` come to on `subject`, with what was measured, and when."""
    described: Subject = load(subject)
    outcomes = {}
    with Runner(subject) as runner:
        for scenario in scenarios:
            outcome = runner.run(scenario)
            told(scenario, subject, outcome, runner.said)
            outcomes[scenario] = outcome.to_json()
    return {
        "name": described.name,
        "about": described.about,
        "versions": described.versions(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.system()}, {os.cpu_count()} cores",
        "outcomes": outcomes,
    }


def keep(target: Path, subject: str, figures: dict[str, Any]) -> None:
    """Put the figures of one subject beside those of the others."""
    kept = read(target)
    known = kept.get(subject, {}).get("outcomes", {})
    figures["outcomes"] = {
        name: outcome
        for name in load_scenarios()
        if (outcome := figures["outcomes"].get(name, known.get(name))) is not None
    }
    kept[subject] = figures
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


def read(source: Path) -> dict[str, Any]:
    """The kept figures by subject; nothing where there are none."""
    if not source.exists():
        return {}
    kept: dict[str, Any] = json.loads(source.read_text())
    return kept
