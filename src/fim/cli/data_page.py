"""What the page of ``fim data stats --html`` shows, gathered from a set and its manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fim.reporting.data_page import Chart, DataPage
    from fim.types import FimExample

_MANIFEST_FILE = "manifest.json"


def gather_page(source: Path, examples: Mapping[str, tuple[FimExample, ...]]) -> DataPage:
    """Return the page of a set.

    Args:
        source: A built set or a data file; only a built set says what was dropped.
        examples: Rows by side.
    """
    from fim.reporting.data_page import DataPage, bucket_lengths, make_chart

    charts: list[Chart] = []
    for split, rows in examples.items():
        name = split.replace("_", "-")
        charts += [
            make_chart(f"Languages, {name}", Counter(row.language or "unknown" for row in rows)),
            make_chart(f"Kinds of holes, {name}", Counter(row.span_kind or "none" for row in rows)),
            make_chart(
                f"Length of the middle in characters, {name}",
                bucket_lengths([len(row.middle) for row in rows]),
                is_sorted=False,
            ),
        ]
    manifest = _manifest(source)
    charts += [
        make_chart("Files left out, by reason", _counts(manifest, "files", "dropped")),
        make_chart("Holes left out, by reason", _counts(manifest, "holes", "dropped")),
        make_chart(
            "Licences of the training files", _counts(manifest, "splits", "train", "licences")
        ),
    ]
    facts = [
        (f"{split.replace('_', '-')} rows", f"{len(rows):,}") for split, rows in examples.items()
    ]
    files = manifest.get("files")
    if isinstance(files, Mapping):
        facts += [("files seen", f"{files['seen']:,}"), ("files used", f"{files['used']:,}")]
    return DataPage(source.name or str(source), tuple(facts), tuple(charts))


def _manifest(source: Path) -> Mapping[str, object]:
    try:
        found = json.loads((source / _MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _counts(manifest: Mapping[str, object], *keys: str) -> Mapping[str, int]:
    part: object = manifest
    for key in keys:
        part = part.get(key) if isinstance(part, Mapping) else None
    return (
        {str(name): int(count) for name, count in part.items()} if isinstance(part, Mapping) else {}
    )
