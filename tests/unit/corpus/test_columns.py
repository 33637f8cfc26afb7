"""Arrow columns made from plain buffers hold what Arrow's own conversion holds."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fim.corpus.columns import example_schema, table_of
from fim.types import ContextItem, FimExample

TEXT = st.text(alphabet=["a", "\n", "é", "\U0001f600", "\x00"], max_size=8)
MAYBE = st.none() | TEXT
ITEMS = st.builds(ContextItem, text=TEXT, path=MAYBE, score=st.none() | st.floats(0, 1))
ROWS = st.builds(
    FimExample,
    prefix=TEXT,
    middle=TEXT,
    suffix=TEXT,
    context=st.lists(ITEMS, max_size=3).map(tuple),
    path=MAYBE,
    repo=MAYBE,
    id=TEXT,
)


@settings(max_examples=60)
@given(st.lists(ROWS, max_size=5))
def test_a_table_holds_its_rows(rows: list[FimExample]) -> None:
    table = table_of(rows, example_schema())
    table.validate(full=True)
    assert table.schema == example_schema()
    for row, found in zip(rows, table.to_pylist(), strict=True):
        assert (found["prefix"], found["middle"], found["path"]) == (
            row.prefix,
            row.middle,
            row.path,
        )
        assert (found["start"], found["end"]) == (
            len(row.prefix),
            len(row.prefix) + len(row.middle),
        )
        assert found["context"] == [
            {"text": item.text, "path": item.path, "score": item.score} for item in row.context
        ]
    assert isinstance(table, pa.Table)


def test_no_pandas_is_loaded() -> None:
    code = (
        "import sys\nfrom fim.corpus.columns import *\nfrom fim.types import FimExample\n"
        "table_of([FimExample('a', 'b', 'c')], example_schema())\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
