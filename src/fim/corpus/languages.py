"""The table of programming languages: how a file is recognised and which grammar parses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_SHEBANG = re.compile(
    r"#![ \t]*(?:[^ \t\n]*/)?(?:env[ \t]+(?:-\S+[ \t]+|\w+=\S*[ \t]+)*(?:[^ \t\n]*/)?)?"
    r"(?P<program>[A-Za-z][A-Za-z-]*?)[\d.]*(?=[ \t\r\n]|$)"
)


@dataclass(frozen=True, slots=True)
class Language:
    """A language and, where one exists, the wheel that holds its tree-sitter grammar.

    Args:
        name: The name that examples carry.
        endings: File name endings, lower case, with the dot.
        grammar: Import name of the grammar's wheel; empty when spans are taken by lines.
        entry: Function of that module that returns the grammar.
        file_names: Whole file names that mean this language.
        interpreters: Programs that a first line ``#!`` may name.
    """

    name: str
    endings: tuple[str, ...]
    grammar: str = ""
    entry: str = "language"
    file_names: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()


LANGUAGES: tuple[Language, ...] = (
    Language(
        "Python", (".py", ".pyi", ".pyw"), "tree_sitter_python", interpreters=("python", "pypy")
    ),
    Language(
        "JavaScript",
        (".js", ".jsx", ".mjs", ".cjs"),
        "tree_sitter_javascript",
        interpreters=("node", "nodejs"),
    ),
    Language(
        "TypeScript",
        (".ts", ".mts", ".cts"),
        "tree_sitter_typescript",
        "language_typescript",
        interpreters=("deno", "bun", "ts-node", "tsx"),
    ),
    Language("TSX", (".tsx",), "tree_sitter_typescript", "language_tsx"),
    Language("Java", (".java",), "tree_sitter_java"),
    Language("Go", (".go",), "tree_sitter_go"),
    Language("Rust", (".rs",), "tree_sitter_rust"),
    Language("C", (".c", ".h"), "tree_sitter_c"),
    Language("C++", (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"), "tree_sitter_cpp"),
    Language("C#", (".cs",), "tree_sitter_c_sharp"),
    Language(
        "Ruby",
        (".rb", ".rake"),
        "tree_sitter_ruby",
        file_names=("Rakefile", "Gemfile"),
        interpreters=("ruby",),
    ),
    Language("PHP", (".php",), "tree_sitter_php", "language_php", interpreters=("php",)),
    Language("Kotlin", (".kt", ".kts"), "tree_sitter_kotlin"),
    Language("Bash", (".sh", ".bash"), "tree_sitter_bash", interpreters=("bash", "sh", "dash")),
    Language("Swift", (".swift",)),
    Language("Scala", (".scala", ".sc")),
    Language("Dart", (".dart",)),
    Language("Lua", (".lua",), interpreters=("lua",)),
    Language("Perl", (".pl", ".pm"), interpreters=("perl",)),
    Language("R", (".r",), interpreters=("Rscript",)),
    Language("Julia", (".jl",), interpreters=("julia",)),
    Language("Haskell", (".hs",)),
    Language("Elixir", (".ex", ".exs")),
    Language("Zig", (".zig",)),
    Language("SQL", (".sql",)),
    Language("Objective-C", (".m", ".mm")),
    Language("Vue", (".vue",)),
    Language("Makefile", (".mk",), file_names=("Makefile", "GNUmakefile")),
    Language("CMake", (".cmake",), file_names=("CMakeLists.txt",)),
    Language("Dockerfile", (".dockerfile",), file_names=("Dockerfile",)),
)


def language_of(path: str, text: str = "") -> Language | None:
    """Return the language that a file's name tells, else its first line, or None.

    >>> language_of("src/app/main.PY").name
    'Python'
    >>> language_of("bin/deploy", "#!/usr/bin/env -S python3.12 -u").name
    'Python'
    """
    name = PurePosixPath(path).name
    ending = PurePosixPath(name).suffix.lower()
    for language in LANGUAGES:
        if name in language.file_names or (ending and ending in language.endings):
            return language
    return _language_of_shebang(text) if may_have_shebang(path) else None


def may_have_shebang(path: str) -> bool:
    """Tell whether a file's name leaves it to the first line to name the language."""
    return "." not in PurePosixPath(path).name


def language_named(name: str) -> Language | None:
    """Return the language with this exact name, or None."""
    return next((language for language in LANGUAGES if language.name == name), None)


def _language_of_shebang(text: str) -> Language | None:
    match = _SHEBANG.match(text)
    program = match["program"] if match else ""
    return next((language for language in LANGUAGES if program in language.interpreters), None)
