"""Splitting examples so that near-identical code never stands on both sides."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from fim.corpus.comments import code_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasketch import MinHash

    from fim.types import FimExample

NEAR_DUPLICATE_CONTAINMENT = 0.5

_NUM_PERMUTATIONS = 128
_CANDIDATE_JACCARD = 0.3
_MIN_LINES = 5
_WORDS_PER_SHINGLE = 3
_WORD = re.compile(r"\w+|[^\w\s]")


def split_examples(
    examples: Sequence[FimExample], *, held_out_fraction: float, seed: int
) -> tuple[tuple[FimExample, ...], tuple[FimExample, ...]]:
    """Split into train and held-out examples, whole groups of near-duplicates at a time.

    Groups join examples of one document, and examples whose prefix and suffix share at least half
    of the shorter one's lines. The choice depends on the seed and the texts alone, not on their
    order. With a single group nothing is held out.

    Args:
        examples: Examples in any order; each side keeps that order.
        held_out_fraction: Share of the examples wanted on the held-out side, from 0 to 1.
        seed: Seed of the choice.

    Returns:
        The train side and the held-out side.
    """
    groups = near_duplicate_groups(examples)
    held_out = _choose(groups, examples, held_out_fraction, seed)
    train = tuple(each for index, each in enumerate(examples) if index not in held_out)
    return train, tuple(examples[index] for index in sorted(held_out))


def near_duplicate_groups(examples: Sequence[FimExample]) -> tuple[tuple[int, ...], ...]:
    """Group the indices of examples that are cut from near-identical code.

    Source:
        MinHash with locality-sensitive hashing (Broder 1997); containment is estimated from the
        Jaccard similarity and the number of shingles of each side.
    """
    parents = list(range(len(examples)))
    _join_documents(examples, parents)
    _join_similar(examples, parents)
    groups: dict[int, list[int]] = {}
    for index in range(len(examples)):
        groups.setdefault(_find(parents, index), []).append(index)
    return tuple(tuple(group) for group in groups.values())


def shingles(example: FimExample) -> frozenset[bytes]:
    """Return the normalised lines around the hole, or its word triples when there are few lines.

    Leading comments, such as a licence, do not count: files that share no more are not alike.
    """
    text = f"{example.prefix[code_start(example.prefix) :]}\n{example.suffix}"
    lines = {" ".join(line.split()) for line in text.split("\n")}
    lines.discard("")
    if len(lines) < _MIN_LINES:
        words = _WORD.findall(text)
        last = max(1, len(words) - _WORDS_PER_SHINGLE + 1)
        lines = {" ".join(words[at : at + _WORDS_PER_SHINGLE]) for at in range(last)}
    return frozenset(line.encode("utf-8", "surrogatepass") for line in lines)


def _join_documents(examples: Sequence[FimExample], parents: list[int]) -> None:
    first: dict[tuple[str, str], int] = {}
    for index, example in enumerate(examples):
        if example.document_id:
            key = (example.repo or "", example.document_id)
            _join(parents, first.setdefault(key, index), index)


def _join_similar(examples: Sequence[FimExample], parents: list[int]) -> None:
    from datasketch import MinHash, MinHashLSH

    index_of_sketch = MinHashLSH(threshold=_CANDIDATE_JACCARD, num_perm=_NUM_PERMUTATIONS)
    sketches: list[tuple[MinHash, int]] = []
    for index, example in enumerate(examples):
        pieces = shingles(example)
        sketch = MinHash(num_perm=_NUM_PERMUTATIONS, seed=1, hashfunc=_hash32)
        sketch.update_batch(sorted(pieces))
        sketches.append((sketch, len(pieces)))
        for candidate in sorted(index_of_sketch.query(sketch)):
            if _find(parents, candidate) == _find(parents, index):
                continue
            if _containment(sketches[candidate], sketches[index]) >= NEAR_DUPLICATE_CONTAINMENT:
                _join(parents, candidate, index)
        index_of_sketch.insert(index, sketch)


def _hash32(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=4).digest(), "little")


def _containment(one: tuple[MinHash, int], other: tuple[MinHash, int]) -> float:
    jaccard = float(one[0].jaccard(other[0]))
    num_shared = jaccard * (one[1] + other[1]) / (1 + jaccard)
    return num_shared / max(1, min(one[1], other[1]))


def _choose(
    groups: Sequence[tuple[int, ...]],
    examples: Sequence[FimExample],
    held_out_fraction: float,
    seed: int,
) -> frozenset[int]:
    wanted = round(held_out_fraction * len(examples))
    is_single = len(groups) <= 1
    if held_out_fraction <= 0 or is_single:
        return frozenset()
    ranked = sorted(groups, key=lambda group: _rank(group, examples, seed))
    chosen: set[int] = set()
    for group in ranked:
        if len(chosen) + len(group) <= wanted:
            chosen.update(group)
    smallest = min(ranked, key=len)
    return frozenset(chosen or smallest)


def _rank(group: Sequence[int], examples: Sequence[FimExample], seed: int) -> bytes:
    digests = sorted(_digest(examples[index]) for index in group)
    return hashlib.blake2b(b"".join([str(seed).encode(), *digests])).digest()


def _digest(example: FimExample) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for text in (example.prefix, example.middle, example.suffix):
        digest.update(text.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.digest()


def _find(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def _join(parents: list[int], one: int, other: int) -> None:
    low, high = sorted((_find(parents, one), _find(parents, other)))
    parents[high] = low
