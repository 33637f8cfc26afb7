"""The columns of a built set as Arrow arrays, made from plain buffers.

Arrow's own conversion of Python lists loads pandas, which costs more than a small build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from fim.types import ContextItem, FimExample

TEXT_COLUMNS = (
    "id",
    "document_id",
    "repo",
    "path",
    "language",
    "prefix",
    "middle",
    "suffix",
    "span_kind",
    "split",
    "licence",
)
_OFFSET_COLUMNS = ("start", "end")


def example_schema() -> pa.Schema:
    """Return the columns of a built set."""
    import pyarrow as pa

    item = pa.struct([("text", pa.string()), ("path", pa.string()), ("score", pa.float64())])
    columns = [(name, pa.string()) for name in TEXT_COLUMNS]
    offsets = [(name, pa.int64()) for name in _OFFSET_COLUMNS]
    return pa.schema([*columns, *offsets, ("context", pa.list_(item))])


def table_of(rows: Sequence[FimExample], schema: pa.Schema) -> pa.Table:
    """Return rows as a table."""
    import pyarrow as pa

    starts = [len(row.prefix) for row in rows]
    ends = [len(row.prefix) + len(row.middle) for row in rows]
    columns = [
        *(_strings([getattr(row, name) for row in rows]) for name in TEXT_COLUMNS),
        _numbers(starts, pa.int64()),
        _numbers(ends, pa.int64()),
        _context([row.context for row in rows], schema.field("context").type),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _strings(values: Sequence[str | None]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    parts = [b"" if value is None else value.encode() for value in values]
    offsets = np.zeros(len(parts) + 1, dtype=np.int32)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return pa.StringArray.from_buffers(
        len(parts), pa.py_buffer(offsets), pa.py_buffer(b"".join(parts)), _valid(values)
    )


def _numbers(values: Sequence[float | None], kind: pa.DataType) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    plain = np.array([value or 0 for value in values], dtype=kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(plain), [_valid(values), pa.py_buffer(plain)])


def _context(values: Sequence[Sequence[ContextItem]], kind: pa.DataType) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    items = [item for row in values for item in row]
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in values], out=offsets[1:])
    columns = [
        _strings([item.text for item in items]),
        _strings([item.path for item in items]),
        _numbers([item.score for item in items], pa.float64()),
    ]
    structs = pa.StructArray.from_arrays(columns, fields=list(kind.value_type))
    places = pa.Array.from_buffers(pa.int32(), len(offsets), [None, pa.py_buffer(offsets)])
    return pa.ListArray.from_arrays(places, structs, type=kind)


def _valid(values: Sequence[object]) -> pa.Buffer | None:
    import numpy as np
    import pyarrow as pa

    if None not in values:
        return None
    return pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))
