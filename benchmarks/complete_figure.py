"""Draw what a completion waits for, contestant by contestant, from results of ``complete.py``.

    python benchmarks/complete_figure.py FIGURE RESULTS.json [RESULTS.json ...]

The first result's contestants make the rows; each result has a panel: time to the first token,
then to the whole completion, medians, with a tick at the 95th percentile, and how many times as
fast as plain ``generate`` the median is. The library's prompt lookup tells of no first token.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PLAIN = "transformers generate"


def draw(figure_path: Path, sources: list[Path]) -> None:
    """Write the figure as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "fim", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(sources), figsize=(4.6 * len(sources), 2.7), sharey=True, squeeze=False
    )
    for axis, source in zip(axes[0], sources, strict=True):
        _panel(axis, json.loads(source.read_text(encoding="utf-8")))
    axes[0][0].invert_yaxis()
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="lower center", ncol=3)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(figure_path, format="svg", metadata={"Date": None})


def _panel(axis: Any, result: dict[str, Any]) -> None:
    rows = result["rows"]
    names = [row["name"].replace("transformers ", "") for row in rows]
    whole = [row["completion_ms_p50"] / 1000 for row in rows]
    first = [row["first_token_ms_p50"] / 1000 for row in rows]
    slow = [row["completion_ms_p95"] / 1000 for row in rows]
    plain = next(row["completion_ms_p50"] for row in rows if row["name"] == PLAIN)
    axis.barh(names, whole, color="#9ecae1", label="whole completion")
    axis.barh(names, first, color="#3182bd", label="first token")
    axis.plot(slow, names, "|", color="#08306b", label="95th percentile")
    for row, seconds, name in zip(rows, slow, names, strict=True):
        ratio = plain / row["completion_ms_p50"]
        axis.annotate(
            f"{ratio:.1f}×", (seconds, name), xytext=(5, -3), textcoords="offset points", fontsize=8
        )
    axis.set_xlim(0, max(slow) * 1.15)
    axis.set_xlabel("seconds")
    is_tuned = result["facts"]["adapter"] == "True"
    model = "tuned" if is_tuned else "base"
    axis.set_title(f"{model}, {result['facts']['dtype']}", fontsize=9)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
