"""Near-duplicates are grouped, against an exact and a library reference."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.corpus.dedup import (
    NUM_PERMUTATIONS,
    UnionFind,
    jaccard,
    near_duplicate_groups,
    shingles,
    signature,
)
from fim.corpus.hashing import normalised_hash, stable_fraction, stable_hash


def words(seed: int, count: int = 600) -> list[str]:
    draw = random.Random(seed)
    return [f"w{draw.randrange(5000)}" for _ in range(count)]


def edited(source: list[str], share: float, seed: int) -> str:
    draw = random.Random(seed)
    return " ".join("changed" if draw.random() < share else word for word in source)


def exact_jaccard(first: str, second: str) -> float:
    sets = []
    for text in (first, second):
        parts = text.split()
        sets.append({tuple(parts[n : n + 5]) for n in range(len(parts) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.03, 0.1])
def test_jaccard_of_shingles_is_exact(share: float) -> None:
    base = words(1)
    first, second = " ".join(base), edited(base, share, 2)
    assert jaccard(shingles(first), shingles(second)) == pytest.approx(
        exact_jaccard(first, second), abs=1e-9
    )


def test_signatures_estimate_jaccard_like_the_reference_library() -> None:
    from datasketch import MinHash

    base = words(3)
    first, second = " ".join(base), edited(base, 0.02, 4)
    ours = signature(shingles(first)) == signature(shingles(second))
    sketches = []
    for text in (first, second):
        parts = text.split()
        sketch = MinHash(num_perm=NUM_PERMUTATIONS, seed=1)
        sketch.update_batch([" ".join(parts[n : n + 5]).encode() for n in range(len(parts) - 4)])
        sketches.append(sketch)
    truth = exact_jaccard(first, second)
    assert abs(float(ours.mean()) - truth) < 0.13
    assert abs(sketches[0].jaccard(sketches[1]) - truth) < 0.13


def test_groups_join_chains_and_leave_strangers_alone() -> None:
    base = words(5)
    near = edited(base, 0.02, 6)
    texts = [" ".join(words(7)), " ".join(base), " ".join(words(8)), near]
    assert near_duplicate_groups(texts, 0.7) == (0, 1, 2, 1)


def test_all_pairs_above_the_threshold_are_found() -> None:
    texts, expected = [], []
    for seed in range(30):
        base = words(100 + seed)
        texts += [" ".join(base), edited(base, 0.03, seed)]
        expected.append(exact_jaccard(*texts[-2:]) >= 0.7)
    groups = near_duplicate_groups(texts, 0.7)
    joined = [groups[2 * n] == groups[2 * n + 1] for n in range(30)]
    assert joined == expected
    assert any(expected)


@pytest.mark.parametrize("text", ["", "one", "one two three", "word " * 49])
def test_short_texts_are_like_the_same_text_alone(text: str) -> None:
    assert len(shingles(text)) <= 1
    assert near_duplicate_groups([text, text + " other words here"], 0.7) == (0, 1)
    assert near_duplicate_groups([text, f"  {text}\r\n"], 0.7) == (0, 0)


HEADERS = (
    "/*\n * {} */\n",
    "# {}\n\n",
    '"""{}"""\n',
    "<?php\n\n/* {} */\n",
    "<!-- {} -->\n",
    "-- {}\n",
    "#!/bin/sh\n# {}\n",
)


@given(st.sampled_from(HEADERS), st.integers(100, 400), st.integers(0, 2**32))
def test_leading_comments_count_for_nothing(header: str, num_words: int, seed: int) -> None:
    licence = header.format(" ".join(words(seed, num_words)))
    one, other = " ".join(words(seed + 1, 90)), " ".join(words(seed + 2, 90))
    assert near_duplicate_groups([licence + one, licence + other], 0.7) == (0, 1)
    assert near_duplicate_groups([licence + one, one], 0.7) == (0, 0)
    short = " ".join(words(seed + 3, 40))
    assert near_duplicate_groups([licence + short, licence + short + " more"], 0.7) == (0, 1)


def test_union_find_leads_by_the_smallest() -> None:
    sets = UnionFind(5)
    sets.union(4, 2)
    sets.union(2, 3)
    assert sets.leaders() == (0, 1, 2, 2, 2)


def test_hashes_are_stable_and_separate_their_parts() -> None:
    assert stable_hash("ab", "c") != stable_hash("a", "bc")
    assert 0 <= stable_fraction("x") < 1
    assert normalised_hash("a  b\r\n") == normalised_hash("a b")
