from __future__ import annotations

from collections import Counter

import pytest

from fakes import ByteTokenizer
from fim.config import PRESETS, DataSettings
from fim.data import (
    ExampleEncoder,
    MixedExample,
    Mixture,
    RowRole,
    encode_examples,
    encode_mixture,
    mix_examples,
)
from fim.data.mixture import MixedSet
from fim.data.mixture_rows import MixtureEncoder
from fim.errors import ConflictingSettingsError
from fim.formats import resolve_format
from fim.types import IGNORED_LABEL, ContextItem, FimExample, SegmentKind

TOKENIZER = ByteTokenizer.smollm2()
EXAMPLES = tuple(
    FimExample(
        prefix=f"import os\n\n\ndef function_{number}(value):\n    return ",
        middle=f"value + number_{number}",
        suffix="\n\n\nprint(1)\n",
        context=(ContextItem("other = 1\n"),),
        id=str(number),
        document_id=f"d{number}",
    )
    for number in range(400)
)


def encoder(name: str = "psm", *, max_seq_length: int = 400) -> ExampleEncoder:
    return ExampleEncoder(resolve_format(name, TOKENIZER), TOKENIZER, max_seq_length=max_seq_length)


def test_the_default_rate_is_nine_in_ten_and_the_cpu_preset_has_holes_only() -> None:
    assert Mixture.of(DataSettings()).fim_rate == 0.9
    assert PRESETS["cpu"].values["data.fim_rate"] == 1.0
    cpu = DataSettings(fim_rate=1.0)
    assert Mixture.of(cpu) == Mixture()


def test_a_mixture_of_holes_alone_changes_nothing() -> None:
    mixed = mix_examples(EXAMPLES, Mixture())
    assert tuple(each.example for each in mixed.examples) == EXAMPLES
    assert mixed.effects == {"fim": 400}
    assert encode_mixture(mixed, encoder()) == encode_examples(EXAMPLES, encoder())


@pytest.mark.parametrize(
    ("mixture", "effect", "share"),
    [
        (Mixture(fim_rate=0.9), "plain", 0.1),
        (Mixture(spm_share=0.5), "spm", 0.5),
        (Mixture(context_free_share=0.3), "without_context", 0.3),
        (Mixture(character_cut_share=0.2), "recut", 0.2),
        (Mixture(empty_middle_share=0.05), "emptied", 0.05),
    ],
)
def test_shares_come_out_and_are_counted(mixture: Mixture, effect: str, share: float) -> None:
    mixed = mix_examples(EXAMPLES, mixture)
    assert abs(mixed.effects[effect] / len(EXAMPLES) - share) < 0.06
    rows = encode_mixture(mixed, encoder())
    assert rows.report.used == len(EXAMPLES)
    assert rows.num_not_round_trip == 0


def test_choices_follow_the_seed_and_the_text_and_not_the_order() -> None:
    mixture = Mixture(fim_rate=0.5, spm_share=0.5, character_cut_share=0.5)
    there = mix_examples(EXAMPLES, mixture).examples
    back = mix_examples(EXAMPLES[::-1], mixture).examples
    assert back[::-1] == there
    other = mix_examples(EXAMPLES, Mixture(**{**MIXED_FIELDS, "seed": 1})).examples
    assert other != there


MIXED_FIELDS = {"fim_rate": 0.5, "spm_share": 0.5, "character_cut_share": 0.5}


def test_every_kind_of_row_is_what_it_says() -> None:
    example = EXAMPLES[0]
    rows = {
        role: MixtureEncoder(encoder()).try_encode(MixedExample(example, role)) for role in RowRole
    }
    fim, spm, plain = (rows[role] for role in (RowRole.FIM, RowRole.SPM, RowRole.PLAIN))
    assert not isinstance(fim, str)
    assert not isinstance(spm, str)
    assert not isinstance(plain, str)
    assert fim == encoder().encode(example)
    kinds = [segment.kind for segment in spm.segments]
    assert kinds.index(SegmentKind.SUFFIX) < kinds.index(SegmentKind.PREFIX)
    text = example.prefix + example.middle + example.suffix
    assert TOKENIZER.decode(plain.input_ids) == f"<|endoftext|>{text}<|endoftext|>"
    assert plain.labels == (IGNORED_LABEL, *plain.input_ids[1:])
    assert (plain.prompt_length, plain.example.document_id) == (1, "")


def test_an_emptied_row_trains_the_end_alone() -> None:
    mixed = mix_examples(EXAMPLES[:3], Mixture(empty_middle_share=1.0))
    for row in encode_mixture(mixed, encoder()).rows:
        assert [label for label in row.labels if label != IGNORED_LABEL] == [0]


def test_a_long_plain_row_is_cut_and_learns_no_end() -> None:
    long = FimExample("a = 1\n" * 500, "b", "\nc = 3" * 500)
    mixed = MixedSet((MixedExample(long, RowRole.PLAIN),))
    (row,) = encode_mixture(mixed, encoder(max_seq_length=100)).rows
    assert len(row.input_ids) <= 100
    assert row.input_ids[-1] != 0
    assert TOKENIZER.decode(row.input_ids[1:]) == row.example.middle
    assert row.example.middle.startswith("a = 1\n")
    assert MixtureEncoder(encoder()).round_trips(row) is False


def test_the_same_plain_text_is_trained_once() -> None:
    mixed = MixedSet((MixedExample(EXAMPLES[0], RowRole.PLAIN),) * 3)
    rows = encode_mixture(mixed, encoder())
    assert rows.report.dropped == Counter(plain_repeats=2)


@pytest.mark.parametrize("name", ["chatml", "spm", "codestral"])
def test_suffix_first_rows_need_a_format_of_their_order(name: str) -> None:
    mixed = mix_examples(EXAMPLES[:2], Mixture(spm_share=1.0))
    with pytest.raises(ConflictingSettingsError, match=r"data\.spm_share"):
        encode_mixture(mixed, encoder(name))
