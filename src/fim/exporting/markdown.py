"""Safe pieces of Markdown and YAML: values that cannot break out of their place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

_MIN_FENCE = 3
_NOT_PRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")

YamlValue = str | int | float | bool | Sequence["YamlValue"] | Mapping[str, "YamlValue"]


def escape(text: str) -> str:
    """Return text for a paragraph or table cell: one line, nothing of it markup."""
    one_line = " ".join(_NOT_PRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text).split())
    return _SPECIAL.sub(r"\\\1", one_line)


def code(text: str) -> str:
    """Return an inline code span for a table cell, whatever backticks and bars the text holds."""
    one_line = " ".join(_NOT_PRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text).split())
    ticks = "`" * (_longest_run(one_line) + 1)
    padding = " " if one_line.startswith("`") or one_line.endswith("`") else ""
    return f"{ticks}{padding}{one_line}{padding}{ticks}".replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """Return a code block whose fence is longer than any run of backticks in the text."""
    fence = "`" * max(_MIN_FENCE, _longest_run(text) + 1)
    body = _NOT_PRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return f"{fence}{language}\n{body}{'' if body.endswith(chr(10)) else chr(10)}{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, num_text_columns: int = 1) -> str:
    """Return a table of ready cells; columns after the text columns are aligned to the right."""
    rules = ["---" if index < num_text_columns else "---:" for index in range(len(head))]
    lines = [head, rules, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def front_matter(values: Mapping[str, YamlValue]) -> str:
    """Return a YAML block between ``---`` lines; every text is double-quoted."""
    return "\n".join(["---", *_mapping_lines(values, 0), "---"])


def _mapping_lines(values: Mapping[str, YamlValue], depth: int) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        start = f"{'  ' * depth}{key}:"
        if isinstance(value, Mapping):
            lines += [start, *_mapping_lines(value, depth + 1)]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            lines += [start, *_sequence_lines(value, depth)]
        else:
            lines.append(f"{start} {_scalar(value)}")
    return lines


def _sequence_lines(values: Sequence[YamlValue], depth: int) -> list[str]:
    lines: list[str] = []
    indent = "  " * depth
    for value in values:
        if isinstance(value, Mapping):
            first, *rest = _mapping_lines(value, depth + 1)
            lines += [f"{indent}- {first.lstrip()}", *rest]
        elif isinstance(value, str | int | float):
            lines.append(f"{indent}- {_scalar(value)}")
    return lines


def _scalar(value: str | float) -> str:
    if isinstance(value, str):
        printable = _NOT_PRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        return json.dumps(printable, ensure_ascii=False)
    text = json.dumps(value)
    is_short_exponent = isinstance(value, float) and "e" in text and "." not in text
    return text.replace("e", ".0e") if is_short_exponent else text


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
