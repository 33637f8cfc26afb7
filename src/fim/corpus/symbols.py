"""What a source file defines, by tree-sitter queries; a pure function of its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fim.corpus.syntax import Grammars, SyntaxTree

_ECMASCRIPT = """
(function_declaration name: (identifier) @name) @definition
(generator_function_declaration name: (identifier) @name) @definition
(method_definition name: (property_identifier) @name) @definition
(program (lexical_declaration (variable_declarator name: (identifier) @name)) @definition)
(export_statement
  declaration: (lexical_declaration (variable_declarator name: (identifier) @name)) @definition)
"""
_TYPESCRIPT = (
    _ECMASCRIPT
    + """
(class_declaration name: (type_identifier) @name) @definition
(abstract_class_declaration name: (type_identifier) @name) @definition
(interface_declaration name: (type_identifier) @name) @definition
(type_alias_declaration name: (type_identifier) @name) @definition
(enum_declaration name: (identifier) @name) @definition
"""
)
_C = """
(function_definition
  declarator: (function_declarator declarator: (identifier) @name)) @definition
(function_definition
  declarator: (pointer_declarator
    declarator: (function_declarator declarator: (identifier) @name))) @definition
(declaration declarator: (function_declarator declarator: (identifier) @name)) @definition
(struct_specifier name: (type_identifier) @name body: (_)) @definition
(enum_specifier name: (type_identifier) @name body: (_)) @definition
(union_specifier name: (type_identifier) @name body: (_)) @definition
(type_definition declarator: (type_identifier) @name) @definition
(preproc_def name: (identifier) @name) @definition
(preproc_function_def name: (identifier) @name) @definition
"""
_QUERIES: Mapping[str, str] = {
    "Python": """
(function_definition name: (identifier) @name) @definition
(class_definition name: (identifier) @name) @definition
(module (expression_statement (assignment left: (identifier) @name) @definition))
""",
    "JavaScript": _ECMASCRIPT + "(class_declaration name: (identifier) @name) @definition",
    "TypeScript": _TYPESCRIPT,
    "TSX": _TYPESCRIPT,
    "Vue": _TYPESCRIPT,
    "Svelte": _TYPESCRIPT,
    "Astro": _TYPESCRIPT,
    "HTML": _TYPESCRIPT,
    "Java": """
(class_declaration name: (identifier) @name) @definition
(interface_declaration name: (identifier) @name) @definition
(enum_declaration name: (identifier) @name) @definition
(record_declaration name: (identifier) @name) @definition
(method_declaration name: (identifier) @name) @definition
""",
    "Go": """
(function_declaration name: (identifier) @name) @definition
(method_declaration name: (field_identifier) @name) @definition
(type_declaration (type_spec name: (type_identifier) @name)) @definition
(const_spec name: (identifier) @name) @definition
""",
    "Rust": """
(function_item name: (identifier) @name) @definition
(function_signature_item name: (identifier) @name) @definition
(struct_item name: (type_identifier) @name) @definition
(enum_item name: (type_identifier) @name) @definition
(trait_item name: (type_identifier) @name) @definition
(type_item name: (type_identifier) @name) @definition
(const_item name: (identifier) @name) @definition
(static_item name: (identifier) @name) @definition
(macro_definition name: (identifier) @name) @definition
""",
    "C": _C,
    "C++": _C
    + """
(class_specifier name: (type_identifier) @name body: (_)) @definition
(function_definition declarator: (function_declarator
  declarator: (qualified_identifier name: (identifier) @name))) @definition
(function_definition declarator: (function_declarator
  declarator: (field_identifier) @name)) @definition
""",
    "C#": """
(class_declaration name: (identifier) @name) @definition
(interface_declaration name: (identifier) @name) @definition
(struct_declaration name: (identifier) @name) @definition
(enum_declaration name: (identifier) @name) @definition
(record_declaration name: (identifier) @name) @definition
(method_declaration name: (identifier) @name) @definition
""",
    "Ruby": """
(method name: (identifier) @name) @definition
(singleton_method name: (identifier) @name) @definition
(class name: (constant) @name) @definition
(module name: (constant) @name) @definition
""",
    "PHP": """
(function_definition name: (name) @name) @definition
(method_declaration name: (name) @name) @definition
(class_declaration name: (name) @name) @definition
(interface_declaration name: (name) @name) @definition
(trait_declaration name: (name) @name) @definition
""",
    "Kotlin": """
(function_declaration name: (identifier) @name) @definition
(class_declaration name: (identifier) @name) @definition
(object_declaration name: (identifier) @name) @definition
""",
    "Bash": "(function_definition name: (word) @name) @definition",
}


@dataclass(frozen=True, slots=True)
class Definition:
    """A named definition and the characters it spans."""

    name: str
    start: int
    end: int


def definitions_in(
    tree: SyntaxTree | None, language: str, grammars: Grammars
) -> tuple[Definition, ...]:
    """Return the functions, types and constants that a parsed text defines, in order.

    Empty where the language has no grammar installed.
    """
    query = grammars.query(language, _QUERIES.get(language, ""))
    if query is None or tree is None:
        return ()
    from tree_sitter import QueryCursor

    found = set()
    for _, captures in (match for root in tree.roots for match in QueryCursor(query).matches(root)):
        names, bodies = captures.get("name", []), captures.get("definition", [])
        if len(names) == 1 and bodies and names[0].text:
            name = names[0].text.decode("utf-8", "replace")
            found.add(Definition(name, *tree.characters(bodies[0])))
    return tuple(sorted(found, key=lambda item: (item.start, item.end, item.name)))
