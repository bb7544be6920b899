"""The picture of a soak: memory, descriptors, threads and latencies over time.

python -m benchmarks.soak_plot TARGET.png      draws benchmarks/output/soak.json again
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .plot import FAILED, OURS, THEIRS

#: For each panel its title, and the figures in it with their colours.
PANELS: Final = (
    ("Resident memory: MB", {"memory": OURS}),
    ("Memory blocks of the interpreter: thousands", {"blocks": OURS}),
    ("A whole answer of 20 tokens: ms", {"p50": OURS, "p95": THEIRS, "p99": FAILED}),
    ("Open descriptors", {"descriptors": OURS}),
    ("Threads; child processes", {"threads": OURS, "children": FAILED}),
    ("Models kept", {"kept": OURS}),
)
#: Points of a line: enough for its width.
POINTS: Final = 300


def draw(samples: Sequence[dict[str, float]], target: Path) -> bool:
    """Draw `samples` into `target`; False without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "llmkeep", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(14, 6.5), layout="constrained", sharex=True)
    for axes, (title, figures) in zip(panels.flat, PANELS, strict=True):
        for name, color in figures.items():
            _draw_line(axes, samples, name, color)
        axes.set_title(title, loc="left")
        axes.set_ylim(bottom=0, top=1.12 * axes.get_ylim()[1])  # and room for the legend
        axes.spines[["top", "right"]].set_visible(False)
        if len(figures) > 1:
            axes.legend(frameon=False, loc="upper right", ncols=len(figures))
    for axes in panels[1]:
        axes.set_xlabel("minutes")
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)
    plt.close(figure)
    return True


def _draw_line(axes: Any, samples: Sequence[dict[str, float]], name: str, color: str) -> None:
    there = [each for each in samples if name in each]
    there = there[:: -(-len(there) // POINTS) or 1]
    minutes = [each["seconds"] / 60 for each in there]
    axes.plot(minutes, [each[name] for each in there], color=color, linewidth=1, label=name)


if __name__ == "__main__":
    written = Path(__file__).resolve().parent / "output" / "soak.json"
    draw(json.loads(written.read_text(encoding="utf-8"))["samples"], Path(sys.argv[1]))
