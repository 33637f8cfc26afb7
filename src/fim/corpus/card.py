"""The data card: a README beside the shards that says what the set is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CARD_FILE = "README.md"
_SPLIT_RULES = {
    "group": "groups of near-identical files; a group's own name and the seed choose its side",
    "repo": "repositories; forks of one another count as one",
    "path-prefix": "the paths {held_out_paths} are held out",
    "time": "lines added after commit `{split_commit}` are held out; files they stand in, and "
    "near-duplicates of those, are not trained on",
}


def write_card(folder: Path, manifest: Mapping[str, object]) -> None:
    """Write the data card of a set."""
    (folder / CARD_FILE).write_text(render_card(manifest), encoding="utf-8")


def render_card(manifest: Mapping[str, object]) -> str:
    """Return the data card of a manifest, in Markdown."""
    config, files, holes = (_part(manifest, name) for name in ("config", "files", "holes"))
    splits, content, context = (_part(manifest, name) for name in ("splits", "content", "context"))
    rule = _SPLIT_RULES[str(config.get("split", "group"))].format(**config)
    sections = (
        "# Fill-in-the-middle data set",
        "Holes cut into source code by `fim data build`: `prefix`, `middle` and `suffix` join to "
        "the text of the file, `start` and `end` are the hole's offsets in characters, rows of one "
        "file share a `document_id`.",
        "## Sides",
        _table(
            ("", "train", "held_out"),
            [
                (name.replace("_", " "), *(_figure(splits, side, name) for side in splits))
                for name in ("files", "documents_with_examples", "examples")
            ],
        ),
        f"Split by {rule}. No held-out middle of 40 characters or more stands verbatim in a "
        f"training file, and none shares a run of {config.get('leak_ngram_tokens')} tokens with "
        "one; `fim data check` proves it again.",
        "## Sources",
        _table(("root", "kind", "commit", "files"), _inputs(manifest)),
        "The licence of the code is that of its sources; this set adds none.",
        _table(("licence", "files"), _counts(content, "licences")),
        f"Secrets replaced by a placeholder: {_total(content, 'redacted_secrets'):,}, in "
        f"{content.get('redacted_files', 0)} files, "
        f"{_total(content, 'redacted_characters'):,} characters; no hole touches one.",
        "## Languages and kinds of holes (train)",
        _table(("language", "rows"), _counts(_part(splits, "train"), "languages")),
        _table(("kind", "rows"), _counts(_part(splits, "train"), "span_kinds")),
        "## Context",
        "Pieces of other files that a row shows, by how they were found; never the middle, never "
        "held-out text in a training row.",
        _table(("rows", "count"), _named(context, "rows")),
        _table(("pieces", "count"), _named(context, "items")),
        "## What was left out",
        _table(("files", "count"), [("seen", files.get("seen")), *_dropped(files)]),
        _table(("holes", "count"), [("cut", holes.get("seen")), *_dropped(holes)]),
        "Made to fine-tune a completion model on the code it was built from. It says nothing of "
        "other code, and personal data in comments stays where no gate dropped the file.",
    )
    return "\n\n".join(sections) + "\n"


def _part(whole: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = whole.get(name)
    return part if isinstance(part, Mapping) else {}


def _figure(splits: Mapping[str, object], side: str, name: str) -> object:
    return _part(splits, side).get(name)


def _inputs(manifest: Mapping[str, object]) -> list[tuple[object, ...]]:
    inputs = manifest.get("inputs")
    rows = inputs if isinstance(inputs, list) else []
    return [(row["name"], row["kind"], row["commit"] or "none", row["files"]) for row in rows]


def _counts(part: Mapping[str, object], name: str) -> list[tuple[object, ...]]:
    return list(_part(part, name).items())


def _named(part: Mapping[str, object], name: str) -> list[tuple[object, ...]]:
    return [(str(key).replace("_", " "), count) for key, count in _part(part, name).items()]


def _total(part: Mapping[str, object], name: str) -> int:
    return sum(count for count in _part(part, name).values() if isinstance(count, int))


def _dropped(report: Mapping[str, object]) -> list[tuple[object, ...]]:
    rows = [(name.replace("_", " "), count) for name, count in _part(report, "dropped").items()]
    return [*rows, ("used", report.get("used"))]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.replace("|", "\\|").split())
