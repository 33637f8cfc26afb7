"""The code of a Jupyter notebook: its code cells, without magics and outputs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ENDING = ".ipynb"
_DEFAULT_LANGUAGE = "python"
_CELL_MAGIC = re.compile(r"\s*%%(?P<name>!|\w+)")
_KEPT_CELLS = frozenset({"time", "timeit", "capture", "prun", "memit", "mprun", "debug"})
_LINE_MAGIC = re.compile(
    r"[ \t]*(?:[%!?][^\s=]|(?:[\w.]+[ \t]*=[ \t]*)?[%!][A-Za-z])|[ \t]*[\w.]+\?+$"
)


@dataclass(frozen=True, slots=True)
class NotebookCode:
    """The code cells of a notebook as one text, and the language it names."""

    text: str
    language: str


def is_notebook(path: str) -> bool:
    """Tell whether a file's name is that of a notebook."""
    return path.lower().endswith(_ENDING)


def notebook_code(source: str) -> NotebookCode | None:
    """Return the code of a notebook (format 3 or 4), None where the text is no notebook.

    Cells are parted by an empty line. Lines that are magics, shell calls or questions are left
    out, and so is a whole cell that another program runs (``%%bash``).

    Args:
        source: The notebook's JSON.
    """
    try:
        notebook = json.loads(source)
    except (ValueError, RecursionError):
        return None
    if not isinstance(notebook, dict):
        return None
    cells = list(_code_cells(notebook))
    if not cells and not isinstance(notebook.get("cells", notebook.get("worksheets")), list):
        return None
    language = _language(notebook.get("metadata"))
    is_plain = language not in {"python", "ipython"}
    kept = [cell if is_plain else _without_magics(cell) for cell in cells]
    texts = [text for cell in kept if (text := cell.strip("\n")).strip()]
    return NotebookCode("\n\n".join(texts) + ("\n" if texts else ""), language)


def _code_cells(notebook: Mapping[str, object]) -> Iterator[str]:
    sheets = notebook.get("worksheets")
    holders = [notebook, *(sheets if isinstance(sheets, list) else ())]
    for holder in holders:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        for cell in cells if isinstance(cells, list) else ():
            if isinstance(cell, dict) and cell.get("cell_type") == "code":
                source = cell.get("source", cell.get("input", ""))
                lines = source if isinstance(source, list) else [source]
                yield "".join(line for line in lines if isinstance(line, str)).replace("\r\n", "\n")


def _language(metadata: object) -> str:
    facts = metadata if isinstance(metadata, dict) else {}
    for part, key in (("language_info", "name"), ("kernelspec", "language")):
        value = facts.get(part)
        name = value.get(key) if isinstance(value, dict) else None
        if isinstance(name, str) and name.strip():
            return name.strip().lower()
    return _DEFAULT_LANGUAGE


def _without_magics(cell: str) -> str:
    match = _CELL_MAGIC.match(cell)
    if match is not None:
        if match["name"] not in _KEPT_CELLS:
            return ""
        cell = cell[match.end() :].partition("\n")[2]
    return "\n".join(line for line in cell.split("\n") if not _LINE_MAGIC.match(line))
