"""The comments at the head of a source file, whatever its language."""

from __future__ import annotations

import re

_BLOCKS: tuple[tuple[str, str], ...] = (
    ("<!--", "-->"),
    ("<#--", "-->"),
    ("<%--", "--%>"),
    ("{{!--", "--}}"),
    ("{#", "#}"),
    ("{-", "-}"),
    ("(*", "*)"),
    ("/*", "*/"),
    ("--[[", "]]"),
    ("--[=[", "]=]"),
    ("#|", "|#"),
    ("#=\n", "=#"),
    ("<#", "#>"),
    ("%{\n", "%}"),
    ("=begin", "\n=end"),
    ("=pod", "\n=cut"),
    ("=head1", "\n=cut"),
    ('"""', '"""'),
    ("'''", "'''"),
    ('r"""', '"""'),
)
_DIRECTIVE = re.compile(
    r"#[ \t]*(?:include(?:_next)?|define|undef|if|ifdef|ifndef|elif|else|endif|pragma|error|warning"
    r"|line|import|region|endregion|nullable|using|load|reference)\b[^\n]*"
    r"|#!?\[[^\n]*"
)
_LINE_COMMENT = re.compile(
    r"(?:#(?!!?\[|\{)|//|--|;(?=[; \t\r\n])|%(?![{\w]*\})|!(?=[ \t])|'(?=[ \t])|dnl\b"
    r"|\\(?=[ \t])|::(?=[ \t])|@?(?:rem|REM|Rem)\b)[^\n]*"
)
_PREAMBLE = re.compile(
    r"<\?(?:php|hh)\b|<\?xml[^>]*>|<!(?:DOCTYPE|doctype)[^>]*>|<script[^>]*>|---[ \t]*(?=\r?\n)"
    r"|declare[ \t]*\([^)\n]*\)[ \t]*;|(?:'use [a-z]+'|\"use [a-z]+\")[ \t]*;?"
)
_QUOTES = ('"""', "'''", 'r"""')
_EXAMPLE = re.compile(r"[ \t]*(?:#|//|/\*|>>>|--|;)")
_SPACE = re.compile(r"[\s\ufeff]*")
_MARKS = re.compile(
    r"^[ \t]*(?:[<{(]?(?:!--|[/*#%;!'=|\\{}()-]|dnl\b|::|(?:@?rem\b)|r?\"{3})+)?[ \t]*"
    r"|[ \t]*(?:[*#%;=|/-]+[>})]?|\"{3}|[-#%]\}|#>)?[ \t\r]*$",
    re.IGNORECASE,
)


def code_start(text: str) -> int:
    r"""Return where the code of a text begins: behind its leading comments and docstring.

    Directives of a preprocessor count as code; what only opens a file (``<?php``, an XML
    declaration, ``"use strict"``) does not.

    >>> code_start("#!/bin/sh\n# Copyright\n\nls\n")
    23
    """
    return _walk(text, through_directives=False)[1]


def head_comments(text: str, limit: int) -> tuple[tuple[str, ...], ...]:
    """Return the comments before the first code, each as lines without the marks around them.

    Directives of a preprocessor may stand between the comments. Comments of one line that follow
    each other are one comment. Lines of a docstring that show a comment are left empty.

    Args:
        text: A source file.
        limit: Characters of the head that are read.
    """
    comments: list[list[str]] = []
    last_end = -1
    for start, end in _walk(text[:limit], through_directives=True)[0]:
        is_docstring = text.startswith(_QUOTES, start)
        lines = [
            "" if is_docstring and _EXAMPLE.match(line) else _MARKS.sub("", line)
            for line in text[start:end].split("\n")
        ]
        is_next_line = last_end >= 0 and text[last_end:start].strip(" \t\r") == "\n"
        if is_next_line and not _is_block(text, start):
            comments[-1] += lines
        else:
            comments.append(lines)
        last_end = -1 if _is_block(text, start) else end
    return tuple(map(tuple, comments))


def _walk(text: str, *, through_directives: bool) -> tuple[list[tuple[int, int]], int]:
    found: list[tuple[int, int]] = []
    position = _after_space(text, 0)
    while position < len(text):
        end = _comment_end(text, position)
        if end is not None:
            found.append((position, end))
        else:
            match = _PREAMBLE.match(text, position)
            if match is None and through_directives:
                match = _DIRECTIVE.match(text, position)
            if match is None:
                return found, position
            end = match.end()
        position = _after_space(text, end)
    return found, len(text)


def _comment_end(text: str, position: int) -> int | None:
    if _DIRECTIVE.match(text, position):
        return None
    for opening, closing in _BLOCKS:
        if text.startswith(opening, position):
            end = text.find(closing, position + len(opening))
            return len(text) if end < 0 else end + len(closing)
    match = _LINE_COMMENT.match(text, position)
    return None if match is None else match.end()


def _is_block(text: str, position: int) -> bool:
    return any(text.startswith(opening, position) for opening, _ in _BLOCKS)


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()
