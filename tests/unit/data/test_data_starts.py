from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fakes import ByteTokenizer
from fim.data import ExampleEncoder
from fim.data.starts import share_starts
from fim.formats import resolve_format
from fim.packing import plant_trees
from fim.types import EncodedExample, FimExample, SegmentKind

TOKENIZER = ByteTokenizer.qwen3()
TEXT = "".join(f"value_{at} = compute({at}, 'é')  # \U0001f600\r\n" for at in range(120))


def encoder(anchor_lines: int = 0) -> ExampleEncoder:
    return ExampleEncoder(
        resolve_format("psm", TOKENIZER, anchor_lines=anchor_lines),
        TOKENIZER,
        max_seq_length=900,
        middle_reserve_tokens=64,
        prefix_share=0.85,
    )


def examples(num_holes: int = 24, document: str = "d") -> list[FimExample]:
    generator = random.Random(num_holes)
    found = []
    for _ in range(num_holes):
        start = generator.randrange(len(TEXT))
        stop = min(len(TEXT), start + generator.randrange(20))
        found.append(FimExample(TEXT[:start], TEXT[start:stop], TEXT[stop:], document_id=document))
    return found


def before(row: EncodedExample) -> int:
    kinds = (SegmentKind.PREFIX, SegmentKind.ANCHOR)
    return sum(len(each.ids) for each in row.segments if each.kind in kinds)


@pytest.mark.parametrize("anchor_lines", [0, 2])
def test_rows_of_a_document_begin_together_and_stay_legal_prompts(anchor_lines: int) -> None:
    made = encoder(anchor_lines)
    rows = [made.encode(example) for example in examples()]
    shared = share_starts(rows, made, least_share=0.5)
    apart = plant_trees(rows, max_tokens=9000, max_rows=24).token_gain
    together = plant_trees(shared, max_tokens=9000, max_rows=24).token_gain
    assert together > 1.3 * apart
    for row, given in zip(shared, rows, strict=True):
        assert row.example == given.example
        assert row.input_ids[row.prompt_length :] == given.input_ids[given.prompt_length :]
        assert 0.45 * before(given) - 8 <= before(row) <= before(given)
        kept = before(given) + given.cut.prefix_tokens
        assert row.cut.prefix_tokens + before(row) == kept
        if row is not given:
            ids = [each.ids for each in row.segments]
            text = TOKENIZER.decode(row.input_ids[: row.prompt_length])
            assert tuple(each for part in ids for each in part) == row.input_ids
            assert "\N{REPLACEMENT CHARACTER}" not in text.split("<|fim_suffix|>")[0]
        assert len(row.input_ids) <= made.max_seq_length


def test_all_of_the_prefix_leaves_rows_as_they_are() -> None:
    made = encoder()
    rows = [made.encode(example) for example in examples(5)]
    assert share_starts(rows, made, least_share=1.0) == tuple(rows)
    nameless = [replace(row, example=replace(row.example, document_id="")) for row in rows]
    assert share_starts(nameless, made, least_share=0.5) == tuple(nameless)


def test_a_row_that_no_longer_fits_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made = encoder()
    rows = [made.encode(example) for example in examples(8)]
    monkeypatch.setattr(ExampleEncoder, "try_encode", lambda self, example: "middle_too_long")
    assert share_starts(rows, made, least_share=0.5) == tuple(rows)
