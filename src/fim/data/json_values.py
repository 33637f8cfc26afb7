"""Rows of a JSON text that is not by lines: an array, a wrapper around one, values in sequence.

The text is read in pieces, so a large array is never in memory as a whole.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from fim.data.rows import CODE_FIELDS, RowProblem
from fim.data.sides import side_of_name

Found = tuple[str, Mapping[str, object] | RowProblem]

_CHUNK_BYTES = 1 << 16
_MOST_NESTED = 3
_SAMPLE_CHARS = 60
_BLANK = " \t\r\n\ufeff"
_SIGNS = re.compile(r'\\[\s\S]|["{}\[\],]')


def read_values(stream: BinaryIO, max_row_bytes: int) -> Iterator[Found]:
    """Yield the rows of a JSON text, each with the side that its key in a wrapper names.

    A row that is broken or longer than ``max_row_bytes`` is yielded as its problem, and reading
    goes on behind it.
    """
    cursor = _Cursor(stream, max_row_bytes)
    while sign := cursor.peek():
        if sign == "[":
            yield from _items(cursor, "")
        elif sign in ",]}":
            cursor.take()
        else:
            yield from _top(cursor)


class _TooLongError(Exception):
    """A value that is longer than a row may be."""


class _Cursor:
    """A place in a JSON text of which only what is needed is in memory."""

    def __init__(self, stream: BinaryIO, max_chars: int) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._json = json.JSONDecoder()
        self._text = ""
        self._place = 0
        self._max_chars = max_chars

    def peek(self) -> str:
        """Return the next sign that is no blank, or an empty text at the end."""
        while True:
            while self._place < len(self._text):
                if self._text[self._place] not in _BLANK:
                    return self._text[self._place]
                self._place += 1
            if not self._read():
                return ""

    def take(self) -> None:
        """Step over a sign."""
        self._place += 1

    def value(self) -> object:
        """Return the next value and step over it; the place stays where there is none.

        Raises:
            ValueError: There is no value here.
            _TooLongError: It is longer than a row may be.
        """
        self.peek()
        while True:
            try:
                found, end = self._json.raw_decode(self._text, self._place)
            except ValueError:
                if len(self._text) - self._place > self._max_chars:
                    raise _TooLongError from None
                if not self._read():
                    raise
                continue
            is_open = end == len(self._text) and not isinstance(found, dict | list | str)
            if is_open and self._read():
                continue
            self._place = end
            return found

    def skip(self) -> str:
        """Step over a value, whatever is in it, and return its beginning."""
        sample = self._text[self._place : self._place + _SAMPLE_CHARS]
        depth, is_text = 0, False
        while True:
            last = self._place
            for match in _SIGNS.finditer(self._text, self._place):
                sign, last = match[0], match.end()
                if sign == '"':
                    is_text = not is_text
                elif is_text or sign.startswith("\\"):
                    continue
                elif sign in "{[":
                    depth += 1
                elif sign == "," or depth == 0:
                    if depth == 0:
                        self._place = match.start()
                        return sample
                else:
                    depth -= 1
            ends_escaping = self._text.endswith("\\") and last < len(self._text)
            self._place = len(self._text) - ends_escaping
            if not self._read():
                self._place = len(self._text)
                return sample

    def _read(self) -> bool:
        size = max(_CHUNK_BYTES, len(self._text) - self._place)
        piece = self._stream.read(size)
        self._text = self._text[self._place :] + self._decoder.decode(piece, final=not piece)
        self._place = 0
        return bool(piece)


def _items(cursor: _Cursor, side: str) -> Iterator[Found]:
    cursor.take()
    while sign := cursor.peek():
        if sign in "],}":
            cursor.take()
            if sign == "]":
                return
        else:
            found = _one(cursor)
            yield side, found if isinstance(found, Mapping | RowProblem) else _no_row(found)
    yield side, RowProblem("broken_json", "the text ends inside an array: the file is cut off")


def _one(cursor: _Cursor) -> object:
    """Return the next value, or its problem; either way the cursor stands behind it."""
    try:
        return cursor.value()
    except _TooLongError:
        return RowProblem("row_too_large", "above data.max_row_bytes", sample=cursor.skip())
    except (ValueError, RecursionError) as error:
        return RowProblem("broken_json", str(error), sample=cursor.skip())


def _top(cursor: _Cursor) -> Iterator[Found]:
    """Yield what a value outside any array holds: a row, or the rows wrapped in it."""
    try:
        found = cursor.value()
    except _TooLongError:
        yield from _members(cursor, "")
        return
    except (ValueError, RecursionError) as error:
        yield "", RowProblem("broken_json", str(error), sample=cursor.skip())
        return
    is_row = isinstance(found, Mapping) and not found.keys().isdisjoint(CODE_FIELDS)
    wrapped = [] if is_row else list(_within(found, "", _MOST_NESTED))
    if wrapped:
        yield from wrapped
    else:
        yield "", found if isinstance(found, Mapping) else _no_row(found)


def _members(cursor: _Cursor, side: str) -> Iterator[Found]:
    """Yield the rows in the lists of an object that is too long to be looked at as a whole."""
    cursor.take()
    while (sign := cursor.peek()) and sign != "}":
        if sign in ",:":
            cursor.take()
            continue
        name = _one(cursor)
        if isinstance(name, RowProblem):
            yield side, name
            return
        own = side_of_name(str(name)) or side
        if cursor.peek() == ":":
            cursor.take()
        if cursor.peek() == "[":
            yield from _items(cursor, own)
        elif cursor.peek() == "{":
            yield from _members(cursor, own)
        else:
            _one(cursor)
    cursor.take()


def _within(value: object, side: str, depth: int) -> Iterator[Found]:
    if not isinstance(value, Mapping) or not depth:
        return
    for name, each in value.items():
        own = side_of_name(str(name)) or side
        if isinstance(each, list) and any(isinstance(item, Mapping) for item in each):
            for item in each:
                yield own, item if isinstance(item, Mapping) else _no_row(item)
        else:
            yield from _within(each, own, depth - 1)


def _no_row(value: object) -> RowProblem:
    return RowProblem(
        "wrong_type",
        f"the row is {type(value).__name__}, not an object",
        sample=repr(value)[:_SAMPLE_CHARS],
    )
