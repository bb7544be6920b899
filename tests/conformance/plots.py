"""The pictures of the report: the whole grid, and what a few scenarios came to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .outcome import Outcome
    from .stage import Scenario
    from .summary import Column

GOOD: Final = "#0f766e"
BAD: Final = "#d9694f"
WARNED: Final = "#f3d27a"
NONE: Final = "#eef0f3"

#: What the second picture shows: a scenario, a figure of it, a title.
BARS: Final = (
    ("loops_in_turn", "failed", "20 asyncio.run in turn: calls that fail"),
    ("loops_in_turn", "wasted", "... and requests received in vain, of 20"),
    ("threads_and_loops", "builds", "One key, 50 threads and 4 loops: builds"),
    ("evicted_under_streams", "failed", "Evicted under 4 streams: calls that fail"),
    ("many_keys", "unclosed", "60 keys through room for 5: clients never closed"),
    ("key_is_rotated", "wrong", "API key rotated: calls with the old one"),
)


def draw(
    columns: Sequence[Column], scenarios: Sequence[Scenario], ours: int, folder: Path
) -> list[str]:
    """Draw into `folder`; the names of the files, none without matplotlib or without figures."""
    try:
        import matplotlib as mpl
    except ImportError:
        return []
    if not columns:
        return []
    mpl.use("Agg")
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "llmkeep", "font.size": 9})
    from matplotlib import pyplot as plt

    figures = {
        "grid.svg": _grid(plt, columns, scenarios, ours),
        "measures.svg": _measures(plt, columns, ours),
    }
    for name, figure in figures.items():
        figure.savefig(folder / name, metadata={"Date": None})
        plt.close(figure)
    return list(figures)


def _grid(plt: Any, columns: Sequence[Column], scenarios: Sequence[Scenario], ours: int) -> Any:
    from matplotlib.colors import ListedColormap

    size = (0.42 * len(columns) + 4, 0.21 * len(scenarios) + 2.6)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    kinds = [[_kind(column.outcome(each.name)) for column in columns] for each in scenarios]
    colors = ListedColormap([NONE, GOOD, WARNED, BAD])
    frame = (0, len(columns), len(scenarios), 0)
    axes.imshow(kinds, colors, vmin=0, vmax=3, extent=frame, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), minor=True)
    axes.set_yticks(range(len(scenarios)), minor=True)
    axes.grid(which="minor", color="white", lw=2)
    axes.tick_params(which="minor", length=0)
    axes.axvline(ours, color="#6b7280", lw=1)
    axes.set_xticks([x + 0.5 for x in range(len(columns))], [each.name for each in columns])
    axes.tick_params(axis="x", rotation=60, labeltop=True, labelbottom=False, length=0)
    for label in axes.get_xticklabels():
        label.set_ha("left")
    names = [each.name.replace("_", " ") for each in scenarios]
    axes.set_yticks([y + 0.5 for y in range(len(scenarios))], names)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    said = "green: as it should be; yellow: but for warnings or threads; red: not; grey: no part"
    figure.supxlabel(said, fontsize=9)
    return figure


def _kind(outcome: Outcome | None) -> int:
    """Which of the grid's colours it has."""
    if outcome is None or not outcome.applies:
        return 0
    if not outcome.faults():
        return 1
    return 2 if outcome.only_untidy() else 3


def _measures(plt: Any, columns: Sequence[Column], ours: int) -> Any:
    figure, panels = plt.subplots(3, 2, figsize=(13, 12), layout="constrained")
    for axes, (scenario, measure, title) in zip(panels.flat, BARS, strict=True):
        names, values, colors = [], [], []
        for number, column in enumerate(columns):
            outcome = column.outcome(scenario)
            if outcome is not None and outcome.applies:
                names.append(column.name)
                values.append(getattr(outcome, measure) or 0)
                colors.append(GOOD if number < ours else BAD)
        bars = axes.barh(names, values, color=colors)
        axes.bar_label(bars, fmt="%g", padding=3)
        axes.set_title(title, loc="left")
        axes.margins(x=0.12)
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure
