"""Rows of unlike code, and the layouts in which people keep training and held-out rows apart."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUM_TRAIN, NUM_HELD_OUT = 12, 4


def unlike_rows(number: int, seed: int = 0) -> list[dict[str, object]]:
    """Return rows that share no line and hardly a word."""
    draw = random.Random(seed)

    def word() -> str:
        return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7))

    def line() -> str:
        return f"{word()} = {word()}({word()}, {word()}) + {word()}\n"

    return [
        {
            "id": f"s{seed}-{at}",
            "prefix": "".join(line() for _ in range(6)) + f"{word()} = ",
            "middle": f"{word()}({word()}, {word()})",
            "suffix": "\n" + "".join(line() for _ in range(6)),
            "lang": "python",
        }
        for at in range(number)
    ]


TRAIN = unlike_rows(NUM_TRAIN)
HELD_OUT = unlike_rows(NUM_HELD_OUT, seed=1)


def write_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows as parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def by_column(word_of_train: str, *words: str) -> Callable[[Path], Path]:
    """Return a layout with one file whose column ``split`` holds some words."""

    def write(folder: Path) -> Path:
        train = [{**row, "split": word_of_train} for row in TRAIN]
        held_out = [{**row, "split": words[at % len(words)]} for at, row in enumerate(HELD_OUT)]
        mixed = [*train[:5], *held_out, *train[5:]]
        return write_lines(folder / "rows.jsonl", mixed)

    return write


def by_files(train: str, held_out: str) -> Callable[[Path], Path]:
    """Return a layout with a file of each side."""

    def write(folder: Path) -> Path:
        for name, rows in ((train, TRAIN), (held_out, HELD_OUT)):
            if name.endswith("parquet"):
                write_parquet(folder / "set" / name, rows)
            else:
                write_lines(folder / "set" / name, rows)
        return folder / "set"

    return write


def by_keys(folder: Path) -> Path:
    """Write one object with a list of each side."""
    path = folder / "rows.json"
    path.write_text(json.dumps({"train": TRAIN, "test": HELD_OUT}, indent=1))
    return path


LAYOUTS: Mapping[str, Callable[[Path], Path]] = {
    "column train and held_out": by_column("train", "held_out"),
    "column train and test": by_column("train", "test"),
    "column Training and many words": by_column("Training", "VAL", "dev", "eval", "what?"),
    "column without a word for training": by_column("", "test"),
    "files train and test": by_files("train.jsonl", "test.jsonl"),
    "files of which one is named": by_files("rows.jsonl", "My-Validation_1.jsonl"),
    "shards of the hub": by_files(
        "data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"
    ),
    "folders": by_files("train/0000.parquet", "test/0000.parquet"),
    "data and a folder beside": by_files("data/rows.jsonl", "test/rows.jsonl"),
    "built like ours": by_files("train/part-0.parquet", "held_out/part-0.parquet"),
    "keys": by_keys,
}
