"""The page of a built set stands alone and escapes what it shows."""

from __future__ import annotations

import json
from pathlib import Path

from fim.cli.data_page import gather_page
from fim.reporting.data_page import bucket_lengths, make_chart, render_data_page, write_data_page
from fim.types import FimExample


def test_a_page_shows_rows_and_drops(tmp_path: Path) -> None:
    manifest = {
        "files": {"seen": 3, "used": 2, "dropped": {"lock_file": 1}},
        "holes": {"dropped": {"duplicate_hole": 4}},
        "content": {"licences": {"MIT": 2}, "redacted_secrets": {"github_token": 1}},
        "context": {"items": {"bm25": 3}, "items_dropped": {"holds_middle": 1}},
        "bytes_used": 1_500_000,
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    row = FimExample("a", "b<script>", "c", language="<b>C++</b>", span_kind="lines")
    page = gather_page(tmp_path, {"train": (row,), "held_out": (row, row)})
    text = write_data_page(page, tmp_path / "page.html").read_text()
    assert "&lt;b&gt;C++" in text
    assert "<script" not in text
    told = ("lock file", "duplicate hole", "MIT", "held-out rows", "8 to 15", "bm25", "1.5 MB")
    for shown in (*told, "holds middle", "github token"):
        assert shown in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_data_file_has_no_drops(tmp_path: Path) -> None:
    page = gather_page(tmp_path / "rows.jsonl", {"train": (FimExample("", "", ""),)})
    text = render_data_page(page)
    assert "left out" not in text
    assert "Kinds of holes" in text


def test_charts_are_short_and_lengths_fall_into_ranges() -> None:
    chart = make_chart("t", {f"n{n}": n for n in range(30)})
    assert len(chart.bars) == 21
    assert chart.bars[-1].width == 100
    assert chart.bars[-1].label == "others"
    assert make_chart("t", {}).bars == ()
    assert bucket_lengths([0, 1, 3, 4]) == {"0": 1, "1": 1, "2 to 3": 1, "4 to 7": 1}
    assert bucket_lengths([]) == {}
