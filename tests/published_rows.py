"""A few hundred rows in the published data set's schema, cut from the standard library."""

from __future__ import annotations

import json
import random
import sysconfig
from functools import cache
from pathlib import Path

NUM_FILES = 40
ROWS_PER_FILE = 8

Row = dict[str, object]
Item = dict[str, object]


@cache
def published_rows() -> tuple[Row, ...]:
    """Return rows with two context items each; the second item is the row's own file."""
    source = random.Random(3407)
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(stdlib.glob("*.py"))
        if 3_000 < path.stat().st_size < 30_000 and path.read_bytes().isascii()
    }
    names = source.sample(sorted(texts), NUM_FILES)
    rows: list[Row] = []
    for name in names:
        lines = texts[name].splitlines(keepends=True)
        for _ in range(ROWS_PER_FILE):
            at = source.randrange(5, len(lines) - 5)
            other = source.choice([each for each in names if each != name])
            rows.append(
                {
                    "prefix": "".join(lines[:at]),
                    "middle": "".join(lines[at : at + 2]),
                    "suffix": "".join(lines[at + 2 :]),
                    "context_items": [
                        {"content": texts[other][:800], "file_path": other, "score": 0.5},
                        {"content": texts[name], "file_path": name, "score": 0.9},
                    ],
                    "lang": "python",
                    "origin": name,
                }
            )
    return tuple(rows)


def in_shape(items: list[Item], shape: str) -> object:
    """Return context items in a shape that one of the sister sets has."""
    sister = [
        {"retrieved_chunk": each["content"], "filename": each["file_path"], "score": each["score"]}
        for each in items
    ]
    by_score = sorted(items, key=lambda each: -float(str(each["score"])))
    ranked = [
        {"code": each["content"], "path": each["file_path"], "rank": rank}
        for rank, each in enumerate(by_score)
    ]
    columns = {key: [each[key] for each in items] for key in items[0]}
    shapes: dict[str, object] = {
        "structs": items,
        "oracle": sister,
        "ranked": ranked,
        "columns": columns,
        "json": json.dumps(items),
        "json_columns": json.dumps(columns),
    }
    return shapes[shape]
