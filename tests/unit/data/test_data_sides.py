"""The side of a row: one rule over words, file names, folders and hub splits."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.data.sides import (
    HELD_OUT_WORDS,
    TRAIN_WORDS,
    side_of_file,
    side_of_folder,
    side_of_name,
    side_of_row,
    side_of_word,
    split_names,
)

HELD = [
    *("test", "valid", "validation", "val", "dev", "eval", "held_out"),
    *("holdout", "held-out", "testing", "evaluation"),
]
SHAPES = (
    "{}.jsonl",
    "{}.json.gz",
    "{}-00000-of-00012.parquet",
    "{}_rows.jsonl",
    "{}1.jsonl",
    "my-code.{}.jsonl",
    "python_{}.jsonl",
    "train-{}.jsonl",
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("word", HELD)
@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_a_name_that_is_not_for_training_is_held_out(shape: str, word: str, change: object) -> None:
    assert callable(change)
    assert side_of_name(shape.format(change(word))) == "held_out"


@pytest.mark.parametrize("name", ["testSet.jsonl", "myTestRows.jsonl", "not_for_training.jsonl"])
def test_joined_words_are_parted(name: str) -> None:
    assert side_of_name(name) == "held_out"


@pytest.mark.parametrize(
    "name",
    [
        *("latest.jsonl", "contest.parquet", "devices.json", "values.jsonl", "attestations.jsonl"),
        *(
            "evaluator.jsonl",
            "developers.jsonl",
            "interval.jsonl",
            "rows.jsonl",
            "part-00000.arrow",
        ),
    ],
)
def test_a_word_inside_another_says_nothing(name: str) -> None:
    assert side_of_name(name) == ""


@pytest.mark.parametrize("name", ["train.jsonl", "train-00000-of-00001.parquet", "TRAINING.json"])
def test_names_of_training_files(name: str) -> None:
    assert side_of_name(name) == "train"


@given(st.text(max_size=12))
def test_only_words_of_training_are_trained_on(word: str) -> None:
    plain = word.strip().casefold()
    expected = "train" if plain in TRAIN_WORDS else "held_out" if plain else ""
    assert side_of_word(word) == expected


@given(st.sampled_from(sorted(HELD_OUT_WORDS)), st.sampled_from(["", "train", "held_out"]))
def test_a_row_that_names_a_held_out_word_is_held_out_in_any_file(word: str, file: str) -> None:
    assert side_of_row(word, file) == "held_out"


@pytest.mark.parametrize(
    ("root", "path", "side"),
    [
        ("set", "set/rows.jsonl", ""),
        ("set", "set/test/0000.parquet", "held_out"),
        ("set", "set/data/Validation/0.parquet", "held_out"),
        ("set", "set/test/train.jsonl", "train"),
        ("set", "set/train/test.jsonl", "held_out"),
        ("test", "test/rows.jsonl", "held_out"),
        ("a/test", "a/test/data/rows.jsonl", "held_out"),
        ("test/set", "test/set/rows.jsonl", ""),
        ("test/rows.jsonl", "test/rows.jsonl", "held_out"),
        ("test/a/rows.jsonl", "test/a/rows.jsonl", ""),
        (".", "test/rows.jsonl", "held_out"),
        ("rows.jsonl", "rows.jsonl", ""),
        ("test_load0", "test_load0/rows.jsonl", ""),
    ],
)
def test_the_nearest_name_below_what_was_given_counts(root: str, path: str, side: str) -> None:
    assert side_of_file(PurePath(path), root=PurePath(root)) == side


@pytest.mark.parametrize("name", ["test", "Test", "test_set", "held-out", "validation-data"])
def test_folders_named_for_a_side(name: str) -> None:
    assert side_of_folder(name) == "held_out"


@pytest.mark.parametrize("name", ["tests", "test_split0", "test-helpers", "devtools", "data", ""])
def test_other_folders_say_nothing(name: str) -> None:
    assert side_of_folder(name) == ""


def test_split_expressions_of_the_hub() -> None:
    assert split_names("train[:10%]+validation") == ("train", "validation")
