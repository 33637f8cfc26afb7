"""What a build would make of its roots, or of one file: it runs up to its rows, none is written."""

from __future__ import annotations

import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fim.corpus.accounts import corpus_manifest
from fim.corpus.build import BuiltCorpus, CorpusBuild
from fim.corpus.disk import name_of
from fim.corpus.manifest import require_writable
from fim.corpus.selection import make_selection
from fim.corpus.splits import HELD_OUT, TRAIN
from fim.errors import EmptyDatasetError, SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.config import CorpusSettings
    from fim.corpus.roots import Root
    from fim.corpus.shards import DocumentRows
    from fim.types import Progress


@dataclass(frozen=True, slots=True)
class FileExplanation:
    """What a build makes of a file.

    Args:
        file: Its place: root and path.
        is_used: It gives rows, or stands on a side without any.
        reason: The gate that drops it; empty when it is used.
        split: Its side; empty when it is dropped.
        num_rows: Its rows.
        num_alike: Other files of its group of near-duplicates.
    """

    file: str
    is_used: bool
    reason: str
    split: str = ""
    num_rows: int = 0
    num_alike: int = 0

    def as_json(self) -> dict[str, object]:
        """Return JSON-ready facts."""
        return {
            "file": self.file,
            "used": self.is_used,
            "reason": self.reason,
            "split": self.split,
            "rows": self.num_rows,
            "near_duplicates": self.num_alike,
        }


def rehearse_corpus(
    roots: Sequence[Path],
    *,
    settings: CorpusSettings,
    out: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    revision: str | None = None,
    max_train_holes: int | None = None,
    max_held_out_holes: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> BuiltCorpus:
    """Return what ``build_corpus`` would make, with its manifest but no hashes and no rows on disk.

    The arguments are those of ``build_corpus``; a place that it would refuse is refused.

    Raises:
        SourceNotFoundError: A root is missing, or git cannot read it at the commit asked for.
        EmptyDatasetError: No file passed the gates, or none gave a hole.
        InvalidSettingError: The split lacks what it needs, or leaves a side empty.
        ConflictingSettingsError: Settings that exclude each other.
        SetupError: A process died.
        OutputError: The folder holds something else.
    """
    require_writable(out)
    selection = make_selection(
        settings, include=include, exclude=exclude, revision=revision, skip=out
    )
    limits = {TRAIN: max_train_holes, HELD_OUT: max_held_out_holes}
    with tempfile.TemporaryDirectory(prefix="fim-dry-run-") as work:
        build = CorpusBuild(settings, selection, Path(work), cache=cache, progress=progress)
        with closing(build):
            rows = build.rows(roots, limits)
    manifest = corpus_manifest(build, rows, dict.fromkeys(rows, ""), limits)
    return BuiltCorpus(out, manifest, dict(build.num_known), build.notices)


def explain_file(
    roots: Sequence[Path],
    file: Path,
    *,
    settings: CorpusSettings,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    revision: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> FileExplanation:
    """Return what a build of the roots makes of one file.

    Args:
        roots: Folders, repositories or single files.
        file: A path on disk, relative to a root, or as ``ROOT/PATH``.
        settings: Those of the build.
        include: Those of the build.
        exclude: Those of the build.
        revision: That of the build.
        cache: Folder that keeps what is found out about files.
        progress: Told of every stage.

    Raises:
        SourceNotFoundError: No root lists such a file, so a build never sees it.
        InvalidSettingError: The split lacks what it needs, or leaves a side empty.
        ConflictingSettingsError: Settings that exclude each other.
    """
    dropped: dict[str, str] = {}
    selection = make_selection(
        settings, include=include, exclude=exclude, revision=revision, skip=None
    )
    rows: Mapping[str, Sequence[DocumentRows]] = {}
    with tempfile.TemporaryDirectory(prefix="fim-explain-") as work:
        build = CorpusBuild(
            settings,
            selection,
            Path(work),
            cache=cache,
            progress=progress,
            on_drop=dropped.__setitem__,
        )
        with closing(build), suppress(EmptyDatasetError):
            rows = build.rows(roots, {TRAIN: None, HELD_OUT: None})
    found = [
        explanation
        for key in _candidates(build.reader.roots, file)
        if (explanation := _explanation(key, build, rows, dropped)) is not None
    ]
    if found:
        return found[0]
    raise SourceNotFoundError(
        f"{file} is none of the {build.reader.tally.seen} files of the roots, so a build never "
        "sees it; git leaves ignored and untracked files out",
        hint="git ls-files shows what is tracked; --commit REV reads another commit",
    )


def _explanation(
    key: str,
    build: CorpusBuild,
    rows: Mapping[str, Sequence[DocumentRows]],
    dropped: Mapping[str, str],
) -> FileExplanation | None:
    groups = {item.stored.key: (item.group, item.split) for item in build.placed}
    if key not in groups:
        reason = dropped.get(key)
        return None if reason is None else FileExplanation(key, is_used=False, reason=reason)
    group, split = groups[key]
    used = [item for documents in rows.values() for item in documents if item.stored.key == key]
    return FileExplanation(
        key,
        is_used=True,
        reason="",
        split=split,
        num_rows=sum(len(item.spans) for item in used),
        num_alike=sum(group == item.group for item in (*build.placed, *build.repeated)) - 1,
    )


def _candidates(roots: Sequence[Root], file: Path) -> Sequence[str]:
    absolute = file.expanduser().absolute()
    found = [name_of(file.as_posix())]
    for root in roots:
        if absolute.is_relative_to(root.folder):
            found.append(f"{root.name}/{name_of(absolute.relative_to(root.folder).as_posix())}")
        found.append(f"{root.name}/{name_of(file.as_posix())}")
    return found
