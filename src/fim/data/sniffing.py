"""What a data file is, by its first bytes, and how its rows can be read."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import re
import shlex
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, cast

from fim.data.rows import CODE_FIELDS
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES = 65_536
_CHUNK_BYTES = 65_536
_MOST_LAYERS = 3
_TAR_MARK = slice(257, 262)
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_POINTER = b"version https://git-lfs.github.com/"
_ANNEX = re.compile(rb"(\.\./)*(\.git)?/?annex/objects/")
_WRAPPED = re.compile(
    r'\{\s*("(?!prefix|middle|suffix)[^"]+"\s*:\s*("[^"]*"|[\d.]+|true|false|null)\s*,\s*)*'
    r'"(?!context)[^"]+"\s*:\s*[\[{]\s*[\[{"]'
)
_OVER_LINES = re.compile(r"\{\s*[\r\n]")
_PAGE = re.compile(rb"\s*<(!doctype html|html|\?xml)", re.IGNORECASE)


class FileKind(StrEnum):
    """How the rows of a file are stored."""

    LINES = "JSON lines"
    VALUES = "JSON values"
    PARQUET = "parquet"
    ARROW_FILE = "Arrow file"
    ARROW_STREAM = "Arrow stream"


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a data file is read: its compressions from the outside in, its encoding, its kind."""

    kind: FileKind
    layers: tuple[str, ...] = ()
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A form that holds no rows: its first bytes, what it is, the command that helps."""

    mark: bytes
    what: str
    hint: str


TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_TABLE_COMMAND = (
    'python -c "import sys, pyarrow.csv as c, pyarrow.parquet as p; p.write_table('
    "c.read_csv(sys.argv[1], parse_options=c.ParseOptions(delimiter='{mark}', "
    "newlines_in_values=True)), sys.argv[1] + '.parquet')\" {path}"
)
_AS_LINES = "write its rows as JSON lines: one object with prefix, middle and suffix a line"
_TO_PARQUET = (
    'python -c "import pyarrow.{reader} as r, pyarrow.parquet as p, sys; '
    "p.write_table(r.read_table(sys.argv[1]), sys.argv[1] + '.parquet')\" {path}"
)
_FOREIGN = (
    _Foreign(b"PK\x03\x04", "a zip archive", "unzip {path}"),
    _Foreign(b"7z\xbc\xaf'\x1c", "a 7z archive", "7z x {path}"),
    _Foreign(b"Rar!", "a rar archive", "unrar x {path}"),
    _Foreign(b"\x00\x05\x16", "the side file of a file on macOS (AppleDouble)", "rm {path}"),
    _Foreign(b"\x00\x00\x00\x01Bud1", "a folder's view settings of macOS", "rm {path}"),
    _Foreign(b"FEA1", "an old feather file", _TO_PARQUET.replace("{reader}", "feather")),
    _Foreign(b"ORC", "an ORC file", _TO_PARQUET.replace("{reader}", "orc")),
    _Foreign(b"PARE", "an encrypted parquet file", _AS_LINES),
    _Foreign(b"SQLite format 3\x00", "an SQLite data base", _AS_LINES),
    _Foreign(b"%PDF", "a PDF document", _AS_LINES),
    _Foreign(b"\x89HDF", "an HDF5 file", _AS_LINES),
    _Foreign(b"\x93NUMPY", "a numpy array", _AS_LINES),
    _Foreign(b"Obj\x01", "an Avro file", _AS_LINES),
    _Foreign(b"\x80", "a pickle or another binary file", _AS_LINES),
)


def sniff(path: Path) -> FileForm:
    """Return how a file is to be read.

    Raises:
        SourceNotFoundError: It is known to hold no rows, or to hold them in a form that is not
            read; the hint is the command that helps.
        OSError: It cannot be read.
    """
    layers: tuple[str, ...] = ()
    head = _head(path, layers)
    while len(layers) < _MOST_LAYERS and (layer := _compression(head)):
        layers = (*layers, layer)
        head = _head(path, layers)
    _refuse_foreign(path, head)
    if head.startswith(b"PAR1"):
        return FileForm(FileKind.PARQUET, layers)
    if head.startswith(b"ARROW1"):
        return FileForm(FileKind.ARROW_FILE, layers)
    if head.startswith(b"\xff\xff\xff\xff") and len(head) > len(codecs.BOM_UTF32_LE):
        return FileForm(FileKind.ARROW_STREAM, layers)
    encoding = _encoding(head)
    if encoding == "utf-8" and b"\x00" in head and not head.lstrip().startswith((b"{", b"[")):
        raise _refusal(path, "a binary file of an unknown kind", "file {path}")
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    _refuse_table(path, text)
    return FileForm(_kind_of_text(text), layers, encoding)


@contextmanager
def open_bytes(path: Path, layers: tuple[str, ...]) -> Iterator[BinaryIO]:
    """Open a file for reading, compressions taken off.

    Raises:
        OSError: It cannot be read, or its compressed bytes are damaged.
    """
    with ExitStack() as opened:
        stream: BinaryIO = opened.enter_context(path.open("rb"))
        for layer in layers:
            stream = opened.enter_context(_decompressed(stream, layer))
        try:
            yield stream
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            message = f"its compressed bytes are damaged or cut off ({error})"
            raise OSError(message) from error


@contextmanager
def open_utf8(path: Path, form: FileForm) -> Iterator[BinaryIO]:
    """Open the text of a file as UTF-8, without a byte order mark.

    Raises:
        OSError: It cannot be read.
    """
    with open_bytes(path, form.layers) as stream:
        if form.encoding == "utf-8-sig":
            stream.read(len(codecs.BOM_UTF8))
        is_plain = form.encoding in {"utf-8", "utf-8-sig"}
        yield stream if is_plain else io.BufferedReader(_Recoded(stream, form.encoding))


class _Recoded(io.RawIOBase):
    """A byte stream of one encoding as a byte stream of UTF-8.

    A lone surrogate stays one, so that its line is told from others as broken UTF-8.
    """

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._waiting = b""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer and return how many bytes were written; 0 at the end."""
        while not self._waiting:
            chunk = self._stream.read(_CHUNK_BYTES)
            if not chunk:
                return 0
            try:
                text = self._decoder.decode(chunk)
            except UnicodeDecodeError as error:
                message = f"not {error.encoding} after all: {error.reason}"
                raise OSError(message) from error
            self._waiting = text.encode("utf-8", "surrogatepass")
        part, self._waiting = self._waiting[: len(buffer)], self._waiting[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _head(path: Path, layers: tuple[str, ...]) -> bytes:
    with open_bytes(path, layers) as stream:
        return stream.read(HEAD_BYTES)


def _compression(head: bytes) -> str | None:
    return next((name for mark, name in _COMPRESSED if head.startswith(mark)), None)


def _decompressed(stream: BinaryIO, layer: str) -> BinaryIO:
    if layer == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if layer == "bz2":
        return cast("BinaryIO", bz2.BZ2File(stream))
    if layer == "xz":
        return cast("BinaryIO", lzma.LZMAFile(stream))
    from pyarrow import CompressedInputStream

    return io.BufferedReader(
        cast("io.RawIOBase", CompressedInputStream(stream, layer)), _CHUNK_BYTES
    )


def _encoding(head: bytes) -> str:
    """Return the encoding by the byte order mark, else by where the first bytes are zero."""
    for mark, name in _ENCODINGS:
        if head.startswith(mark):
            return name
    if head[1:2] == b"\x00" and head[0:1] in b"{[ \r\n" and head[2:3] != b"\x00":
        return "utf-16-le"
    if head[0:1] == b"\x00" and head[1:2] in b"{[ \r\n" and len(head) > 1:
        return "utf-16-be"
    return "utf-8"


def _kind_of_text(text: str) -> FileKind:
    """Tell rows by lines from rows in an array, in a wrapper or over several lines."""
    start = text.lstrip()
    first = start.partition("\n")[0]
    if start.startswith("[") or ("\r" in start.rstrip() and "\n" not in start):
        return FileKind.VALUES
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        is_spread = _OVER_LINES.match(start) or _WRAPPED.match(start)
        is_listed = first.rstrip().endswith("},")
        return FileKind.VALUES if is_spread or is_listed else FileKind.LINES
    is_row = isinstance(row, dict) and not row.keys().isdisjoint(CODE_FIELDS)
    is_wrapper = isinstance(row, dict) and any(
        isinstance(each, list | dict) for each in row.values()
    )
    return FileKind.VALUES if is_wrapper and not is_row else FileKind.LINES


def _refuse_foreign(path: Path, head: bytes) -> None:
    if head.startswith(_POINTER):
        raise _refusal(
            path,
            "a Git LFS pointer: the file itself was not downloaded",
            "git -C {folder} lfs pull",
        )
    if _ANNEX.match(head):
        raise _refusal(path, "a git-annex pointer", "git -C {folder} annex get {name}")
    if head[_TAR_MARK] == b"ustar":
        raise _refusal(path, "a tar archive", "tar -xf {path}")
    if _PAGE.match(head):
        raise _refusal(
            path, "a web page, not the file behind it", "download the file by its raw address"
        )
    for foreign in _FOREIGN:
        if head.startswith(foreign.mark):
            raise _refusal(path, foreign.what, foreign.hint)


def _refuse_table(path: Path, text: str) -> None:
    """Refuse a table of separated values, by its ending or by the names in its first line."""
    first = text.lstrip("\ufeff").lstrip().partition("\n")[0]
    if first.startswith(("{", "[")):
        return
    mark = next((each for each in ("\t", ";") if each in first), ",")
    names = {each.strip().strip('"') for each in first.split(mark)}
    endings = {each.lower() for each in path.suffixes}
    if names.issuperset(CODE_FIELDS) or endings & TABLE_SUFFIXES:
        raise _refusal(
            path, "a table of separated values (CSV)", _TABLE_COMMAND.replace("{mark}", mark)
        )


def _refusal(path: Path, what: str, hint: str) -> SourceNotFoundError:
    quoted = {
        "path": shlex.quote(str(path)),
        "folder": shlex.quote(str(path.parent)),
        "name": shlex.quote(path.name),
    }
    return SourceNotFoundError(
        f"{path} is {what}, so no examples can be read from it",
        hint=re.sub(r"\{(path|folder|name)\}", lambda match: quoted[match[1]], hint),
        context={"path": str(path)},
    )
