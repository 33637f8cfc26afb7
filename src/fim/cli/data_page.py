"""What the page of ``fim data stats --html`` shows, gathered from a set and its manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fim.reporting.data_page import ChartGroup, DataPage
    from fim.types import FimExample

_MANIFEST_FILE = "manifest.json"


def gather_page(source: Path, examples: Mapping[str, tuple[FimExample, ...]]) -> DataPage:
    """Return the page of a set.

    Args:
        source: A built set or a data file; only a built set says what was dropped.
        examples: Rows by side.
    """
    from fim.reporting.data_page import DataPage

    manifest = _manifest(source)
    groups = [*_row_groups(examples), *_manifest_groups(manifest)]
    facts = [
        (f"{split.replace('_', '-')} rows", f"{len(rows):,}") for split, rows in examples.items()
    ]
    files, num_bytes = manifest.get("files"), manifest.get("bytes_used")
    if isinstance(files, Mapping):
        facts += [("files seen", f"{files['seen']:,}"), ("files used", f"{files['used']:,}")]
    if isinstance(num_bytes, int):
        facts.append(("source text", f"{num_bytes / 1e6:,.1f} MB"))
    return DataPage(source.name or str(source), tuple(facts), tuple(groups))


def _row_groups(examples: Mapping[str, tuple[FimExample, ...]]) -> list[ChartGroup]:
    """Return what the rows of both sides tell, side by side."""
    from fim.reporting.data_page import ChartGroup, bucket_lengths, make_chart

    languages, kinds, lengths, context = [], [], [], []
    for split, rows in examples.items():
        name = split.replace("_", "-")
        languages.append(make_chart(name, Counter(row.language or "unknown" for row in rows)))
        kinds.append(make_chart(name, Counter(row.span_kind or "none" for row in rows)))
        found = bucket_lengths([len(row.middle) for row in rows])
        lengths.append(make_chart(name, found, is_sorted=False))
        given = Counter(len(row.context) for row in rows)
        counts = {str(number): given[number] for number in range(max(given, default=-1) + 1)}
        context.append(make_chart(name, counts, is_sorted=False))
    return [
        ChartGroup("Languages", tuple(languages)),
        ChartGroup("Kinds of holes", tuple(kinds)),
        ChartGroup("Length of the middle, in characters", tuple(lengths)),
        ChartGroup("Pieces of other files in a row", tuple(context)),
    ]


def _manifest_groups(manifest: Mapping[str, object]) -> list[ChartGroup]:
    """Return what only the record of a build tells; nothing without one."""
    from fim.reporting.data_page import ChartGroup, make_chart

    if not manifest:
        return []
    dropped = (
        make_chart("Files", _counts(manifest, "files", "dropped")),
        make_chart("Holes", _counts(manifest, "holes", "dropped")),
    )
    context = (
        make_chart("How it was found", _counts(manifest, "context", "items")),
        make_chart("Why it was left out", _counts(manifest, "context", "items_dropped")),
    )
    content = (
        make_chart("Licences of the files", _counts(manifest, "content", "licences")),
        make_chart("Secrets replaced", _counts(manifest, "content", "redacted_secrets")),
        make_chart("Characters replaced", _counts(manifest, "content", "redacted_characters")),
    )
    return [
        ChartGroup("What was left out, by reason", dropped),
        ChartGroup("Context", context),
        ChartGroup("What the files hold", content),
    ]


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
