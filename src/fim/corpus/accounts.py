"""What a built set says of itself: inputs, versions, counts by reason, sizes and hashes."""

from __future__ import annotations

from collections import Counter, defaultdict
from importlib import metadata
from typing import TYPE_CHECKING

from fim.corpus.licence import UNKNOWN
from fim.corpus.manifest import MANIFEST_VERSION
from fim.corpus.syntax import Grammars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.corpus.build import CorpusBuild
    from fim.corpus.shards import DocumentRows
    from fim.corpus.study import Placed

NOT_IN_MANIFEST = frozenset({"processes", "use_cache", "max_leaks"})


def corpus_manifest(
    build: CorpusBuild,
    rows: Mapping[str, Sequence[DocumentRows]],
    hashes: Mapping[str, str],
    limits: Mapping[str, int | None],
) -> dict[str, object]:
    """Return the manifest of a build; nothing in it depends on the machine or on its speed.

    Args:
        build: The build, all stages done.
        rows: Documents of each side with the holes that became rows.
        hashes: Hash of each side's rows.
        limits: Most rows asked for of each side.
    """
    values = build.settings.model_dump(mode="json")
    config = {name: value for name, value in values.items() if name not in NOT_IN_MANIFEST}
    return {
        "manifest_version": MANIFEST_VERSION,
        "inputs": [source.as_json() for source in build.reader.inputs],
        "config": {
            **config,
            "include": list(build.selection.include),
            "exclude": list(build.selection.exclude),
            "revision": build.selection.revision,
            "max_train_holes": limits["train"],
            "max_held_out_holes": limits["held_out"],
        },
        "versions": _versions(build.placed),
        "files": build.reader.tally.report().as_json(),
        "bytes_used": sum(item.stored.num_bytes for item in build.placed),
        "holes": build.holes.report().as_json(),
        "context": build.context.as_json(),
        "content": {**_content(build.placed), "parsed_in_part": build.library.num_in_part},
        "endings_left_out": {
            reason: dict(sorted(endings.items(), key=lambda item: (-item[1], item[0])))
            for reason, endings in build.reader.endings.items()
            if endings
        },
        "splits": {
            split: _facts(split, rows[split], hashes[split], build.placed) for split in rows
        },
        "near_duplicates": _near_duplicates((*build.placed, *build.repeated)),
    }


def _versions(placed: Sequence[Placed]) -> Mapping[str, object]:
    grammars = Grammars()
    for language in sorted({item.stored.document.language for item in placed}):
        grammars.parse("", language)
    return {
        "fim": metadata.version("fim"),
        "pyarrow": metadata.version("pyarrow"),
        "grammars": dict(grammars.versions()),
    }


def _facts(
    split: str, rows: Sequence[DocumentRows], sha256: str, placed: Sequence[Placed]
) -> Mapping[str, object]:
    languages: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for item in rows:
        languages[item.stored.document.language] += len(item.spans)
        kinds.update(span.kind for span in item.spans)
    return {
        "files": sum(item.split == split for item in placed),
        "documents_with_examples": len(rows),
        "examples": languages.total(),
        "languages": dict(sorted(languages.items())),
        "span_kinds": dict(sorted(kinds.items())),
        "sha256": sha256,
    }


def _content(placed: Sequence[Placed]) -> Mapping[str, object]:
    documents = [item.stored.document for item in placed]
    licences = Counter(document.licence or UNKNOWN for document in documents)
    redactions = [item.split(":") for document in documents for item in document.redactions.split()]
    secrets = Counter(kind for kind, _, _ in redactions)
    characters: Counter[str] = Counter()
    for kind, _, num_removed in redactions:
        characters[kind] += int(num_removed)
    transcoded = Counter(document.encoding for document in documents if document.encoding)
    return {
        "licences": dict(sorted(licences.items())),
        "not_nfc": sum("not_nfc" in document.flags.split() for document in documents),
        "transcoded": dict(sorted(transcoded.items())),
        "cr_line_ends": sum("cr_line_ends" in document.flags.split() for document in documents),
        "redacted_files": sum(bool(document.redactions) for document in documents),
        "redacted_secrets": dict(sorted(secrets.items())),
        "redacted_characters": dict(sorted(characters.items())),
    }


def _near_duplicates(placed: Sequence[Placed]) -> Sequence[Mapping[str, object]]:
    members: dict[str, list[Placed]] = defaultdict(list)
    for item in placed:
        members[item.group].append(item)
    return [
        {"split": group[0].split, "files": list(dict.fromkeys(item.stored.key for item in group))}
        for group in members.values()
        if len(group) > 1
    ]
