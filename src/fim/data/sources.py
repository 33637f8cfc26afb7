"""The data files behind a path, each with the side that its name says."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.data.json_values import read_values
from fim.data.rows import CODE_FIELDS
from fim.data.sides import HELD_OUT, TRAIN, side_of_file, side_of_folder, side_of_name, side_of_word
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

SPLITS = (TRAIN, HELD_OUT)
DATA_SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".arrow", ".feather")
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".lz4")
SIDE_FILES = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "manifest.json"}
)
NOT_READ_SUFFIXES = frozenset(
    {".csv", ".tsv", ".zip", ".tar", ".tgz", ".7z", ".rar", ".xlsx", ".orc", ".avro", ".db"}
    | {".sqlite", ".pkl", ".pickle", ".h5", ".hdf5", ".npz", ".npy"}
)
SOURCE_HINT = (
    "give a built set (fim data build), a .parquet or a .jsonl with prefix, middle and suffix"
)
_SIDE_FILE_BYTES = 1_000_000
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A data file; ``side`` is ``train``, ``held_out`` or, where its name says none, empty."""

    path: Path
    name: str
    side: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """The data files behind a path, and the names of files that are left out."""

    files: tuple[SourceFile, ...]
    left_out: tuple[str, ...] = ()


def available_splits(path: Path) -> tuple[str, ...]:
    """Return which of ``train`` and ``held_out`` the names of a folder's files say."""
    found = _look_into(path).files if path.is_dir() else ()
    return tuple(split for split in SPLITS if any(each.side == split for each in found))


def find_sources(path: Path) -> Sources:
    """Return the data files behind a path, sorted by name.

    In a folder these are its own data files and those of folders in it that are named for a side;
    where none of them is for training, those of its folder ``data`` too.

    Args:
        path: A data file, or a folder: a built set, data files, a saved or a downloaded data set.

    Raises:
        SourceNotFoundError: The path does not exist or holds no data file.
    """
    if path.is_file():
        return Sources((SourceFile(path, path.name, side_of_file(path, root=path)),))
    if not path.is_dir():
        raise _missing(path)
    found = _look_into(path)
    if not found.files:
        raise SourceNotFoundError(
            f"{path} holds no train examples: no {TRAIN}/*.parquet and no other data file"
            f"{_what_else(path, found)}",
            hint=_hint_for(path, found),
        )
    return found


def _missing(path: Path) -> SourceNotFoundError:
    if path.exists():
        return SourceNotFoundError(
            f"{path} is a pipe or a device, and examples are read more than once",
            hint="write the rows to a file and give that: COMMAND > rows.jsonl",
        )
    if path.is_symlink():
        return SourceNotFoundError(
            f"{path} is a link to {path.readlink()}, which is not here, so there are no examples "
            "to read",
            hint=f"git -C {shlex.quote(str(path.parent))} annex get {shlex.quote(path.name)}, or "
            "copy the file itself",
        )
    return SourceNotFoundError(
        f"{path} does not exist, so there are no examples to read", hint=SOURCE_HINT
    )


def _look_into(root: Path) -> Sources:
    found = _group(root, root)
    if all(each.side == HELD_OUT for each in found.files):
        more = _group(root / "data", root)
        found = Sources((*found.files, *more.files), (*found.left_out, *more.left_out))
    return found


def _group(folder: Path, root: Path) -> Sources:
    """Return the files of a folder and of those folders in it that are named for a side."""
    if not folder.is_dir():
        return Sources(())
    files, left_out = _files_in(folder, root)
    splits = _object(folder / "dataset_dict.json").get("splits")
    named = {str(each) for each in splits} if isinstance(splits, list) else set()
    for each in sorted(folder.iterdir()):
        if each.is_dir() and (each.name in named or side_of_folder(each.name)):
            inner, more = _files_in(each, root)
            if each.name in named:
                side = side_of_name(each.name) or side_of_word(each.name)
                inner = [replace(one, side=side) for one in inner]
            files += inner
            left_out += more
    return Sources(tuple(files), tuple(left_out))


def _files_in(folder: Path, root: Path) -> tuple[list[SourceFile], list[str]]:
    files: list[SourceFile] = []
    left_out: list[str] = []
    state = _object(folder / "state.json")
    listed = state.get("_data_files")
    saved = {
        str(each.get("filename"))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, Mapping)
    }
    saved_side = side_of_word(str(state.get("_split") or ""))
    for path in sorted(folder.iterdir()):
        name = str(path.relative_to(root))
        is_data = _is_data_name(path) and (not saved or path.name in saved)
        if path.name.startswith(".") or path.is_dir():
            continue
        if is_data and not path.is_file():
            raise _missing(path)
        if path.name.lower() in SIDE_FILES:
            continue
        if is_data and not _is_without_rows(path):
            side = side_of_file(path, root=root) or (saved_side if saved else "")
            files.append(SourceFile(path, name, side))
        elif is_data or NOT_READ_SUFFIXES.intersection(map(str.lower, path.suffixes)):
            left_out.append(name)
    return files, left_out


def _is_data_name(path: Path) -> bool:
    endings = [each.lower() for each in path.suffixes]
    if endings and endings[-1] in COMPRESSED_SUFFIXES:
        endings.pop()
    return bool(endings) and endings[-1] in DATA_SUFFIXES


def _is_without_rows(path: Path) -> bool:
    """Tell whether a small JSON file is one object that has no rows in it."""
    if path.suffix.lower() != ".json" or path.stat().st_size > _SIDE_FILE_BYTES:
        return False
    found = _object(path)
    if not found or not found.keys().isdisjoint(CODE_FIELDS):
        return False
    with path.open("rb") as stream:
        return [row for _, row in read_values(stream, _SIDE_FILE_BYTES)] == [found]


def _object(path: Path) -> Mapping[str, object]:
    """Return what a small JSON file holds; nothing where there is none or it is no object."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _what_else(path: Path, found: Sources) -> str:
    folders = sorted(
        each.name for each in path.iterdir() if each.is_dir() and each.name[0] not in "._"
    )
    parts = [
        f"{what}: {', '.join(names[:_MOST_NAMED])}{', …' if len(names) > _MOST_NAMED else ''}"
        for what, names in (("files not read", found.left_out), ("folders", folders))
        if names
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def _hint_for(path: Path, found: Sources) -> str:
    """Return the hint that the first file gives which could be made readable."""
    from fim.data.sniffing import sniff

    for name in found.left_out:
        try:
            sniff(path / name)
        except SourceNotFoundError as error:
            return error.hint
        except OSError:
            continue
    return SOURCE_HINT
