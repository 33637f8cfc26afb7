"""Rows of published suites from the hub, from a copy of its folders, or from one file."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import InvalidSettingError, MissingExtraError, SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class HubPart:
    """A part of a suite on the hub.

    Args:
        name: Name on the command line.
        dataset: Name on the hub.
        split: Split to read.
        config: Configuration; empty for the only one.
        file: File within the data set, where its pages do not say how to read it.
    """

    name: str
    dataset: str
    split: str
    config: str = ""
    file: str = ""


_CCEVAL = "crosscodeeval_data/{}/line_completion_rg1_bm25.jsonl"
HUB_PARTS: Mapping[str, tuple[HubPart, ...]] = {
    "safim": tuple(
        HubPart(name, "gonglinyuan/safim", "test", name)
        for name in ("block", "control", "api", "block_v2")
    ),
    "santacoder-fim": (HubPart("all", "bigcode/santacoder-fim-task", "train"),),
    "cceval": tuple(
        HubPart(name, "Vincentvmt/CrossCodeEval", "train", file=_CCEVAL.format(name))
        for name in ("python", "java", "typescript", "csharp")
    ),
    "repobench": tuple(
        HubPart(f"{language}-{split}", f"tianyang/repobench_{language}_v1.1", split)
        for language in ("python", "java")
        for split in ("cross_file_first", "cross_file_random", "in_file")
    ),
    "execrepobench": (
        HubPart("all", "CSJianYang/ExecRepoBench", "train", file="exec_repo_bench.jsonl"),
    ),
}


def hub_part(suite: str, name: str | None) -> HubPart:
    """Return a part of a suite; the first without a name.

    Raises:
        InvalidSettingError: There is none of that name.
    """
    parts = {part.name: part for part in HUB_PARTS.get(suite, ())}
    if name is None and parts:
        return next(iter(parts.values()))
    if name not in parts:
        raise InvalidSettingError(
            f"the suite {suite} has no part {name!r} on the hub",
            hint=f"use one of: {', '.join(parts)}" if parts else "give a file with --data",
        )
    return parts[name]


def hub_rows(
    part: HubPart, *, copy: Path | None = None, token: str | None = None
) -> Iterator[Mapping[str, object]]:
    """Yield the rows of a part.

    Args:
        part: What to read.
        copy: Folder that is a copy of the data set; the hub is not asked then.
        token: Key of the hub.

    Raises:
        MissingExtraError: datasets is not installed.
        SourceNotFoundError: The part cannot be read.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"{part.dataset} is read with datasets, which is not installed",
            hint='pip install "fim[train]", or give a file with --data',
        ) from error
    where = part.dataset if copy is None else str(copy)
    try:
        rows = datasets.load_dataset(
            where,
            part.config or None,
            split=part.split,
            data_files=part.file or None,
            streaming=copy is not None,
            token=token,
        )
        yield from rows
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise SourceNotFoundError(
            f"the part {part.name} of {where} (split {part.split}) cannot be read: {error}",
            hint=f"on a machine with network: hf download --repo-type dataset {part.dataset} "
            "--local-dir DIR; then --data DIR",
        ) from error


def file_rows(path: Path) -> Iterator[Mapping[str, object]]:
    """Yield the rows of a JSONL, JSON list or parquet file.

    Raises:
        SourceNotFoundError: The file is missing or unreadable.
    """
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            yield from parquet.read_table(path).to_pylist()
            return
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        rows = json.loads(text) if text.lstrip()[:1] == b"[" else None
        yield from rows if rows is not None else map(json.loads, filter(None, text.splitlines()))
    except (OSError, ValueError) as error:
        raise SourceNotFoundError(
            f"{path} cannot be read as a suite: {error}",
            hint="give the published file with --data: JSONL, gzipped JSONL, JSON or parquet",
        ) from error
