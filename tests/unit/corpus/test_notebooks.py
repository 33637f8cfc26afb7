"""The code of notebooks."""

from __future__ import annotations

import json

import pytest

from fim.corpus.decoding import Decoded, read_text
from fim.corpus.reasons import DropReason


def cell(source: str | list[str], kind: str = "code") -> dict[str, object]:
    outputs = [{"output_type": "stream", "text": ["never shown"]}]
    return {"cell_type": kind, "source": source, "metadata": {}, "outputs": outputs}


def notebook(*cells: dict[str, object], **metadata: object) -> bytes:
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4}).encode()


def test_code_cells_are_joined_without_magics_and_outputs() -> None:
    content = notebook(
        cell("# Title", "markdown"),
        cell(["%matplotlib inline\n", "import a\n", "!pip install b\n", "x = a.b\n", "x?"]),
        cell("%%bash\nls\n"),
        cell("%%time\ny = x % 3\nfiles = !ls\nz = y"),
        cell("   \n"),
        cell("raw", "raw"),
    )
    expected = "import a\nx = a.b\n\ny = x % 3\nz = y\n"
    assert read_text("a/b.ipynb", content) == Decoded(expected, "Python")


def test_notebooks_of_format_three() -> None:
    cells = [{"cell_type": "code", "input": ["x = 1\n", "y = 2"], "language": "python"}]
    content = json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}).encode()
    assert read_text("a.ipynb", content) == Decoded("x = 1\ny = 2\n", "Python")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"kernelspec": {"language": "julia"}}, "Julia"),
        ({"kernelspec": {"language": "R"}, "language_info": {"name": "R"}}, "R"),
        ({"language_info": {"name": "C++17"}}, "C++"),
        ({"language_info": {"name": "typescript"}}, "TypeScript"),
        ({}, "Python"),
    ],
)
def test_the_notebook_names_its_language(metadata: dict[str, object], expected: str) -> None:
    assert read_text("a.ipynb", notebook(cell("x"), **metadata)) == Decoded("x\n", expected)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"cells": 3}',
        notebook(cell("x"), language_info={"name": "klingon"}),
    ],
)
def test_what_is_no_notebook_is_not_supported(content: bytes) -> None:
    assert read_text("a.ipynb", content) == DropReason.NOT_SUPPORTED


def test_an_odd_notebook_does_no_harm() -> None:
    odd = {"cells": [3, None, {"cell_type": "code"}, {"cell_type": "code", "source": [1, "x"]}]}
    assert read_text("a.ipynb", json.dumps(odd | {"metadata": 3}).encode()) == Decoded(
        "x\n", "Python"
    )
