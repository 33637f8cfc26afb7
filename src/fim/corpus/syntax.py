"""Parse source text and name the syntax that surrounds a position, in characters."""

from __future__ import annotations

import importlib
from bisect import bisect_left
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from typing import TYPE_CHECKING

from fim.corpus.languages import Language, language_named

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        """Return the tree of a text, or None where its language has no grammar installed."""
        parser = self._parser(language)
        if parser is None:
            return None
        content = text.encode("utf-8", "surrogatepass")
        return SyntaxTree(parser.parse(content).root_node, text, content)

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
            self._parsers[name] = None if language is None else _load_parser(language)
        return self._parsers[name]


def _load_parser(language: Language) -> Parser | None:
    if not language.grammar:
        return None
    try:
        import tree_sitter

        module = importlib.import_module(language.grammar)
    except ImportError:
        return None
    return tree_sitter.Parser(tree_sitter.Language(getattr(module, language.entry)()))


def _compiled(parser: Parser, source: str) -> Query | None:
    from tree_sitter import Query

    return None if parser.language is None else Query(parser.language, source)


class SyntaxTree:
    """A parsed text whose nodes are asked for by character position."""

    def __init__(self, root: Node, text: str, content: bytes) -> None:
        self._root = root
        self._offsets = None if len(text) == len(content) else _byte_offsets(text)

    @property
    def has_error(self) -> bool:
        """Whether the text has a part that its grammar does not accept."""
        return self._root.has_error

    @property
    def root(self) -> Node:
        """The node that spans the whole text."""
        return self._root

    def error_share(self) -> float:
        """Return the share of the text that its grammar does not accept, 0 to 1."""
        num_bytes = 0
        pending = [self._root] if self._root.has_error else []
        while pending:
            node = pending.pop()
            if node.is_error:
                num_bytes += node.end_byte - node.start_byte
            else:
                pending += [child for child in node.children if child.has_error]
        return num_bytes / max(self._root.end_byte, 1)

    def characters(self, node: Node) -> tuple[int, int]:
        """Return the characters where a node starts and ends."""
        return self._char(node.start_byte), self._char(node.end_byte)

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
        """Return the pieces of syntax around a character, from the innermost outwards."""
        chain: list[Node] = []
        node: Node | None = self._node_at(position)
        while node is not None and len(chain) < _MAX_CLIMB:
            chain.append(node)
            node = node.parent
        found = []
        for child, parent in pairwise(chain):
            span = self._span(child, parent)
            if span is not None:
                found.append(span)
        return tuple(found)

    def _node_at(self, position: int) -> Node | None:
        start = position if self._offsets is None else self._offsets[position]
        return self._root.descendant_for_byte_range(start, start + 1)

    def _char(self, byte: int) -> int:
        return byte if self._offsets is None else bisect_left(self._offsets, byte)

    def _span(self, node: Node, parent: Node) -> SyntaxSpan | None:
        kind = _kind_of(node, parent)
        if kind is None or node.has_error or _is_prose_statement(node):
            return None
        start, end = node.start_byte, node.end_byte
        if kind == "arguments" or (kind == "block" and _is_bracketed(node)):
            start, end = start + 1, end - 1
        elif kind == "block":
            start = _first_code_byte(node)
        return SyntaxSpan(kind, self._char(start), self._char(end)) if start < end else None


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
