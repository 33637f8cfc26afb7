from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import ByteTokenizer
from fim.data import (
    ExampleEncoder,
    LossOn,
    encode_examples,
    inspect_example,
    num_supervised,
    require_supervised,
)
from fim.errors import (
    AllTokensMaskedError,
    EmptyDatasetError,
    InvalidExampleError,
    PromptTooLongError,
)
from fim.formats import format_names, resolve_format
from fim.types import IGNORED_LABEL, ContextItem, Cut, FimExample, SegmentKind

TOKENIZER = ByteTokenizer.smollm2()
HOLE = FimExample(prefix="def f(x):\n    return ", middle="x + 1", suffix="\n\nf(2)\n", id="e")
FORMATS = [
    ("chatml", 0),
    ("psm", 0),
    ("psm", 2),
    ("spm", 0),
    ("spm2", 0),
    ("codestral", 0),
    ("left-to-right", 0),
]
QWEN_ONLY = {"chatml-native", "repo", "infill"}
LETTERS = st.text(alphabet="ab \n`", max_size=80)


def make_encoder(
    name: str = "psm",
    *,
    max_seq_length: int = 2048,
    anchor_lines: int = 0,
    middle_reserve_tokens: int = 64,
    max_context_items: int = 3,
    loss_on: LossOn = "middle",
    prefix_share: float = 0.75,
) -> ExampleEncoder:
    return ExampleEncoder(
        resolve_format(name, TOKENIZER, anchor_lines=anchor_lines),
        TOKENIZER,
        max_seq_length=max_seq_length,
        middle_reserve_tokens=middle_reserve_tokens,
        max_context_items=max_context_items,
        prefix_share=prefix_share,
        loss_on=loss_on,
    )


def test_the_formats_under_test_are_all_formats() -> None:
    assert {name for name, _ in FORMATS} | QWEN_ONLY == set(format_names())


@pytest.mark.parametrize(("name", "anchor_lines"), FORMATS)
def test_the_answer_is_trained_and_nothing_else(name: str, anchor_lines: int) -> None:
    encoder = make_encoder(name, anchor_lines=anchor_lines)
    row = encoder.encode(HOLE)
    trained = [label for label in row.labels if label != IGNORED_LABEL]
    assert TOKENIZER.decode(trained) == HOLE.middle + encoder.resolved.format.end_token
    assert row.labels[: row.prompt_length] == (IGNORED_LABEL,) * row.prompt_length
    assert row.labels[row.prompt_length :] == row.input_ids[row.prompt_length :]
    assert num_supervised(row) == len(HOLE.middle) + 1


def test_loss_on_all_trains_the_whole_row() -> None:
    row = make_encoder(loss_on="all").encode(HOLE)
    assert row.labels == row.input_ids
    assert all(segment.trained for segment in row.segments)
    assert row.input_ids == make_encoder().encode(HOLE).input_ids


@given(
    prefix=LETTERS,
    middle=LETTERS,
    suffix=LETTERS,
    contexts=st.lists(st.text(alphabet="cd\n", min_size=1, max_size=60), max_size=4),
    max_seq_length=st.integers(40, 700),
    which=st.sampled_from(FORMATS),
    prefix_share=st.floats(0, 1),
)
def test_the_prompt_is_a_prefix_of_the_row(
    prefix: str,
    middle: str,
    suffix: str,
    contexts: list[str],
    max_seq_length: int,
    which: tuple[str, int],
    prefix_share: float,
) -> None:
    name, anchor_lines = which
    encoder = make_encoder(
        name,
        anchor_lines=anchor_lines,
        max_seq_length=max_seq_length,
        middle_reserve_tokens=30,
        prefix_share=prefix_share,
    )
    context = tuple(ContextItem(text) for text in contexts)
    example = FimExample(prefix=prefix, middle=middle, suffix=suffix, context=context)
    row = encoder.try_encode(example)
    if isinstance(row, str):
        return
    num_middle = len(TOKENIZER.encode(middle))
    prompt = encoder.prompt(replace(example, middle="other"), num_middle_tokens=num_middle)
    assert row.input_ids[: row.prompt_length] == prompt.ids
    assert len(row.input_ids) <= max_seq_length
    assert encoder.round_trips(row)
    assert (prompt.segments, prompt.cut) == (row.segments[:-2], row.cut)
    if num_middle <= min(30, max_seq_length // 2):
        assert encoder.prompt(example).ids == prompt.ids


def test_context_goes_before_code_and_the_least_relevant_first() -> None:
    context = tuple(ContextItem(letter * 100, path="p") for letter in "xyz")
    example = replace(HOLE, context=context)
    lengths = {}
    for max_seq_length in (2048, 400, 300, 200, 70):
        row = make_encoder(max_seq_length=max_seq_length).encode(example)
        shown = [each.text[2] for each in row.segments if each.kind is SegmentKind.CONTEXT]
        lengths[max_seq_length] = ("".join(shown), row.cut)
    assert lengths[2048] == ("xyz", Cut())
    assert lengths[400] == ("xy", Cut(context_items=1))
    assert lengths[300] == ("x", Cut(context_items=2))
    assert lengths[200] == ("", Cut(context_items=3))
    assert lengths[70][1].context_items == 3


def test_items_above_the_setting_are_counted_as_not_shown() -> None:
    example = replace(HOLE, context=tuple(ContextItem(letter) for letter in "abcd"))
    row = make_encoder(max_context_items=1).encode(example)
    assert row.cut == Cut(context_items=3)


def test_code_is_cut_at_its_outer_ends() -> None:
    example = FimExample(prefix="P" * 500 + "(cursor", middle="m", suffix="next)" + "S" * 500)
    row = make_encoder(max_seq_length=104, middle_reserve_tokens=20).encode(example)
    text = TOKENIZER.decode(row.input_ids)
    assert "(cursor" in text
    assert "next)" in text
    assert len(row.input_ids) == 104 - 20 + 1
    assert row.cut.prefix_tokens > 0
    assert row.cut.suffix_tokens > 0


def test_cut_tokens_are_exact_when_asked() -> None:
    example = FimExample(prefix="P" * 50_000, middle="m", suffix="S" * 40_000)
    encoder = ExampleEncoder(
        resolve_format("psm", TOKENIZER), TOKENIZER, max_seq_length=200, is_cut_exact=True
    )
    row = encoder.encode(example)
    kept = len(row.input_ids) - len("m") - 1 - 3
    assert row.cut.prefix_tokens + row.cut.suffix_tokens == 90_000 - kept


def test_a_long_middle_takes_room_from_the_prompt() -> None:
    example = FimExample(prefix="p" * 300, middle="m" * 150, suffix="s" * 300)
    row = make_encoder(max_seq_length=200, middle_reserve_tokens=20).encode(example)
    assert len(row.input_ids) == 200
    assert num_supervised(row) == 151


def test_a_middle_that_cannot_fit_is_dropped_with_its_reason() -> None:
    encoder = make_encoder(max_seq_length=100)
    example = replace(HOLE, middle="m" * 97)
    assert encoder.try_encode(example) == "middle_too_long"
    assert encoder.try_encode(replace(HOLE, middle="m" * 5000)) == "middle_too_long"
    with pytest.raises(InvalidExampleError, match="example e does not fit"):
        encoder.encode(example)


def test_a_format_that_cannot_fit_is_told() -> None:
    encoder = make_encoder("chatml", max_seq_length=60)
    assert encoder.try_encode(HOLE) == "prompt_too_long"
    with pytest.raises(PromptTooLongError, match="chatml"):
        encoder.prompt(HOLE)
    with pytest.raises(PromptTooLongError):
        make_encoder(max_seq_length=1).prompt(HOLE)


def test_a_set_counts_what_it_drops() -> None:
    encoder = make_encoder(max_seq_length=100)
    encoded = encode_examples([HOLE, replace(HOLE, middle="m" * 99), HOLE], encoder)
    assert encoded.report.as_json() == {"seen": 3, "used": 2, "dropped": {"middle_too_long": 1}}
    assert encoded.num_supervised_tokens == 2 * (len(HOLE.middle) + 1)
    assert encoded.num_tokens == sum(len(row.input_ids) for row in encoded.rows)
    assert encoded.num_not_round_trip == 0


def test_middles_that_do_not_come_back_are_counted() -> None:
    encoded = encode_examples([HOLE, replace(HOLE, middle="\ud800")], make_encoder())
    assert encoded.num_not_round_trip == 1


@pytest.mark.parametrize("examples", [[], [replace(HOLE, middle="m" * 99)]])
def test_an_empty_set_is_an_error(examples: list[FimExample]) -> None:
    with pytest.raises(EmptyDatasetError, match="rows of 100 tokens"):
        encode_examples(examples, make_encoder(max_seq_length=100))


def test_a_row_without_labels_is_refused() -> None:
    row = make_encoder().encode(HOLE)
    silent = replace(row, labels=(IGNORED_LABEL,) * len(row.labels))
    with pytest.raises(AllTokensMaskedError, match="row 1"):
        require_supervised([row, silent])


class Recorder:
    """A progress sink that keeps what it was told."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def start(self, stage: str, total: int | None) -> None:
        raise AssertionError(stage, total)

    def advance(self, done: int, **facts: float | str) -> None:
        self.done.append(done)

    def finish(self, summary: str = "") -> None:
        raise AssertionError(summary)


def test_progress_is_reported() -> None:
    recorder = Recorder()
    encode_examples([HOLE, HOLE], make_encoder(), progress=recorder)
    assert recorder.done == [1, 2]


def test_inspection_shows_what_the_model_sees() -> None:
    example = FimExample(prefix="P" * 300 + "x = ", middle="1", suffix="\n")
    inspection = inspect_example(example, make_encoder(max_seq_length=100))
    answer = inspection.as_json()
    assert set(answer) == {
        "format",
        "input_ids",
        "labels",
        "prompt_ids",
        "segments",
        "cut",
        "round_trip",
        "moved_chars",
    }
    assert answer["format"] == "psm"
    assert answer["round_trip"] is True
    assert inspection.input_ids[: len(inspection.prompt_ids)] == inspection.prompt_ids
    assert "".join(each.text for each in inspection.segments) == TOKENIZER.decode(
        inspection.input_ids
    )
    assert answer["cut"] == {
        "prefix_tokens": inspection.cut.prefix_tokens,
        "suffix_tokens": 0,
        "context_items": 0,
    }
    assert [each.text for each in inspection.segments if each.trained] == [
        "1",
        "<|endoftext|>",
    ]
