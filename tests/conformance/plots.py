"""The pictures of the report: the whole grid, and what a few scenarios came to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .report import Column
    from .stage import Scenario

GOOD: Final = "#0f766e"
BAD: Final = "#d9694f"
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
    size = (0.42 * len(columns) + 4, 0.21 * len(scenarios) + 2.6)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    for x, column in enumerate(columns):
        for y, scenario in enumerate(scenarios):
            outcome = column.outcome(scenario.name)
            color = NONE
            if outcome is not None and outcome.applies:
                color = BAD if outcome.faults() else GOOD
            axes.add_patch(plt.Rectangle((x + 0.06, y + 0.06), 0.88, 0.88, color=color, lw=0))
    axes.axvline(ours, color="#6b7280", lw=1)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(scenarios), 0)
    axes.set_xticks([x + 0.5 for x in range(len(columns))], [each.name for each in columns])
    axes.tick_params(axis="x", rotation=60, labeltop=True, labelbottom=False, length=0)
    for label in axes.get_xticklabels():
        label.set_ha("left")
    names = [each.name.replace("_", " ") for each in scenarios]
    axes.set_yticks([y + 0.5 for y in range(len(scenarios))], names)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    figure.supxlabel("green: all zeros and ones; red: not; grey: does not apply", fontsize=9)
    return figure


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
        axes.spines[["top", "right"]].set_visible(False)
    return figure
