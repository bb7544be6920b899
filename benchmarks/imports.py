"""What `import llmkeep` adds to an interpreter, in fresh processes."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Final

from .harness import (
    Report,
    Spread,
    Table,
    Verdict,
    in_fresh_process,
    in_turn,
    quick_from_arguments,
)

#: Milliseconds that the import may take where asyncio is there already.
TARGET: Final = 10.0

#: Statements, and the package without which a statement is left out.
IMPORTS: Final = {
    "llmkeep": None,
    "cachetools": "cachetools",
    "dogpile.cache": "dogpile",
    "cashews": "cashews",
    "httpx": "httpx",
    "openai": "openai",
    "langchain_openai": "langchain_openai",
    "litellm": "litellm",
}
#: Those that take too long to be imported often.
HEAVY: Final = frozenset({"cashews", "openai", "langchain_openai", "litellm"})


def _added(module: str) -> float:
    """Milliseconds of `import module` after `import asyncio`, in a new interpreter."""
    program = (
        "import asyncio, time; begin = time.process_time(); "
        f"import {module}; print(time.process_time() - begin)"
    )
    seconds: float = in_fresh_process("-c", program, limit=60)
    return seconds * 1e3


def measure(quick: bool) -> Report:
    """Every import, the modules in turn."""
    there = [
        module
        for module, package in IMPORTS.items()
        if package is None or importlib.util.find_spec(package) is not None
    ]
    cases = {name: partial(_added, name) for name in there}
    samples = in_turn({n: c for n, c in cases.items() if n not in HEAVY}, 5 if quick else 25)
    if not quick:
        samples |= in_turn({n: c for n, c in cases.items() if n in HEAVY}, 3)
    spreads = {name: Spread.of(values) for name, values in samples.items()}
    ours = spreads["llmkeep"]
    return Report(
        "Importing",
        "Processor time that an `import` takes in a new interpreter that has imported asyncio.",
        [Table(("import", "takes"), [(n, s.shown(".1f", "ms")) for n, s in spreads.items()])],
        [
            Verdict(
                f"`import llmkeep` takes at most {TARGET:.0f} ms after asyncio",
                ours.shown(".1f", "ms"),
                ours.median <= TARGET,
            )
        ],
        {name: spread.median for name, spread in spreads.items()},
    )


if __name__ == "__main__":
    print(measure(quick_from_arguments()))
