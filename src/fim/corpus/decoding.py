"""Turn a file's bytes into text of a language: byte order marks, declared encodings, notebooks."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from fim.corpus.languages import language_of, language_of_notebook, may_have_shebang
from fim.corpus.notebooks import is_notebook, notebook_code
from fim.corpus.reasons import DropReason

_LFS_MARK = b"version https://git-lfs.github.com/spec/"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_ENCODINGS = frozenset(
    {"unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined", "mbcs", "oem"}
)
_SHORT_NAMES = {"iso8859-1": "latin-1"}
_HEAD_LINES = 5
_HEAD_BYTES = 2048
_NAME = rb"[A-Za-z0-9][\w.:-]*"
_IN_COMMENT = re.compile(
    rb"[#;%/*!-].{0,200}?\b(?:(?:file)?(?:en)?coding[ \t]*[=:]|fenc=)[ \t]*(" + _NAME + rb")"
)
_IN_HEAD = re.compile(
    rb"^\s*<\?xml\b[^>]{0,200}\bencoding\s*=\s*[\"'](" + _NAME + rb")"
    rb"|<meta\b[^>]{0,200}\bcharset\s*=\s*[\"']?(" + _NAME + rb")"
    rb"|^@charset[ \t]+\"(" + _NAME + rb")\"",
    re.IGNORECASE,
)
_MIN_ZERO_SHARE = 0.3
_MAX_STRAY_SHARE = 0.02
_ESCAPE = b"\x1b"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The text of a file.

    Args:
        text: Line ends as found, without a byte order mark; a notebook's code cells.
        language: Name of its language, empty where it is in none of the table.
        encoding: What the bytes were in, empty where they are UTF-8.
        had_returns_only: Lines ended in carriage returns alone; they are line feeds in the text.
    """

    text: str
    language: str
    encoding: str = ""
    had_returns_only: bool = False


def read_text(path: str, content: bytes) -> Decoded | DropReason:
    """Return the text of a file, or why it has none.

    Bytes are read as their byte order mark says, else as UTF-8, else as the file itself declares:
    by a coding line (PEP 263, Emacs, Vim), an XML declaration, a ``meta`` or a ``@charset``.
    Nothing is guessed but UTF-16, whose zero bytes tell. Not supported are broken notebooks, those
    in an unknown language, and texts in none of the languages that share their file's ending.

    Args:
        path: Path of the file; its ending tells a notebook.
        content: The file's bytes.
    """
    found = decode(path, content)
    if isinstance(found, DropReason) or found.language:
        return found
    is_open = may_have_shebang(path)
    return DropReason.UNKNOWN_LANGUAGE if is_open else DropReason.NOT_SUPPORTED


def decode(path: str, content: bytes) -> Decoded | DropReason:
    """Return the text of a file as ``read_text`` does, also where its language is unknown.

    Args:
        path: Path of the file; its ending tells a notebook.
        content: The file's bytes.
    """
    if content.startswith(_LFS_MARK):
        return DropReason.LFS_POINTER
    found = _decoded(content)
    if isinstance(found, DropReason):
        return found
    text, encoding = found
    if "\0" in text:
        return DropReason.BINARY
    had_returns_only = "\r" in text and "\n" not in text
    if had_returns_only:
        text = text.replace("\r", "\n")
    notebook = notebook_code(text) if is_notebook(path) else None
    if notebook is not None:
        text, language = notebook.text, language_of_notebook(notebook.language)
    else:
        language = language_of(path, text)
    name = "" if language is None else language.name
    return Decoded(text, name, encoding, had_returns_only)


def _decoded(content: bytes) -> tuple[str, str] | DropReason:
    for mark, name in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            try:
                text = content[len(mark) :].decode(name)
            except UnicodeDecodeError:
                return DropReason.BINARY if b"\0" in content else DropReason.WRONG_ENCODING
            return text, name.removesuffix("-le").removesuffix("-be") if name != "utf-8" else ""
    if b"\0" in content:
        return _without_mark(content)
    declared = _declared(content)
    if not content.isascii() or _ESCAPE not in content or not declared:
        try:
            return content.decode("utf-8"), ""
        except UnicodeDecodeError:
            pass
    return _as_declared(content, declared) if declared else DropReason.NOT_UTF8


def _as_declared(content: bytes, declared: str) -> tuple[str, str] | DropReason:
    try:
        name = codecs.lookup(declared).name
        if name in _NO_ENCODINGS or name.replace("-", "_") in _NO_ENCODINGS:
            return DropReason.WRONG_ENCODING
        text = content.decode(name)
    except (LookupError, UnicodeError):
        return DropReason.WRONG_ENCODING
    return text, "" if name == "utf-8" else _SHORT_NAMES.get(name, name)


def _declared(content: bytes) -> str:
    head = content[:_HEAD_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = head.split(b"\n")
    ends = content[-_HEAD_BYTES:].splitlines()[-_HEAD_LINES:]
    likely = (*lines[:_HEAD_LINES], *ends)
    match = next(filter(None, map(_IN_COMMENT.search, likely)), None) or _IN_HEAD.search(head)
    found = next(filter(None, match.groups()), b"") if match else b""
    return found.decode("ascii").removesuffix("-unix").removesuffix("-dos").removesuffix("-mac")


def _without_mark(content: bytes) -> tuple[str, str] | DropReason:
    """Return text whose zero bytes all stand in the odd, or all in the even places: UTF-16."""
    half = len(content) // 2
    if len(content) % 2 == 0 and half:
        for name, zeros, others in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
            is_likely = content[zeros::2].count(0) >= _MIN_ZERO_SHARE * half
            if is_likely and content[others::2].count(0) <= _MAX_STRAY_SHARE * half:
                try:
                    text = content.decode(name)
                except UnicodeDecodeError:
                    continue
                if _is_plain(text):
                    return text, "utf-16"
    return DropReason.BINARY


def _is_plain(text: str) -> bool:
    return all(character.isprintable() or character.isspace() for character in text)
