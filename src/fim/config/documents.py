"""The generated example files; ``python -m fim.config.documents [--check]`` keeps them fresh."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from fim.config.fields import FieldFacts, as_plain
from fim.config.presets import PRESETS
from fim.config.settings import known_settings, section_types
from fim.config.switches import SWITCH_NAMES

_WIDTH = 100
_PRECEDENCE = "command line > environment > .env > fim.toml > preset > default"


def env_example() -> str:
    """Return the text of ``.env.example``: every variable with its meaning and default."""
    lines = _comment(
        "Settings of fim as environment variables. Copy this file to .env and uncomment what you "
        "want to change; everything left as it is follows the preset, then the default. "
        f"Precedence: {_PRECEDENCE}. Empty values are ignored; none unsets an optional value. "
        "Variables of other programs may stand here too."
    )
    lines += ["", *_preset_lines(), "# FIM_PRESET=cpu"]
    for section, kind in section_types().items():
        lines += ["", f"# ---- {section}: {_summary(kind)}"]
        for facts in _facts_of(section):
            lines += ["", *_comment(_meaning(facts)), f"# {facts.env_name}={facts.example}"]
    lines += ["", "# ---- not settings: how the process behaves"]
    for name, meaning in SWITCH_NAMES.items():
        example = "~/.cache/fim" if name == "FIM_CACHE_DIR" else "1"
        lines += ["", *_comment(meaning), f"# {name}={example}"]
    return "\n".join(lines) + "\n"


def toml_example() -> str:
    """Return the text of ``fim.toml.example``: every setting with its meaning and default."""
    lines = _comment(
        "Settings of fim for a project. Copy this file to fim.toml and uncomment what you want to "
        f"change. Precedence: {_PRECEDENCE}."
    )
    lines += ["", *_preset_lines(), '# preset = "cpu"']
    for section, kind in section_types().items():
        lines += ["", f"[{section}]", *_comment(_summary(kind))]
        for facts in _facts_of(section):
            name = facts.key.partition(".")[2]
            lines += ["", *_comment(_meaning(facts)), f"# {name} = {_toml_value(facts)}"]
    return "\n".join(lines) + "\n"


def documents() -> Mapping[str, str]:
    """Return the generated files by name."""
    return {".env.example": env_example(), "fim.toml.example": toml_example()}


def stale_documents(folder: Path) -> tuple[str, ...]:
    """Return the names of generated files that are missing or differ from the settings."""
    stale = []
    for name, text in documents().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    return tuple(stale)


def write_documents(folder: Path) -> tuple[Path, ...]:
    """Write the generated files, each atomically, and return their paths."""
    paths = []
    for name, text in documents().items():
        path = folder / name
        draft = path.with_name(f"{name}.new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
        paths.append(path)
    return tuple(paths)


def main(arguments: Sequence[str], folder: Path) -> str:
    """Write the files, or check them with ``--check``; return what is wrong, or nothing."""
    if list(arguments) == ["--check"]:
        stale = stale_documents(folder)
        remedy = "python -m fim.config.documents"
        return f"not as the settings say: {', '.join(stale)}; run `{remedy}`" if stale else ""
    if arguments:
        return f"unknown argument {arguments[0]!r}; only --check is known"
    write_documents(folder)
    return ""


def _facts_of(section: str) -> list[FieldFacts]:
    return [facts for key, facts in known_settings().items() if key.partition(".")[0] == section]


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").strip()


def _preset_lines() -> list[str]:
    lines = _comment("The preset, for a class of machines:")
    for preset in PRESETS.values():
        lines += _comment(preset.summary, hanging="  ")
    return lines


def _meaning(facts: FieldFacts) -> str:
    unit = f" ({facts.unit})" if facts.unit else ""
    default = "" if facts.default is not None else " Default: none."
    return f"{facts.description} Must be {facts.accepts}{unit}.{default}"


def _toml_value(facts: FieldFacts) -> str:
    plain = as_plain(facts.default)
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, list):
        return "[" + ", ".join(f'"{item}"' for item in plain) + "]"
    if isinstance(plain, int | float) or facts.accepts.startswith(("a number", "a whole number")):
        return facts.example
    return f'"{facts.example}"'


def _comment(text: str, hanging: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"# {hanging}",
        subsequent_indent=f"# {hanging}{hanging}",
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":  # pragma: no cover
    sys.exit(main(sys.argv[1:], Path.cwd()) or 0)
