from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fim.data import near_duplicate_groups, split_examples
from fim.data.split import shingles
from fim.types import FimExample


def document(seed: int, num_lines: int = 40) -> list[str]:
    source = random.Random(seed)
    return [
        f"value_{source.randrange(10**6)} = call_{source.randrange(10**6)}({line})"
        for line in range(num_lines)
    ]


def holes(seed: int, count: int, *, document_id: str = "") -> list[FimExample]:
    lines = document(seed)
    examples = []
    for number in range(count):
        at = 3 + number * 5
        examples.append(
            FimExample(
                prefix="\n".join(lines[:at]) + "\n",
                middle=lines[at],
                suffix="\n" + "\n".join(lines[at + 1 :]),
                id=f"{seed}-{number}",
                document_id=document_id,
            )
        )
    return examples


def test_holes_of_one_file_stay_together() -> None:
    examples = [hole for seed in range(20) for hole in holes(seed, 4)]
    random.Random(1).shuffle(examples)
    train, held_out = split_examples(examples, held_out_fraction=0.2, seed=3407)
    sides = {
        name: {each.id.split("-")[0] for each in side}
        for name, side in (("train", train), ("held_out", held_out))
    }
    assert len(train) + len(held_out) == len(examples)
    assert len(held_out) == 16
    assert not sides["train"] & sides["held_out"]


def test_the_split_does_not_depend_on_the_order() -> None:
    examples = [hole for seed in range(12) for hole in holes(seed, 2)]
    shuffled = random.Random(2).sample(examples, len(examples))
    one = split_examples(examples, held_out_fraction=0.3, seed=1)[1]
    other = split_examples(shuffled, held_out_fraction=0.3, seed=1)[1]
    assert {each.id for each in one} == {each.id for each in other}


def test_the_seed_decides() -> None:
    examples = [hole for seed in range(30) for hole in holes(seed, 1)]
    chosen = {
        frozenset(each.id for each in split_examples(examples, held_out_fraction=0.2, seed=seed)[1])
        for seed in range(4)
    }
    assert len(chosen) > 1


def test_windows_of_one_file_that_overlap_by_half_are_one_group() -> None:
    lines = document(5, 120)
    one = FimExample(prefix="\n".join(lines[:60]), middle="", suffix="\n".join(lines[60:80]))
    other = FimExample(prefix="\n".join(lines[30:90]), middle="", suffix="\n".join(lines[90:110]))
    assert near_duplicate_groups([one, other]) == ((0, 1),)


def test_different_files_are_different_groups() -> None:
    examples = [holes(seed, 1)[0] for seed in range(6)]
    assert len(near_duplicate_groups(examples)) == 6


def test_a_document_is_a_group_whatever_its_text() -> None:
    examples = [holes(seed, 1, document_id="same")[0] for seed in range(3)]
    assert near_duplicate_groups(examples) == ((0, 1, 2),)


def test_short_texts_are_compared_by_words() -> None:
    one = FimExample(prefix="def add(left, right): return left + ", middle="right", suffix="")
    same = FimExample(prefix="def add(left,  right):  return left +", middle="x", suffix="\n")
    other = FimExample(prefix="class Tree: pass", middle="", suffix="")
    assert near_duplicate_groups([one, same, other]) == ((0, 1), (2,))
    assert shingles(FimExample(prefix="", middle="m", suffix=""))


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_a_single_group_holds_nothing_out(fraction: float) -> None:
    examples = holes(1, 4)
    assert split_examples(examples, held_out_fraction=fraction, seed=1) == (tuple(examples), ())


def test_nothing_asked_is_nothing_held_out() -> None:
    examples = [holes(seed, 1)[0] for seed in range(4)]
    assert split_examples(examples, held_out_fraction=0.0, seed=1)[1] == ()


def test_a_small_share_still_holds_out_the_smallest_group() -> None:
    examples = [*holes(1, 6), *holes(2, 2)]
    held_out = split_examples(examples, held_out_fraction=0.01, seed=1)[1]
    assert {each.id for each in held_out} == {"2-0", "2-1"}


def test_files_that_share_a_licence_and_nothing_else_are_different_groups() -> None:
    source = random.Random(5)
    words = [f"term{source.randrange(10**6)}" for _ in range(300)]
    header = (
        "/*\n"
        + "".join(f" * {' '.join(words[at : at + 6])}\n" for at in range(0, 300, 6))
        + " */\n"
    )
    plain = [hole for seed in range(3) for hole in holes(seed, 1)]
    licensed = [replace(each, prefix=header + each.prefix) for each in plain]
    assert len(near_duplicate_groups(licensed)) == len(near_duplicate_groups(plain)) == 3
    twin = replace(plain[0], prefix=header.replace("term", "word") + plain[0].prefix)
    assert len(near_duplicate_groups([licensed[0], twin])) == 1
