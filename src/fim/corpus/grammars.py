"""Load tree-sitter grammars, and measure what of a text they do not understand."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


@lru_cache(maxsize=64)
def load_parser(grammar: str, entry: str) -> Parser | None:
    """Return the parser of a grammar's wheel, or None where it is not installed.

    Args:
        grammar: Import name of the wheel; empty has no parser.
        entry: Function of that module that returns the grammar.
    """
    if not grammar:
        return None
    try:
        import tree_sitter

        module = importlib.import_module(grammar)
    except ImportError:
        return None
    return tree_sitter.Parser(tree_sitter.Language(getattr(module, entry)()))


def error_bytes(root: Node) -> int:
    """Return how many bytes of a tree its grammar does not accept."""
    num_bytes = 0
    pending = [root] if root.has_error else []
    while pending:
        node = pending.pop()
        if node.is_error:
            num_bytes += node.end_byte - node.start_byte
        else:
            pending += [child for child in node.children if child.has_error]
    return num_bytes
