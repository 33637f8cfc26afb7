"""The record of a format that is stored beside an adapter."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fim.errors import AdapterMismatchError, RunFolderError
from fim.types import ContextItem, FimExample, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMAT_FILE = "fim_format.json"

_PROBES: tuple[FimExample, ...] = (
    FimExample(prefix="", middle="", suffix=""),
    FimExample(
        prefix="import os\n\n\ndef first(xs):\n    if not xs:\n        return None\n    ret",
        middle="urn xs[0]",
        suffix="\n\n```\n<FILL_HERE>\n",
        context=(
            ContextItem(text="def last(xs):\n    return xs[-1]\n", path="src/last.py", score=1.0),
            ContextItem(text="no path, no final newline"),
        ),
        language="Python",
        path="src/first.py",
        repo="example/repo",
    ),
)


@dataclass(frozen=True, slots=True)
class FormatRecord:
    """Identity of a format: stored with an adapter, compared when it is loaded."""

    name: str
    version: int
    family: str
    order: str
    anchor_lines: int
    token_ids: Mapping[str, int]
    end_id: int
    stop_ids: tuple[int, ...]
    fingerprint: str

    def with_fingerprint(self, fingerprint: str) -> FormatRecord:
        """Return the record with its hash filled in."""
        return replace(self, fingerprint=fingerprint)

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON-ready data."""
        return asdict(self) | {"token_ids": dict(self.token_ids), "stop_ids": list(self.stop_ids)}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read a record back.

        Raises:
            AdapterMismatchError: The data are not a format record.
        """
        try:
            return cls._from_mapping(data)
        except (KeyError, TypeError, ValueError) as error:
            raise AdapterMismatchError(
                f"the format record is not usable ({type(error).__name__}: {error}), so the "
                "prompts that the adapter was trained on are unknown",
                hint="train the adapter again, or take one from a finished run: fim runs list",
            ) from error

    @classmethod
    def _from_mapping(cls, data: object) -> Self:
        if not isinstance(data, dict):
            raise TypeError(f"expected an object, got {type(data).__name__}")
        return cls(
            name=str(data["name"]),
            version=int(data["version"]),
            family=str(data["family"]),
            order=str(data["order"]),
            anchor_lines=int(data["anchor_lines"]),
            token_ids=_read_ids(data["token_ids"]),
            end_id=int(data["end_id"]),
            stop_ids=tuple(int(value) for value in data["stop_ids"]),
            fingerprint=str(data["fingerprint"]),
        )


def _read_ids(data: object) -> dict[str, int]:
    if not isinstance(data, dict):
        raise TypeError(f"token_ids should be an object, got {type(data).__name__}")
    return {str(token): int(value) for token, value in data.items()}


def fingerprint_of(
    record: FormatRecord, render: Callable[[FimExample], tuple[Segment, ...]]
) -> str:
    """Return a hash over a record's fields and its rendering of fixed probe examples.

    A change of any scaffold text, order or id changes the hash.
    """
    identity = record.with_fingerprint("").as_json()
    renderings = [
        [[segment.kind.value, segment.text, segment.trained] for segment in render(probe)]
        for probe in _PROBES
    ]
    canonical = json.dumps([identity, renderings], sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(canonical.encode("ascii"), digest_size=16).hexdigest()


def write_record(folder: Path, record: FormatRecord) -> Path:
    """Store a record as ``fim_format.json`` in a folder, atomically, and return the file.

    Raises:
        RunFolderError: The file cannot be written.
    """
    target = folder / FORMAT_FILE
    text = json.dumps(record.as_json(), indent=2, ensure_ascii=True) + "\n"
    unfinished: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="ascii", dir=folder, suffix=".tmp", delete=False
        ) as stream:
            unfinished = Path(stream.name)
            stream.write(text)
        unfinished.replace(target)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {target}: {error.strerror or error}; an adapter without its format "
            "record cannot be served safely",
            hint="check free space and write permission of the folder",
        ) from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
    return target


def read_record(folder: Path) -> FormatRecord:
    """Read the record that lies beside an adapter.

    Raises:
        AdapterMismatchError: The folder holds no usable record.
    """
    path = folder / FORMAT_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterMismatchError(
            f"{path} cannot be read ({error}), so the prompts that the adapter was trained on "
            "are unknown",
            hint="point --adapter at the adapter folder of a finished run: fim runs list",
        ) from error
    return FormatRecord.from_json(data)
