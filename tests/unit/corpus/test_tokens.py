"""Hashes of tokens, and the table that finds some of them among many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.corpus.tokens import HashTable, identifier_hashes, token_hashes, word_hashes

NUMBERS = st.lists(st.integers(0, 2**64 - 1), max_size=40)


@given(NUMBERS, NUMBERS)
def test_a_table_finds_exactly_its_keys(keys: list[int], others: list[int]) -> None:
    table = HashTable(np.array(keys, dtype=np.uint64))
    asked = np.array([*others, *keys[:3]], dtype=np.uint64)
    places, found = table.find(asked)
    assert [int(place) for place in places] == [
        place for place, number in enumerate(asked.tolist()) if number in set(keys)
    ]
    assert table.keys[found].tolist() == asked[places].tolist()


def test_words_are_tokens_without_signs() -> None:
    text = "left = call(one, two)\r\n\tné"
    words = word_hashes("left call one two né")
    assert word_hashes(text).tolist() == words.tolist()
    assert set(words.tolist()) < set(token_hashes(text).tolist())
    assert len(token_hashes(text)) == 9


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("abc = xy + 12ab + _id", ["abc", "_id"]),
        ("", []),
        ("+ - 1", []),
        ("élan(abc)", ["élan", "abc"]),
    ],
)
def test_identifiers_are_long_words_that_begin_with_no_digit(text: str, names: list[str]) -> None:
    begins, hashes = identifier_hashes(text)
    content = text.encode()
    assert [
        content[begin:].decode().startswith(name) for begin, name in zip(begins, names, strict=True)
    ] == [True] * len(names)
    assert hashes.tolist() == [int(word_hashes(name)[0]) for name in names]
