from __future__ import annotations

import builtins
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from fim.errors import MissingExtraError
from fim.reporting.data import LossPoint, MetricRow, display_of
from fim.reporting.plots import (
    NARROW_INCHES,
    _limits,
    forest_plot,
    loss_plot,
    themed,
    write_loss_plot,
)

SHORT = tuple(LossPoint(step, loss=3 - 0.1 * step) for step in range(1, 6))
LONG = tuple(
    LossPoint(
        step, loss=3 - 0.01 * step, learning_rate=1e-4, eval_loss=2.5 if step % 20 == 0 else None
    )
    for step in range(1, 101)
)


def row(name: str, low: float, high: float) -> MetricRow:
    return MetricRow(name, display_of(name), "base", 1.0, 1.0, (low + high) / 2, low, high)


ROWS = (
    row("nll_per_token", -0.6, -0.4),
    row("edit_similarity", 0.02, 0.1),
    row("exact_match", -0.03, 0.1),
    row("stop_rate", -0.2, -0.1),
)


@pytest.mark.parametrize("points", [(), SHORT[:1], SHORT, LONG], ids=["none", "one", "few", "many"])
def test_loss_plot_is_one_well_formed_element(points: tuple[LossPoint, ...]) -> None:
    svg = loss_plot(points)

    assert ET.fromstring(svg).tag.endswith("svg")
    assert svg.startswith("<svg")


def test_plots_are_deterministic() -> None:
    assert loss_plot(LONG) == loss_plot(LONG)
    assert forest_plot(ROWS) == forest_plot(ROWS)


@pytest.mark.parametrize(
    "draw", [lambda: loss_plot(LONG), lambda: forest_plot(ROWS)], ids=["loss", "forest"]
)
def test_nothing_ties_a_plot_to_a_day_a_page_or_a_place(draw: Callable[[], str]) -> None:
    svg = draw()
    assert not re.search(r"20\d\d-\d\d", svg)
    assert "<metadata" not in svg
    assert "#000000" not in svg
    assert "#ffffff" not in svg
    assert "DejaVu" not in svg
    addresses = set(re.findall(r'https?://[^"\s]+', svg))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_few_points_are_not_smoothed() -> None:
    assert "running mean" not in loss_plot(SHORT)
    assert "running mean" in loss_plot(LONG)
    assert "held-out" in loss_plot(LONG)


def test_an_empty_curve_says_so() -> None:
    assert "no loss was logged" in loss_plot(())


def test_learning_rate_alone_is_drawn() -> None:
    svg = loss_plot((LossPoint(1, learning_rate=0.0), LossPoint(2, learning_rate=0.0)))

    assert "no loss was logged" in svg
    assert "rate" in svg


def test_forest_tells_the_verdict_by_colour() -> None:
    svg = forest_plot(ROWS, width_inches=NARROW_INCHES)

    assert svg.count("#2f9e6e") > 0
    assert svg.count("#d0524c") > 0
    assert "percentage points" in svg


def test_forest_never_reads_a_label_as_markup() -> None:
    svg = forest_plot((row("cost_$x<y", 1.0, 2.0),))

    assert "Cost $x&lt;y" in svg


def test_better_is_always_on_the_right() -> None:
    left, right = _limits([row("nll_per_token", -0.6, -0.4)], 1.0)
    assert left > 0 > right
    left, right = _limits([row("edit_similarity", 0.0, 0.0)], 1.0)
    assert left < 0 < right


def test_theme_makes_ids_unique_and_colours_variable() -> None:
    svg = themed(loss_plot(SHORT), prefix="p1")

    ids = re.findall(r'\bid="([^"]+)"', svg)
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    assert ids
    assert all(name.startswith("p1-") for name in ids)
    assert set(used) <= set(ids)
    assert "var(--plot-train, #3987c9)" in svg


def test_written_plot_stands_alone(tmp_path: Path) -> None:
    path = write_loss_plot(LONG, tmp_path / "plots" / "loss.svg")

    assert ET.parse(path).getroot().tag.endswith("svg")
    assert "var(" not in path.read_text(encoding="utf-8")


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fail(name: str, *arguments: object, **keywords: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", fail)

    with pytest.raises(MissingExtraError) as caught:
        loss_plot(SHORT)

    assert caught.value.hint == 'pip install "fim[report]"'
