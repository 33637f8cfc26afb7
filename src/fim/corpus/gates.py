"""The gates that a file must pass, each with a reason that is counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fim.corpus.attributes import GENERATED, VENDORED
from fim.corpus.generated import is_generated_text
from fim.corpus.languages import may_be_code
from fim.corpus.reasons import DropReason
from fim.corpus.secrets import find_secret, is_secret_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pathspec import GitIgnoreSpec

    from fim.config import CorpusSettings
    from fim.corpus.attributes import Attributes
    from fim.corpus.ignores import IgnoreRules

MIN_WORDS = 32
_MAX_DIGIT_SHARE = 0.5
_VENDORED_FOLDERS = frozenset(
    {
        "node_modules",
        "bower_components",
        "vendor",
        "vendored",
        "_vendor",
        "third_party",
        "third-party",
        "thirdparty",
        "site-packages",
        "dist-packages",
        "dist",
        ".venv",
        ".tox",
        ".nox",
        ".eggs",
        "__pycache__",
        "Pods",
    }
)
_LOCK_FILES = re.compile(
    r"(?i)^(?:package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?"
    r"|pipfile\.lock|poetry\.lock|uv\.lock|pdm\.lock|cargo\.lock|composer\.lock|gemfile\.lock"
    r"|go\.sum|mix\.lock|flake\.lock|gradle\.lockfile)$"
)
_MINIFIED = re.compile(r"(?i)[.-](?:min|bundle|pack|chunk)\.(?:js|mjs|cjs|css)$")
_GENERATED_NAMES = re.compile(
    r"(?i)(?:_pb2(?:_grpc)?\.pyi?|\.pb\.(?:go|cc|h|swift)|_pb\.(?:js|ts|d\.ts)|\.g\.dart|\.g\.cs"
    r"|\.freezed\.dart|\.designer\.(?:cs|vb)|\.generated\.\w+|(?<!test)(?<!is)_generated\.\w+|zz_generated.*\.go"
    r"|^(?:parsetab|lextab)\.py|^lex\.yy\.c(?:c|pp)?|\.tab\.(?:c|h|cc|cpp|hh|hpp)"
    r"|^moc_\w+\.cpp|^qrc_\w+\.cpp|\.d\.ts\.map)$"
)
_CONTROL_TOKENS = re.compile(
    r"<\|[A-Za-z][A-Za-z0-9_]{1,40}\|>"
    r"|<\uff5c[^\uff5c\n]{1,40}\uff5c>"
    r"|<fim[_-](?:prefix|middle|suffix|pad)>"
    r"|▁<(?:PRE|SUF|MID|EOT)>"
    r"|<(?:start|end)_of_turn>"
    r"|<(?:reponame|gh_stars|issue_start|issue_comment|jupyter_start|jupyter_text|jupyter_code"
    r"|jupyter_output|jupyter_script|empty_output|commit_before|commit_msg|commit_after)>"
)
_ALPHANUMERIC = bytes(code for code in range(128) if chr(code).isalnum())
_DIGITS = b"0123456789"
_WORD = re.compile(r"\w+")


def compile_patterns(patterns: Sequence[str]) -> GitIgnoreSpec:
    """Return a matcher of paths for patterns in the syntax of ``.gitignore``."""
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(patterns)


def path_reason(
    path: str, excluded: GitIgnoreSpec | IgnoreRules, attributes: Attributes | None = None
) -> DropReason | None:
    """Return why a file is dropped by its path alone, or None.

    Args:
        path: Path in its root.
        excluded: Patterns of files to leave out.
        attributes: What the root's ``.gitattributes`` say; their word on vendored and generated
            files stands above the built-in rules.
    """
    is_vendored = attributes.value(path, VENDORED) if attributes else None
    is_generated = attributes.value(path, GENERATED) if attributes else None
    *folders, name = path.split("/")
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return DropReason.BAD_FILE_NAME
    if excluded.match_file(path):
        return DropReason.EXCLUDED
    if _VENDORED_FOLDERS.intersection(folders) if is_vendored is None else is_vendored:
        return DropReason.VENDORED
    if _LOCK_FILES.match(name):
        return DropReason.LOCK_FILE
    if is_secret_file(path):
        return DropReason.SECRET_FILE
    if _MINIFIED.search(name):
        return DropReason.MINIFIED
    if _GENERATED_NAMES.search(name) if is_generated is None else is_generated:
        return DropReason.GENERATED
    return None if may_be_code(path) else DropReason.UNKNOWN_LANGUAGE


def text_reason(text: str, settings: CorpusSettings) -> DropReason | None:
    """Return why a text is dropped, or None: by its shape, what it says, and any secret."""
    reason = plain_reason(text, settings)
    if reason is None and find_secret(text) is not None:
        return DropReason.SECRET
    return reason


def plain_reason(text: str, settings: CorpusSettings) -> DropReason | None:
    """Return why a text is dropped, secrets aside, or None: by its shape, then what it says."""
    return _shape_reason(text, settings) or _content_reason(text)


def _shape_reason(text: str, settings: CorpusSettings) -> DropReason | None:
    if _fewer_words_than(text, MIN_WORDS):
        return DropReason.TOO_SHORT
    lines = text.split("\n")
    if max(map(len, lines)) > settings.max_line_chars:
        return DropReason.LONG_LINE
    if len(text) / len(lines) > settings.max_mean_line_chars:
        return DropReason.LONG_LINES_ON_AVERAGE
    num_alphanumerics = _count(text, _ALPHANUMERIC, str.isalnum)
    if num_alphanumerics < settings.min_alphanumeric_share * len(text):
        return DropReason.FEW_ALPHANUMERICS
    if _count(text, _DIGITS, str.isdigit) > _MAX_DIGIT_SHARE * num_alphanumerics:
        return DropReason.MOSTLY_DIGITS
    return None


def _content_reason(text: str) -> DropReason | None:
    if is_generated_text(text):
        return DropReason.GENERATED
    if "<" in text and _CONTROL_TOKENS.search(text):
        return DropReason.CONTROL_TOKENS
    return None


def _fewer_words_than(text: str, limit: int) -> bool:
    words = _WORD.finditer(text)
    return sum(1 for _, _ in zip(range(limit), words, strict=False)) < limit


def _count(text: str, ascii_set: bytes, is_member: Callable[[str], bool]) -> int:
    if text.isascii():
        content = text.encode("ascii")
        return len(content) - len(content.translate(None, ascii_set))
    return sum(map(is_member, text))
