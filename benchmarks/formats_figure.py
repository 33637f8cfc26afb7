"""Draw what ``benchmarks/formats.py`` measured: distances from the first format, with intervals.

python benchmarks/formats_figure.py benchmarks/results/formats.json docs/concepts/formats.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LABELS = {
    "nll_per_token": "NLL per token (lower is better)",
    "exact_match": "exact match",
    "edit_similarity": "edit similarity",
    "stop_rate": "stops by itself",
}


def draw(source: Path, target: Path) -> None:
    """Write the figure of a result file as SVG."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "formats", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    first, *rows = json.loads(source.read_text(encoding="utf-8"))["rows"]
    figure, axes = plt.subplots(1, len(LABELS), figsize=(10, 1.9), sharey=True)
    for axis, (metric, label) in zip(axes, LABELS.items(), strict=True):
        found = [row["differences"][metric] for row in rows]
        middles = [each["difference"] for each in found]
        errors = (
            [each["difference"] - each["low"] for each in found],
            [each["high"] - each["difference"] for each in found],
        )
        axis.errorbar(middles, range(len(rows)), xerr=errors, fmt="o", color="#1f5f8b", capsize=3)
        axis.axvline(0, color="#888888", linewidth=0.8)
        axis.set_title(label, fontsize=9)
        axis.set_yticks(range(len(rows)), [row["format"] for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(f"difference from {first['format']}, 95 % interval", y=1.12, fontsize=9)
    figure.savefig(target, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
