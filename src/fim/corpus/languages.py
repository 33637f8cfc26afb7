"""The table of programming languages: how a file is recognised and which grammar parses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from fim.corpus.contested import CONTESTED_ENDINGS, language_in
from fim.corpus.line_languages import LINE_LANGUAGES
from fim.corpus.notebooks import is_notebook

_SHEBANG = re.compile(
    r"#![ \t]*(?:[^ \t\n]*/)?(?:env[ \t]+(?:-\S+[ \t]+|\w+=\S*[ \t]+)*(?:[^ \t\n]*/)?)?"
    r"(?P<program>[A-Za-z][A-Za-z-]*?)[\d.]*(?=[ \t\r\n]|$)"
)
_PLAIN_FILES = frozenset(
    {".md", ".txt", ".rst", ".json", ".yml", ".yaml", ".lock", ".dockerignore"}
)
_TYPESCRIPT = ("tree_sitter_typescript", "language_typescript")
_NOTEBOOK_NAMES = {
    "ipython": "Python",
    "c++11": "C++",
    "c++14": "C++",
    "c++17": "C++",
    "c++20": "C++",
    "csharp": "C#",
    "fsharp": "F#",
    "ir": "R",
    "node": "JavaScript",
    "nodejs": "JavaScript",
    "shell": "Bash",
    "sage": "Python",
    "sagemath": "Python",
    "octave": "MATLAB",
    "pwsh": "PowerShell",
}


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
        first_names: What a file name may begin with, up to a dot (``Dockerfile.prod``).
        is_markup: The grammar is that of the scripts between the tags.
    """

    name: str
    endings: tuple[str, ...]
    grammar: str = ""
    entry: str = "language"
    file_names: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()
    first_names: tuple[str, ...] = ()
    is_markup: bool = False


_WITH_GRAMMAR: tuple[Language, ...] = (
    Language(
        "Python",
        (".py", ".pyi", ".pyw"),
        "tree_sitter_python",
        file_names=("SConstruct", "SConscript", "wscript"),
        interpreters=("python", "pypy"),
    ),
    Language(
        "JavaScript",
        (".js", ".jsx", ".mjs", ".cjs", ".es6", ".jsm"),
        "tree_sitter_javascript",
        interpreters=("node", "nodejs"),
    ),
    Language(
        "TypeScript",
        (".ts", ".mts", ".cts"),
        *_TYPESCRIPT,
        interpreters=("deno", "bun", "ts-node", "tsx"),
    ),
    Language("TSX", (".tsx",), "tree_sitter_typescript", "language_tsx"),
    Language("Java", (".java",), "tree_sitter_java"),
    Language("Go", (".go",), "tree_sitter_go"),
    Language("Rust", (".rs",), "tree_sitter_rust"),
    Language("C", (".c", ".h"), "tree_sitter_c"),
    Language(
        "C++",
        (
            *(".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".h++", ".tpp", ".tcc", ".txx"),
            *(".inl", ".ipp", ".ixx", ".cppm", ".ccm", ".cxxm", ".ino"),
        ),
        "tree_sitter_cpp",
    ),
    Language("C#", (".cs", ".csx"), "tree_sitter_c_sharp"),
    Language(
        "Ruby",
        (".rb", ".rake", ".gemspec", ".podspec", ".ru"),
        "tree_sitter_ruby",
        file_names=("Rakefile", "Gemfile", "Vagrantfile", "Podfile", "Fastfile", "Brewfile"),
        interpreters=("ruby",),
    ),
    Language(
        "PHP", (".php", ".phtml", ".phpt"), "tree_sitter_php", "language_php", interpreters=("php",)
    ),
    Language("Kotlin", (".kt", ".kts"), "tree_sitter_kotlin"),
    Language(
        "Bash",
        (".sh", ".bash", ".bats", ".ksh", ".ebuild"),
        "tree_sitter_bash",
        file_names=("PKGBUILD", "APKBUILD", ".bashrc", ".bash_profile", ".profile"),
        interpreters=("bash", "sh", "dash", "ksh", "bats"),
    ),
    Language("Vue", (".vue",), *_TYPESCRIPT, is_markup=True),
    Language("Svelte", (".svelte",), *_TYPESCRIPT, is_markup=True),
    Language("Astro", (".astro",), *_TYPESCRIPT, is_markup=True),
    Language("HTML", (".html", ".htm", ".xhtml"), *_TYPESCRIPT, is_markup=True),
)
_BY_NAME: tuple[Language, ...] = (
    Language(
        "Makefile",
        (".mk", ".mak", ".make", ".makefile"),
        file_names=("makefile",),
        first_names=("Makefile", "GNUmakefile"),
        interpreters=("make",),
    ),
    Language("CMake", (".cmake",), file_names=("CMakeLists.txt",)),
    Language(
        "Dockerfile",
        (".dockerfile", ".containerfile"),
        first_names=("Dockerfile", "Containerfile", "dockerfile"),
    ),
    Language(
        "Groovy",
        (".groovy", ".gradle", ".gvy"),
        first_names=("Jenkinsfile",),
        interpreters=("groovy",),
    ),
    Language(
        "Starlark",
        (".bzl", ".bazel", ".star"),
        file_names=("BUILD", "WORKSPACE", "Tiltfile", "BUCK"),
    ),
    Language("Meson", (), file_names=("meson.build", "meson_options.txt", "meson.options")),
    Language("Just", (".just",), file_names=("justfile", "Justfile", ".justfile")),
)
LANGUAGES: tuple[Language, ...] = (
    *_WITH_GRAMMAR,
    *_BY_NAME,
    *(
        Language(name, tuple(endings.split()), interpreters=tuple(programs.split()))
        for name, endings, programs in LINE_LANGUAGES
    ),
)


def language_of(path: str, text: str = "") -> Language | None:
    r"""Return the language of a file, or None where it is in none of the table.

    Its name tells, else its first line. Where languages share an ending (``.h``, ``.m``), the text
    decides; without a text the commonest of them is returned.

    >>> language_of("src/app/main.PY").name
    'Python'
    >>> language_of("bin/deploy", "#!/usr/bin/env -S python3.12 -u").name
    'Python'
    >>> language_of("pool.h", "namespace pool {\nclass Queue;\n}\n").name
    'C++'
    """
    name = PurePosixPath(path).name
    ending = _ending(name)
    by_file_name, by_ending, by_first_name = _tables()
    language = by_file_name.get(name) or by_ending.get(ending)
    if ending in CONTESTED_ENDINGS:
        return language_named(language_in(ending, text, language.name if language else ""))
    if language is None and ending not in _PLAIN_FILES:
        language = by_first_name.get(name.split(".")[0])
    if language is None and may_have_shebang(path):
        language = _language_of_shebang(text)
    return language


def may_have_shebang(path: str) -> bool:
    """Tell whether a file's name leaves it to the first line to name the language."""
    return "." not in PurePosixPath(path).name


def may_be_code(path: str) -> bool:
    """Tell whether a file's name alone does not rule out that it holds code of a known language."""
    ending = _ending(PurePosixPath(path).name)
    is_open = ending in CONTESTED_ENDINGS or is_notebook(path)
    return is_open or may_have_shebang(path) or language_of(path) is not None


def language_named(name: str) -> Language | None:
    """Return the language with this exact name, or None."""
    return next((language for language in LANGUAGES if language.name == name), None)


def language_of_notebook(name: str) -> Language | None:
    """Return the language that a notebook calls by this name, or None."""
    wanted = _NOTEBOOK_NAMES.get(name, name).lower()
    return next((language for language in LANGUAGES if language.name.lower() == wanted), None)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, Language], dict[str, Language], dict[str, Language]]:
    return (
        {name: language for language in LANGUAGES for name in language.file_names},
        {ending: language for language in LANGUAGES for ending in language.endings},
        {name: language for language in LANGUAGES for name in language.first_names},
    )


def _language_of_shebang(text: str) -> Language | None:
    match = _SHEBANG.match(text)
    program = match["program"] if match else ""
    return next((language for language in LANGUAGES if program in language.interpreters), None)
