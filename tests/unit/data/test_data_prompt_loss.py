"""A drawn share of the prompt's code is trained, and nothing else changes."""

from __future__ import annotations

import pytest

from fakes import ByteTokenizer
from fim.data import ExampleEncoder
from fim.data.prompt_loss import CODE_KINDS, NO_PROMPT_LOSS, PromptLoss
from fim.formats import resolve_format
from fim.types import IGNORED_LABEL, ContextItem, EncodedExample, FimExample

TOKENIZER = ByteTokenizer.smollm2()


@pytest.fixture
def row() -> EncodedExample:
    resolved = resolve_format("psm", TOKENIZER, anchor_lines=1)
    example = FimExample(
        prefix="def f():\n    x = 1\n    ret",
        middle="urn x",
        suffix="\n\n\ndef g(): ...\n" * 4,
        context=(ContextItem(text="y = 2\n", path="y.py"),),
    )
    return ExampleEncoder(resolved, TOKENIZER, max_seq_length=400).encode(example)


def test_the_share_of_the_code_is_trained(row: EncodedExample) -> None:
    drawn = PromptLoss(0.25, seed=1).add_to(row)
    assert drawn.input_ids == row.input_ids
    assert drawn.labels[row.prompt_length :] == row.labels[row.prompt_length :]
    kinds = [segment.kind for segment in row.segments for _ in segment.ids]
    prompt = list(zip(kinds, drawn.labels, row.input_ids, strict=True))[: row.prompt_length]
    assert all(label in {IGNORED_LABEL, token_id} for _, label, token_id in prompt)
    assert all(label == IGNORED_LABEL for kind, label, _ in prompt if kind not in CODE_KINDS)
    code = [label != IGNORED_LABEL for kind, label, _ in prompt if kind in CODE_KINDS]
    assert 0.1 < sum(code) / len(code) < 0.4


def test_it_depends_on_seed_and_row_alone(row: EncodedExample) -> None:
    assert PromptLoss(0.5, seed=1).add_to(row) == PromptLoss(0.5, seed=1).add_to(row)
    assert PromptLoss(0.5, seed=1).add_to(row) != PromptLoss(0.5, seed=2).add_to(row)


def test_nothing_and_everything(row: EncodedExample) -> None:
    assert NO_PROMPT_LOSS.add_to(row) is row
    everything = PromptLoss(1, seed=1).add_to(row)
    kinds = [segment.kind for segment in row.segments for _ in segment.ids]
    for kind, label in zip(kinds[: row.prompt_length], everything.labels, strict=False):
        assert (label != IGNORED_LABEL) == (kind in CODE_KINDS)
