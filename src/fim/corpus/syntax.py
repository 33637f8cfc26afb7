"""Parse source text and name the syntax that surrounds a position, in characters."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from typing import TYPE_CHECKING

from fim.corpus.grammars import error_bytes, load_parser
from fim.corpus.languages import Language, language_named
from fim.corpus.markup import Markup, read_markup, uses_jsx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tree_sitter import Node, Parser, Query

_MAX_CLIMB = 40
_STATEMENT_ENDINGS = ("_statement", "_declaration", "_definition", "_item")
_EXPRESSION_ENDINGS = ("_expression", "_operator", "_comprehension")
_CALLS = frozenset(
    {
        "call",
        "call_expression",
        "method_invocation",
        "object_creation_expression",
        "new_expression",
        "macro_invocation",
        "invocation_expression",
        "function_call_expression",
        "member_call_expression",
        "command",
        "method_call",
    }
)
_ARGUMENTS = frozenset(
    {"argument_list", "arguments", "value_arguments", "token_tree", "parameters"}
)
_BLOCKS = frozenset(
    {
        "block",
        "statement_block",
        "compound_statement",
        "function_body",
        "class_body",
        "declaration_list",
        "field_declaration_list",
        "body_statement",
        "constructor_body",
        "do_group",
        "interface_body",
        "enum_body",
        "match_block",
        "switch_body",
    }
)
_EXPRESSIONS = frozenset(
    {
        "attribute",
        "composite_literal",
        "subscript",
        "list",
        "dictionary",
        "tuple",
        "set",
        "lambda",
        "array",
        "object",
        "pair",
        "binary",
        "arrow_function",
    }
)
_PLAIN_STATEMENTS = frozenset({"decorated_definition", "statement", "method", "class", "if", "for"})
_KIND_TABLE: tuple[tuple[str, frozenset[str], tuple[str, ...]], ...] = (
    ("call", _CALLS, ()),
    ("arguments", _ARGUMENTS, ()),
    ("block", _BLOCKS, ()),
    ("expression", _EXPRESSIONS, _EXPRESSION_ENDINGS),
    ("statement", _PLAIN_STATEMENTS, _STATEMENT_ENDINGS),
)
_BRACKETS = frozenset({("(", ")"), ("{", "}"), ("[", "]")})
_NUMBERS = ("integer", "float", "number", "int_literal")
_PROSE = ("string", "comment", "heredoc", "template_string", "raw_string")
_LAST_OF_ONE, _LAST_OF_TWO, _LAST_OF_THREE = 0x7F, 0x7FF, 0xFFFF
_CONDITION_FIELDS = ("condition",)
_VALUE_FIELDS = ("right", "value")
_WITH_FRONT_MATTER = "Astro"
_MIN_UNDERSTOOD_SHARE = 0.5
_BEFORE_TOP_LEVEL = re.compile(r"\n[ \t\r]*\n(?=[^\s})\]])")
_BEFORE_ANY = re.compile(r"\n[ \t\r]*\n(?=[ \t]*[^\s})\]])")


@dataclass(frozen=True, slots=True)
class SyntaxSpan:
    """A piece of syntax in character offsets.

    Args:
        kind: ``statement``, ``call``, ``arguments``, ``block``, ``condition`` or ``expression``.
    """

    kind: str
    start: int
    end: int


class Grammars:
    """The parsers of the languages whose grammar is installed, loaded at first use."""

    def __init__(self) -> None:
        self._parsers: dict[str, Parser | None] = {}
        self._queries: dict[tuple[str, str], Query | None] = {}

    def parse(self, text: str, language: str) -> SyntaxTree | None:
        """Return the tree of a text, or None where its language has no grammar installed.

        Of a file of markup the scripts are parsed, and its tags are known.
        """
        parser, markup = self._parser(language), _markup_of(text, language)
        if markup is not None:
            parser = self._parser("TSX") if uses_jsx(text) else parser
        elif parser is None:
            return None
        source = _Source(text)
        pieces = ((0, len(text)),) if markup is None else markup.scripts
        roots = [source.root(parser, *piece) for piece in pieces] if parser is not None else []
        return SyntaxTree(roots, source, markup)

    def parse_around_errors(self, text: str, language: str) -> SyntaxTree | None:
        """Return the tree of those parts of a text that are understood when parsed alone.

        The text is divided at empty lines before code that is not indented, and what still holds
        an error at every empty line. None where less than half of the text is understood.
        """
        parser, markup = self._parser(language), _markup_of(text, language)
        source = _Source(text)
        if parser is None:
            return None
        roots: list[Node] = []
        num_chars = num_understood = 0
        for start, end in ((0, len(text)),) if markup is None else markup.scripts:
            num_chars += end - start
            for first, last, root in _understood(source, parser, start, end):
                num_understood += last - first
                roots.append(root)
        if markup is None and num_understood < _MIN_UNDERSTOOD_SHARE * num_chars:
            return None
        return SyntaxTree(roots, source, markup)

    def query(self, language: str, source: str) -> Query | None:
        """Return a language's query, or None where it is empty or has no grammar installed."""
        key = (language, source)
        if key not in self._queries:
            parser = self._parser(language) if source else None
            self._queries[key] = None if parser is None else _compiled(parser, source)
        return self._queries[key]

    def versions(self) -> Mapping[str, str]:
        """Return the version of each grammar used so far, ``lines`` where none is installed."""
        found = {}
        for name, parser in sorted(self._parsers.items()):
            language = language_named(name)
            if parser is None or language is None:
                found[name] = "lines"
            else:
                found[name] = metadata.version(language.grammar.replace("_", "-"))
        return found

    def _parser(self, name: str) -> Parser | None:
        if name not in self._parsers:
            language = language_named(name)
            self._parsers[name] = None if language is None else _parser_of(language)
        return self._parsers[name]


def _parser_of(language: Language) -> Parser | None:
    return load_parser(language.grammar, language.entry)


def _compiled(parser: Parser, source: str) -> Query | None:
    from tree_sitter import Query

    return None if parser.language is None else Query(parser.language, source)


def _markup_of(text: str, name: str) -> Markup | None:
    language = language_named(name)
    if language is None or not language.is_markup:
        return None
    return read_markup(text, has_front_matter=name == _WITH_FRONT_MATTER)


def _understood(
    source: _Source, parser: Parser, start: int, end: int
) -> Iterator[tuple[int, int, Node]]:
    """Yield the parts between two characters that parse without an error, each with its tree."""
    for first, last in _divided(source.text, start, end, _BEFORE_TOP_LEVEL):
        root = source.root(parser, first, last)
        if not root.has_error:
            yield first, last, root
            continue
        for inner_first, inner_last in _divided(source.text, first, last, _BEFORE_ANY):
            inner = source.root(parser, inner_first, inner_last)
            if not inner.has_error:
                yield inner_first, inner_last, inner


def _divided(
    text: str, start: int, end: int, boundary: re.Pattern[str]
) -> Iterator[tuple[int, int]]:
    places = [start, *(match.end() for match in boundary.finditer(text, start, end)), end]
    return ((first, last) for first, last in pairwise(places) if text[first:last].strip())


class _Source:
    """A text whose pieces are parsed, in characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.content = text.encode("utf-8", "surrogatepass")
        self._offsets = None if len(text) == len(self.content) else _byte_offsets(text)
        self._line_starts: list[int] = []

    def byte(self, position: int) -> int:
        """Return the byte at which a character begins."""
        return position if self._offsets is None else self._offsets[position]

    def character(self, byte: int) -> int:
        """Return the character that begins at a byte."""
        return byte if self._offsets is None else bisect_left(self._offsets, byte)

    def root(self, parser: Parser, start: int, end: int) -> Node:
        """Return the tree of the characters from ``start`` to ``end``, its places in the text."""
        if (start, end) == (0, len(self.text)):
            return parser.parse(self.content).root_node
        from tree_sitter import Range

        first, last = self.byte(start), self.byte(end)
        parser.included_ranges = [Range(self._point(first), self._point(last), first, last)]
        try:
            return parser.parse(self.content).root_node
        finally:
            parser.included_ranges = []

    def _point(self, byte: int) -> tuple[int, int]:
        if not self._line_starts:
            ends = re.finditer(b"\n", self.content)
            self._line_starts = [0, *(match.end() for match in ends)]
        line = bisect_right(self._line_starts, byte) - 1
        return line, byte - self._line_starts[line]


class SyntaxTree:
    """A parsed text whose nodes are asked for by character position.

    Args:
        roots: The trees of its parsed pieces, in order; one where all of it is parsed.
        source: The text.
        markup: Its tags, where it has any.
    """

    def __init__(self, roots: Sequence[Node], source: _Source, markup: Markup | None) -> None:
        self.roots = tuple(roots)
        self._source = source
        self._markup = markup

    @property
    def has_error(self) -> bool:
        """Whether the text has a part that its grammar does not accept."""
        return any(root.has_error for root in self.roots)

    def end_before_tags(self, start: int, end: int) -> int:
        """Return where a hole ends that crosses no tag; its own end where it crosses none."""
        if self._markup is None or not self._markup.is_crossed_by(start, end):
            return end
        before = self._markup.end_before_tags(start, end)
        kept = self._source.text[start:before].rstrip()
        is_crossed = self._markup.is_crossed_by(start, start + len(kept))
        return start if is_crossed else start + len(kept)

    def error_share(self) -> float:
        """Return the share of what was parsed that its grammar does not accept, 0 to 1."""
        num_bytes = sum(root.end_byte - root.start_byte for root in self.roots)
        return sum(map(error_bytes, self.roots)) / max(num_bytes, 1)

    def characters(self, node: Node) -> tuple[int, int]:
        """Return the characters where a node starts and ends."""
        return self._source.character(node.start_byte), self._source.character(node.end_byte)

    def is_prose(self, position: int) -> bool:
        """Tell whether a character stands in a comment or a string."""
        node: Node | None = self._node_at(position)
        for _ in range(3):
            if node is None:
                return False
            if node.type.startswith(_PROSE) or node.type.endswith(("comment", "string_literal")):
                return True
            node = node.parent
        return False

    def spans_at(self, position: int) -> tuple[SyntaxSpan, ...]:
        """Return the pieces of syntax around a character, from the innermost outwards.

        Inside a part that the grammar does not accept there are none.
        """
        chain: list[Node] = []
        node: Node | None = self._node_at(position)
        while node is not None and len(chain) < _MAX_CLIMB:
            if node.is_error:
                return ()
            chain.append(node)
            node = node.parent
        found = []
        for child, parent in pairwise(chain):
            span = self._span(child, parent)
            if span is not None:
                found.append(span)
        return tuple(found)

    def _node_at(self, position: int) -> Node | None:
        byte = self._source.byte(position)
        for root in self.roots:
            if len(self.roots) == 1 or root.start_byte <= byte < root.end_byte:
                return root.descendant_for_byte_range(byte, byte + 1)
        return None

    def _span(self, node: Node, parent: Node) -> SyntaxSpan | None:
        kind = _kind_of(node, parent)
        if kind is None or node.has_error or _is_prose_statement(node):
            return None
        start, end = node.start_byte, node.end_byte
        if kind == "arguments" or (kind == "block" and _is_bracketed(node)):
            start, end = start + 1, end - 1
        elif kind == "block":
            start = _first_code_byte(node)
        if start >= end:
            return None
        return SyntaxSpan(kind, self._source.character(start), self._source.character(end))


def _byte_offsets(text: str) -> list[int]:
    import numpy as np

    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    widths = 1 + (codes > _LAST_OF_ONE) + (codes > _LAST_OF_TWO) + (codes > _LAST_OF_THREE)
    return [0, *np.cumsum(widths).tolist()]


def _kind_of(node: Node, parent: Node) -> str | None:
    kind = node.type
    if not node.is_named:
        return None
    if any(parent.child_by_field_name(name) == node for name in _CONDITION_FIELDS):
        return "condition"
    if kind.startswith("parameter_") or (kind in _ARGUMENTS and not _is_bracketed(node)):
        return None
    for name, kinds, endings in _KIND_TABLE:
        if kind in kinds or (endings and kind.endswith(endings)):
            return name
    is_value = any(parent.child_by_field_name(name) == node for name in _VALUE_FIELDS)
    return "expression" if is_value and not kind.startswith((*_PROSE, *_NUMBERS)) else None


def _is_bracketed(node: Node) -> bool:
    if node.child_count == 0:
        return False
    first, last = node.child(0), node.child(node.child_count - 1)
    return first is not None and last is not None and (first.type, last.type) in _BRACKETS


def _is_prose_statement(node: Node) -> bool:
    return node.type == "expression_statement" and (
        node.named_child_count == 1 and node.named_children[0].type.startswith(_PROSE)
    )


def _first_code_byte(block: Node) -> int:
    children = block.named_children
    if len(children) > 1 and _is_prose_statement(children[0]):
        return children[1].start_byte
    return block.start_byte
