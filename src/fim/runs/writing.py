"""Writes that are whole or not at all, and read back what a crash left behind."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fim.errors import FimError, RunFolderError

_HINTS = {
    errno.ENOSPC: "Free some space, or choose another disk: --out DIR",
    errno.EDQUOT: "Free some of your quota, or choose another disk: --out DIR",
    errno.EACCES: "Give yourself write permission there, or choose another folder: --out DIR",
    errno.EPERM: "Give yourself write permission there, or choose another folder: --out DIR",
    errno.EROFS: "The disk is read-only; choose another folder: --out DIR",
    errno.ENOTDIR: "A file stands where a folder is needed; choose another folder: --out DIR",
    errno.EEXIST: "Something of that name is there already; choose another folder: --out DIR",
}
_FALLBACK_HINT = "Choose a folder that can be written: --out DIR"

_PROBE_BYTES = 4096
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


@contextmanager
def refusing(path: Path, action: str) -> Iterator[None]:
    """Turn a failure of the file system into an error that says what to do.

    Libraries that write weights tell a full disk by errors of their own; where nothing can be
    written any more, the file system is what is told.

    Args:
        path: What was to be written or read.
        action: What was tried, as ``write`` or ``make``.

    Raises:
        RunFolderError: The file system refused.
    """
    try:
        yield
    except FimError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise _refused(path, action, reason, error.errno or 0) from error
    except Exception as error:
        reason = _hidden_reason(error) or why_not_writable(path.parent)
        if not reason:
            raise
        number = next((each for each in _HINTS if os.strerror(each) == reason), 0)
        raise _refused(path, action, reason, number) from error


def _hidden_reason(error: Exception) -> str:
    """Return why the system refused, of an error of safetensors; empty for others."""
    match = _SYSTEM_ERROR.search(str(error))
    return os.strerror(int(match[1])) if match else ""


def _refused(path: Path, action: str, reason: str, number: int) -> RunFolderError:
    return RunFolderError(
        f"Cannot {action} {path}: {reason}. The run would leave nothing behind.",
        hint=_HINTS.get(number, _FALLBACK_HINT),
        context={"path": str(path), "reason": reason},
    )


def why_not_writable(folder: Path) -> str:
    """Return why nothing can be written in a folder, empty where it can; nothing is left there.

    A folder that does not exist yet is tried at the nearest one above it.
    """
    place = folder.expanduser().absolute()
    try:
        while not place.exists():
            place = place.parent
        with tempfile.TemporaryDirectory(prefix=".fim-", dir=place) as probe:
            (Path(probe) / "probe").write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 text file through a temporary file beside it.

    Raises:
        RunFolderError: The file system refused.
    """
    with refusing(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            Path(draft).chmod(0o644)
            Path(draft).replace(path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
    return path


def write_json(path: Path, data: object) -> Path:
    """Write JSON, indented; numbers that are not finite become null.

    Raises:
        RunFolderError: The file system refused.
    """
    text = json.dumps(finite(data), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write one JSON object a line, all at once.

    Raises:
        RunFolderError: The file system refused.
    """
    return write_text(path, "".join(_line(row) for row in rows))


def append_jsonl(path: Path, row: Mapping[str, object]) -> None:
    """Append one JSON object as a line and flush it; a torn last line is closed first.

    Raises:
        RunFolderError: The file system refused.
    """
    with refusing(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(_line(row).encode("utf-8"))
            stream.flush()


def read_jsonl(path: Path) -> list[dict[str, object]]:
    """Return the objects of a JSON-lines file; a missing file has none, torn lines are skipped."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    rows = (_parsed(line) for line in lines)
    return [row for row in rows if row is not None]


def read_json(path: Path) -> dict[str, object] | None:
    """Return a JSON object, or None when the file is missing or damaged."""
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return None


def finite(data: object) -> object:
    """Return JSON-ready data in which numbers that are not finite are None."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return str(data) if isinstance(data, Path) else data


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n"


def _parsed(text: bytes) -> dict[str, object] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
