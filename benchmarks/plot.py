"""The picture beside the numbers: what a hit costs, and what a storm does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

OURS: Final = "#0f766e"
THEIRS: Final = "#a8b0bd"
FAILED: Final = "#d9694f"

#: What the first panel shows of `hot`, under shorter names.
TURNS: Final = {
    "with cache.lease(frozen)": "llmkeep: a lease",
    "async with cache.lease(frozen)": "llmkeep: a lease, async with",
    "an empty @contextmanager block": "an empty @contextmanager block",
    "an empty @asynccontextmanager block": "an empty @asynccontextmanager block",
    "with threading.Semaphore(5)": "with threading.Semaphore(5)",
    "dict under a lock": "dict under a lock: a hit",
    "cachetools (lock)": "cachetools (lock): a hit",
    "litellm's client cache": "litellm's client cache: a hit",
    "dogpile.cache": "dogpile.cache: a hit",
    "SQLAlchemy QueuePool, connect and close": "SQLAlchemy QueuePool: connect, close",
}
MIXED: Final = "50 threads and 4 loops of 25 tasks"
SLOW: Final = "10 keys of 0.1 s, 100 threads"


def draw(data: Mapping[str, Any], target: Path) -> bool:
    """Draw what `data` has of it into `target`; False without matplotlib, or without the data."""
    if not {"hot", "storms"} <= data.keys():
        return False
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    # Text stays text, and the same numbers give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "llmkeep", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, (turns, mixed, slow) = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    _draw_turns(turns, data["hot"]["nanoseconds"])
    _draw_storm(mixed, data["storms"][MIXED])
    _draw_slow(slow, data["storms"][SLOW])
    for axes in (turns, mixed, slow):
        axes.spines[["top", "right"]].set_visible(False)
        axes.invert_yaxis()
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)
    return True


def _colors(names: list[str]) -> list[str]:
    return [OURS if name.startswith("llmkeep") else THEIRS for name in names]


def _draw_turns(axes: Any, nanoseconds: Mapping[str, float]) -> None:
    shown = {name: nanoseconds[what] for what, name in TURNS.items() if what in nanoseconds}
    bars = axes.barh(list(shown), list(shown.values()), color=_colors(list(shown)))
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_title("One turn, all there already: ns", loc="left")


def _draw_storm(axes: Any, outcomes: Mapping[str, Mapping[str, float]]) -> None:
    names = list(outcomes)
    builds = [outcomes[name]["builds"] for name in names]
    failed = [outcomes[name]["wrong"] + outcomes[name]["hanging"] for name in names]
    axes.barh(names, builds, color=_colors(names))
    bars = axes.barh(names, failed, left=builds, color=FAILED)
    texts = [f"{b}, {f} fail" if f else str(b) for b, f in zip(builds, failed, strict=True)]
    axes.bar_label(bars, labels=texts, padding=3)
    axes.margins(x=0.25)
    axes.set_title("One key, 50 threads and 100 tasks on 4 loops: builds", loc="left")


def _draw_slow(axes: Any, outcomes: Mapping[str, Mapping[str, float]]) -> None:
    names = list(outcomes)
    bars = axes.barh(names, [outcomes[each]["seconds"] for each in names], color=_colors(names))
    texts = [
        f"{each['seconds']:.2f} s, {each['builds']} builds"
        + (f", {each['wrong']} fail" if each["wrong"] else "")
        for each in outcomes.values()
    ]
    axes.bar_label(bars, labels=texts, padding=3)
    axes.margins(x=0.45)
    axes.set_title("10 keys of 0.1 s: all served after", loc="left")
