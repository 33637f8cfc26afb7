"""Plots of growth: training by holes and length against its floor, building by corpus size.

python benchmarks/growth.py TABLE FOLDER [--corpus FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTESTANTS = {
    "ours_tree": "fim, tree",
    "ours_none": "fim, rows alone",
    "trl_best": "TRL, the better of two",
    "archive": "archive recipe",
}
DECODER_PARAMETERS = 106_194_240
PASSES = 2
FLOPS_PER_PARAMETER = 2


def speeds(rows: Sequence[Mapping[str, Any]], name: str, tokens: int) -> dict[int, float]:
    """Return holes per second by holes a document; one for all where a contestant shares nothing.

    Args:
        rows: Of the table.
        name: A contestant, or ``trl_best`` for the better one of TRL's.
        tokens: Length of rows.
    """
    found: dict[int, float] = {}
    for row in rows:
        is_it = row["contestant"] == name
        is_trl = name == "trl_best" and row["contestant"].startswith("trl")
        if row["tokens"] == tokens and (is_it or is_trl):
            holes = row["holes_per_document"]
            found[holes] = max(row["holes_per_second"], found.get(holes, 0.0))
    return found


def floor_seconds(row: Mapping[str, Any], gflops: float) -> float:
    """Return the least seconds of a tree's step: its products forward and back at the full rate."""
    tokens = row["tokens_per_second"] * row["holes_per_document"] / row["holes_per_second"]
    return float(tokens * DECODER_PARAMETERS * FLOPS_PER_PARAMETER * PASSES / (gflops * 1e9))


def plot_growth(source: Path, folder: Path) -> list[Path]:
    """Write the plots of a table as SVG.

    Args:
        source: What ``train.py --table`` wrote.
        folder: Where the plots go.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fim"
    from matplotlib import pyplot as plt

    found = json.loads(source.read_text(encoding="utf-8"))
    rows = found["rows"]
    lengths = sorted({row["tokens"] for row in rows})
    counts = sorted({r["holes_per_document"] for r in rows if r["contestant"] == "ours_tree"})
    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, len(lengths), figsize=(4 * len(lengths), 3.4), squeeze=False)
    for axis, tokens in zip(axes[0], lengths, strict=True):
        for name, label in CONTESTANTS.items():
            speed = speeds(rows, name, tokens)
            if name != "ours_tree":
                speed = {count: max(speed.values()) for count in counts} if speed else {}
            axis.plot(list(speed), list(speed.values()), marker="o", label=label)
        axis.set(title=f"rows of {tokens} tokens", xlabel="holes a document", xscale="log")
        axis.set(xticks=counts, xticklabels=counts, ylim=(0, None))
        axis.minorticks_off()
    axes[0][0].set_ylabel("holes per second")
    axes[0][0].legend(fontsize="small", loc="upper left")
    speed_plot = folder / "training-speed.svg"
    _save(figure, speed_plot)
    figure, axis = plt.subplots(figsize=(7, 3.6))
    gflops = found["machine"]["bfloat16_matrix_gflops"]
    for tokens in lengths:
        trees = [r for r in rows if r["contestant"] == "ours_tree" and r["tokens"] == tokens]
        trees.sort(key=lambda row: row["holes_per_document"])
        holes = [row["holes_per_document"] for row in trees]
        taken = [row["holes_per_document"] / row["holes_per_second"] for row in trees]
        (line,) = axis.plot(holes, taken, marker="o", label=f"{tokens} tokens")
        floor = [floor_seconds(row, gflops) for row in trees]
        axis.plot(holes, floor, linestyle="--", color=line.get_color(), label="its floor")
    axis.set(xlabel="holes a document", ylabel="seconds a step, trees", yscale="log")
    axis.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    floor_plot = folder / "training-floor.svg"
    _save(figure, floor_plot)
    return [speed_plot, floor_plot]


def plot_corpus_growth(source: Path, folder: Path) -> Path:
    """Write a plot of processor time and memory against the size of what is built.

    Args:
        source: One build for each size, as the memory test prints them.
        folder: Where the plot goes.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fim"
    from matplotlib import pyplot as plt

    runs = sorted(json.loads(source.read_text("utf-8"))["runs"], key=lambda run: run["megabytes"])
    sizes = [run["megabytes"] for run in runs]
    figure, (time_axis, memory_axis) = plt.subplots(1, 2, figsize=(8, 3.2))
    time_axis.plot(sizes, [run["cpu_seconds"] for run in runs], marker="o")
    time_axis.set(xlabel="MB of source", ylabel="processor seconds", xlim=(0, None), ylim=(0, None))
    memory_axis.plot(sizes, [run["peak_mib"][0] for run in runs], marker="o")
    memory_axis.set(xlabel="MB of source", ylabel="peak MiB", xlim=(0, None), ylim=(0, None))
    path = folder / "corpus-growth.svg"
    _save(figure, path)
    return path


def _save(figure: Figure, path: Path) -> None:
    """Write a figure without anything that differs between two writings."""
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> int:
    """Plot a table that was written before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpus", type=Path, help="builds of several sizes")
    arguments = parser.parse_args()
    plot_growth(arguments.source, arguments.folder)
    if arguments.corpus is not None:
        plot_corpus_growth(arguments.corpus, arguments.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
