"""One spelling per programming language."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "Bash": ("bash", "sh", "shell", "zsh"),
    "C": ("c", "h"),
    "C#": ("c#", "csharp", "cs"),
    "C++": ("c++", "cpp", "cc", "cxx", "hpp"),
    "CSS": ("css",),
    "Dart": ("dart",),
    "Elixir": ("elixir", "ex", "exs"),
    "Go": ("go", "golang"),
    "HTML": ("html", "htm"),
    "Haskell": ("haskell", "hs"),
    "JSON": ("json",),
    "Java": ("java",),
    "JavaScript": ("javascript", "js", "jsx", "mjs", "cjs", "javascriptreact", "node"),
    "Julia": ("julia", "jl"),
    "Kotlin": ("kotlin", "kt", "kts"),
    "Lua": ("lua",),
    "Markdown": ("markdown", "md"),
    "PHP": ("php",),
    "Perl": ("perl", "pl"),
    "Python": ("python", "py", "python3", "py3", "pyi"),
    "R": ("r",),
    "Ruby": ("ruby", "rb"),
    "Rust": ("rust", "rs"),
    "SQL": ("sql",),
    "Scala": ("scala",),
    "Swift": ("swift",),
    "TOML": ("toml",),
    "TypeScript": ("typescript", "ts", "tsx", "mts", "cts", "typescriptreact"),
    "YAML": ("yaml", "yml"),
    "Zig": ("zig",),
}

_NAMES: Mapping[str, str] = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}


def normalize_language(name: str) -> str:
    """Return the usual spelling of a language; an unknown name stays as it is, without outer space.

    >>> normalize_language(" py ")
    'Python'
    """
    stripped = name.strip()
    return _NAMES.get(stripped.lower().removeprefix("."), stripped)
