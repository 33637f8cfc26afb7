"""Choose the holes of a document: a weighted mixture of what developers complete."""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fim.corpus.syntax import SyntaxSpan, SyntaxTree

LINES_PER_HOLE = 15
MIN_VISIBLE_CHARS = 105
SPAN_WEIGHTS: Mapping[str, int] = {
    "syntax": 45,
    "line_end": 20,
    "characters": 17,
    "lines": 10,
    "to_blank_line": 5,
    "empty": 3,
}
SYNTAX_WEIGHTS: Mapping[str, int] = {
    "statement": 16,
    "call": 24,
    "arguments": 18,
    "block": 16,
    "condition": 26,
    "expression": 12,
}
_POSITIONS_PER_KIND = 6
_KINDS_PER_HOLE = 3
_PROSE_SHARE = 0.15
_INDENTED_CURSOR_SHARE = 0.6
_OWN_LINE_END_SHARE = 0.75
_AT_LINE_END_SHARE = 0.5
_MID_WORD_SHARE = 0.35
_MAX_LINES = 5
_MIN_SYNTAX_CHARS = 4
_NOTHING = " \t\r\n\f\v)]};,:\"'`"
_IMPORT = re.compile(r"(?:import|from|use|using|#\s*include|package|require(?:_once)?)\b")
_COMMENT_STARTS = ("#", "//", "/*", "*", "--", '"""', "'''", "%", ";;")


@dataclass(frozen=True, slots=True)
class Span:
    """A hole: the characters ``start`` to ``end`` of a text, and how it was chosen."""

    start: int
    end: int
    kind: str


class Lines:
    """The lines of a text, ended by a line feed or a carriage return and a line feed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def number(self, position: int) -> int:
        """Return the index of the line that holds a position."""
        return bisect_right(self._starts, position) - 1

    def start(self, number: int) -> int:
        """Return where a line begins."""
        return self._starts[number]

    def end(self, number: int) -> int:
        """Return where a line's text ends, before its line end."""
        last = number + 1 >= len(self._starts)
        end = len(self._text) if last else self._starts[number + 1] - 1
        has_return = not last and end > self._starts[number] and self._text[end - 1] == "\r"
        return end - 1 if has_return else end

    def code_start(self, number: int) -> int:
        """Return where a line's indentation ends."""
        start, end = self.start(number), self.end(number)
        return end - len(self._text[start:end].lstrip())

    def is_blank(self, number: int) -> bool:
        """Tell whether a line holds nothing but white space."""
        return self.code_start(number) == self.end(number)

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self._starts)


def weighted_choice(weights: Mapping[str, int], number: float) -> str:
    """Return the key whose share of the weights holds ``number``, which lies in [0, 1)."""
    rest = number * sum(weights.values())
    for key, weight in weights.items():
        rest -= weight
        if rest < 0:
            return key
    return key


class SpanSampler:
    """Draws the holes of one document.

    Args:
        text: The document.
        tree: Its syntax, or None where no grammar is installed: then syntax's share goes to lines.
        seed: Anything that depends on the document's content alone keeps holes stable.
        max_middle_chars: Longest middle (characters).
        forbidden: Pieces that no middle may touch (characters).
    """

    def __init__(
        self,
        text: str,
        tree: SyntaxTree | None,
        *,
        seed: str,
        max_middle_chars: int,
        forbidden: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._text = text
        self._tree = tree
        self._lines = Lines(text)
        self._limit = max_middle_chars
        self._forbidden = tuple(forbidden)
        self._draw = random.Random(seed).random
        self._body_start = self._end_of_header()
        self._choosers: Mapping[str, Callable[[int], Span | None]] = {
            "syntax": self._syntax,
            "line_end": self._line_end,
            "characters": self._characters,
            "lines": self._whole_lines,
            "to_blank_line": self._to_blank_line,
            "empty": self._empty,
        }

    def sample(self, max_holes: int) -> tuple[Span, ...]:
        """Return distinct holes spread over the document, at most one per 15 lines, in order."""
        num_code_lines = sum(not line.isspace() for line in filter(None, self._text.split("\n")))
        num_holes = min(max_holes, max(1, num_code_lines // LINES_PER_HOLE))
        first, size = self._body_start, len(self._text) - self._body_start
        found: dict[tuple[int, int], Span] = {}
        for number in range(num_holes):
            low = first + size * number // num_holes
            high = first + size * (number + 1) // num_holes
            span = self._hole_between(low, high)
            if span is not None:
                found.setdefault((span.start, span.end), span)
        return tuple(sorted(found.values(), key=lambda span: (span.start, span.end)))

    def sample_within(self, lines: Sequence[tuple[int, int]], max_holes: int) -> tuple[Span, ...]:
        """Return distinct holes inside some runs of lines, spread over the runs, in order.

        Args:
            lines: First and last line of each run, counted from 1.
            max_holes: Most holes; at most one per 15 lines of a run, one per run at least.
        """
        runs = [
            (self._lines.start(first - 1), self._lines.end(min(last, len(self._lines)) - 1), number)
            for first, last in lines
            if first <= len(self._lines)
            for number in range(max(1, (last - first + 1) // LINES_PER_HOLE))
        ]
        num_holes = min(max_holes, len(runs))
        found: dict[tuple[int, int], Span] = {}
        for number in range(num_holes):
            low, high, _ = runs[number * len(runs) // num_holes]
            span = self._hole_between(low, high)
            if span is not None and low <= span.start and span.end <= high:
                found.setdefault((span.start, span.end), span)
        return tuple(sorted(found.values(), key=lambda span: (span.start, span.end)))

    def _hole_between(self, low: int, high: int) -> Span | None:
        for _ in range(_KINDS_PER_HOLE):
            kind = weighted_choice(self._weights(), self._draw())
            for _ in range(_POSITIONS_PER_KIND):
                position = self._position(low, high)
                span = None if position is None else self._between_tags(kind, position)
                if span is not None and self._is_fair(span):
                    return span
        return None

    def _between_tags(self, kind: str, position: int) -> Span | None:
        """Return a hole of a kind that crosses no tag of markup, shorter if need be."""
        span = self._choosers[kind](position)
        if span is None or self._tree is None:
            return span
        end = self._tree.end_before_tags(span.start, span.end)
        return span if end == span.end else Span(span.start, end, span.kind)

    def _weights(self) -> Mapping[str, int]:
        if self._tree is not None and self._tree.roots:
            return SPAN_WEIGHTS
        return {kind: weight for kind, weight in SPAN_WEIGHTS.items() if kind != "syntax"}

    def _position(self, low: int, high: int) -> int | None:
        position = low + self._below(high - low)
        while position < len(self._text) and self._text[position].isspace():
            position += 1
        if position >= len(self._text):
            return None
        if self._is_prose(position) and self._draw() >= _PROSE_SHARE:
            return None
        return position

    def _is_prose(self, position: int) -> bool:
        line = self._lines.number(position)
        code = self._text[self._lines.code_start(line) : self._lines.end(line)]
        if code.startswith(_COMMENT_STARTS):
            return True
        return self._tree is not None and self._tree.is_prose(position)

    def _is_fair(self, span: Span) -> bool:
        middle = self._text[span.start : span.end]
        if len(self._text) - len(middle) < MIN_VISIBLE_CHARS:
            return False
        if any(span.start <= end and start <= span.end for start, end in self._forbidden):
            return False
        if span.kind == "empty":
            return not middle
        if len(middle) > self._limit or not middle.strip(_NOTHING):
            return False
        lines = [line.strip() for line in middle.split("\n")]
        return not all(_IMPORT.match(line) for line in lines if line)

    def _syntax(self, position: int) -> Span | None:
        if self._tree is None:
            return None
        by_kind: dict[str, list[Span]] = {}
        for piece in self._tree.spans_at(position):
            span = self._syntax_span(piece)
            if span.end - span.start >= _MIN_SYNTAX_CHARS and self._is_fair(span):
                by_kind.setdefault(piece.kind, []).append(span)
        if not by_kind:
            return None
        weights = {kind: SYNTAX_WEIGHTS[kind] for kind in SYNTAX_WEIGHTS if kind in by_kind}
        spans = by_kind[weighted_choice(weights, self._draw())]
        return spans[self._below(len(spans))]

    def _syntax_span(self, piece: SyntaxSpan) -> Span:
        start, end = piece.start, piece.end
        if piece.kind == "block":
            text = self._text[start:end]
            start += len(text) - len(text.lstrip())
            end -= len(text) - len(text.rstrip())
        return Span(start, end, f"syntax:{piece.kind}")

    def _line_end(self, position: int) -> Span | None:
        line = self._lines.number(position)
        start, end = self._lines.code_start(line) + 1, self._lines.end(line)
        if start >= end:
            return None
        cut = start + self._below(end - start)
        if self._draw() >= _MID_WORD_SHARE:
            cut = self._word_start(cut)
        return Span(cut, end, "line_end")

    def _whole_lines(self, position: int) -> Span | None:
        first = self._lines.number(position)
        last = min(first + self._below(_MAX_LINES), len(self._lines) - 1)
        while last > first and self._lines.is_blank(last):
            last -= 1
        return self._lines_span(first, last, "lines")

    def _to_blank_line(self, position: int) -> Span | None:
        first = self._lines.number(position)
        last = first
        while last + 1 < len(self._lines) and not self._lines.is_blank(last + 1):
            last += 1
        while last > first and self._lines.end(last) - self._lines.start(first) > self._limit:
            first += 1
        if first == last:
            return None
        return self._lines_span(first, last, "to_blank_line")

    def _characters(self, position: int) -> Span | None:
        length = 1 + int(self._draw() ** 2 * self._limit)
        end = min(position + length, len(self._text))
        return Span(self._whole_newline(position), self._whole_newline(end), "characters")

    def _empty(self, position: int) -> Span | None:
        at_line_end = self._draw() < _AT_LINE_END_SHARE
        line_end = self._lines.end(self._lines.number(position))
        place = line_end if at_line_end else self._word_start(position)
        return Span(place, place, "empty")

    def _word_start(self, position: int) -> int:
        """Return the start of the word that a position lies inside of, else the position."""
        text = self._text
        if position >= len(text) or not _is_word(text[position]):
            return position
        while position > 0 and _is_word(text[position - 1]):
            position -= 1
        return position

    def _lines_span(self, first: int, last: int, kind: str) -> Span:
        """Return lines from their code or from their start, then often with their line end.

        With it the text after the hole begins with the next line, so that the answer is a line of
        its own; without it the cursor stands on an empty line.
        """
        end = self._lines.end(last)
        if self._draw() < _INDENTED_CURSOR_SHARE:
            return Span(self._lines.code_start(first), end, kind)
        if last + 1 < len(self._lines) and self._draw() < _OWN_LINE_END_SHARE:
            end = self._lines.start(last + 1)
        return Span(self._lines.start(first), end, kind)

    def _whole_newline(self, position: int) -> int:
        splits = (
            0 < position < len(self._text) and self._text[position - 1 : position + 1] == "\r\n"
        )
        return position - 1 if splits else position

    def _below(self, limit: int) -> int:
        return int(self._draw() * limit) if limit > 0 else 0

    def _end_of_header(self) -> int:
        line = 0
        while line < len(self._lines) - 1 and self._is_header(line):
            line += 1
        return self._lines.start(line)

    def _is_header(self, line: int) -> bool:
        code = self._text[self._lines.code_start(line) : self._lines.end(line)]
        return not code or (
            code.startswith(("#!", "#", "//", "/*", "*", "--"))
            and not (code.startswith(("#include", "#define", "#if", "#pragma", "#[")))
        )


def sample_spans(
    text: str,
    tree: SyntaxTree | None,
    *,
    seed: str,
    max_holes: int,
    max_middle_chars: int,
    lines: Sequence[tuple[int, int]] | None = None,
    forbidden: Sequence[tuple[int, int]] = (),
) -> Sequence[Span]:
    """Return the holes of a document in order; the same input gives the same holes.

    ``lines`` are first and last of the runs of lines, from 1, that alone may hold holes.
    ``forbidden`` are pieces, in characters, that no middle may touch.
    """
    sampler = SpanSampler(
        text, tree, seed=seed, max_middle_chars=max_middle_chars, forbidden=forbidden
    )
    return sampler.sample(max_holes) if lines is None else sampler.sample_within(lines, max_holes)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
