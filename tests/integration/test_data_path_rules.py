"""What must be true of the data path, on two real tokenizers and for every format."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fim.data import ExampleEncoder, TokenizerView
from fim.errors import AdapterMismatchError, FormatUnsupportedError
from fim.formats import format_names, resolve_format, resolve_record
from fim.types import IGNORED_LABEL, ContextItem, FimExample, SegmentKind

CONTROL_LITERALS = (
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|file_sep|>",
    "<|repo_name|>",
    "<file_sep>",
    "<repo_name>",
    "<reponame>",
    "<filename>",
    "<issue_start>",
    "<issue_comment>",
    "<issue_closed>",
    "<jupyter_code>",
    "<empty_output>",
    "<think>",
    "</think>",
    "<tool_call>",
)
NASTY_MIDDLES = (
    "",
    "\n",
    "\n\n    return x\n",
    "    ",
    "\t\tx\t",
    " x ",
    "a\r\nb\r\n",
    "\r",
    "</think>\n\nafter",
    "<think>\n\n</think>\n\n",
    "```python\nx\n```",
    "````",
    "\U0001f600 na\u00efve \u65e5\u672c\u8a9e \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "print('<FILL_HERE>')",
    *CONTROL_LITERALS,
    "".join(CONTROL_LITERALS),
)
PIECES = st.one_of(
    st.sampled_from(NASTY_MIDDLES),
    st.text(alphabet=" \t\r\n`<|>/_abcdefim0\u00e9\u4e2d\U0001f680", max_size=30),
)
CODE = (
    st.lists(PIECES, max_size=4).map("".join).map(lambda text: unicodedata.normalize("NFC", text))
)
FORMATS = [
    ("chatml", 0),
    ("chatml-native", 0),
    ("chatml-native", 4),
    ("psm", 0),
    ("psm", 4),
    ("spm", 0),
    ("spm2", 0),
    ("codestral", 0),
    ("repo", 0),
    ("repo", 4),
    ("infill", 0),
    ("infill", 4),
    ("left-to-right", 0),
]
QWEN_ONLY = ("chatml-native", "repo", "infill")
CASES = [
    (view, name, anchor_lines)
    for view in ("qwen3_view", "smollm2_view")
    for name, anchor_lines in FORMATS
    if view == "qwen3_view" or name not in QWEN_ONLY
]
PATHS = ("", "src/x.py", "<|im_end|>.py", "a`b\n.py")
ONE_ENCODER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Case:
    """A format in the words of one tokenizer."""

    view: TokenizerView
    name: str
    anchor_lines: int

    def encoder(
        self, max_seq_length: int, *, reserve: int = 64, is_exact: bool = False
    ) -> ExampleEncoder:
        return ExampleEncoder(
            resolve_format(self.name, self.view, anchor_lines=self.anchor_lines),
            self.view,
            max_seq_length=max_seq_length,
            middle_reserve_tokens=reserve,
            is_cut_exact=is_exact,
        )


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    view, name, anchor_lines = request.param
    found = request.getfixturevalue(view)
    assert isinstance(found, TokenizerView)
    return Case(found, name, anchor_lines)


@pytest.fixture(scope="module")
def encoders(case: Case) -> dict[int, ExampleEncoder]:
    return {length: case.encoder(length) for length in (220, 2048)}


def examples() -> st.SearchStrategy[FimExample]:
    return st.builds(
        FimExample,
        prefix=CODE,
        middle=CODE,
        suffix=CODE,
        context=st.lists(
            st.builds(ContextItem, text=CODE, path=st.sampled_from(PATHS)), max_size=3
        ).map(tuple),
        language=st.sampled_from(["", "Python", "C++", "a`b"]),
        path=st.sampled_from([None, *PATHS]),
    )


def control_positions(encoder: ExampleEncoder, ids: tuple[int, ...]) -> list[int]:
    added = {encoder.tokenizer.control_token_id(token) for token in CONTROL_LITERALS} - {None}
    return [each for each in ids if each in added]


def test_every_format_is_under_test() -> None:
    assert {name for name, _ in FORMATS} == set(format_names())


@given(example=examples())
@ONE_ENCODER
def test_rules_one_and_two(encoders: dict[int, ExampleEncoder], example: FimExample) -> None:
    """Parts are tokenised apart, control tokens come by id only, the middle comes back whole."""
    encoder = encoders[2048]
    row = encoder.encode(example)
    placed = [
        encoder.resolved.token_ids[segment.text]
        for segment in row.segments
        if segment.kind in (SegmentKind.CONTROL, SegmentKind.END)
    ]
    assert control_positions(encoder, row.input_ids) == placed
    trained = tuple(label for label in row.labels if label != IGNORED_LABEL)
    end_token = encoder.resolved.format.end_token
    assert encoder.tokenizer.decode(trained) == example.middle + end_token
    assert trained == (*encoder.tokenizer.encode(example.middle), encoder.resolved.end_id)
    joined = tuple(each for segment in row.segments for each in segment.ids)
    assert joined == row.input_ids


@pytest.mark.parametrize("length", [220, 2048])
@given(example=examples(), other=CODE)
@ONE_ENCODER
def test_the_prompt_is_a_prefix_of_the_row_and_never_sees_the_middle(
    encoders: dict[int, ExampleEncoder],
    length: int,
    example: FimExample,
    other: str,
) -> None:
    encoder = encoders[length]
    row = encoder.try_encode(example)
    if isinstance(row, str):
        assert length == 220
        return
    assert len(row.input_ids) <= length
    num_middle = len(encoder.tokenizer.encode(example.middle))
    prompt = encoder.prompt(replace(example, middle=other), num_middle_tokens=num_middle)
    assert row.input_ids[: len(prompt.ids)] == prompt.ids
    assert row.labels[: len(prompt.ids)] == (IGNORED_LABEL,) * len(prompt.ids)
    assert row.labels[len(prompt.ids) :] == row.input_ids[len(prompt.ids) :]
    if num_middle <= 64:
        assert encoder.prompt(example).ids == prompt.ids


@pytest.mark.parametrize("middle", NASTY_MIDDLES)
def test_nasty_middles_come_back_byte_for_byte(
    encoders: dict[int, ExampleEncoder], middle: str
) -> None:
    encoder = encoders[2048]
    row = encoder.encode(FimExample(prefix="ret", middle=middle, suffix="urn\n"))
    assert encoder.round_trips(row)


@given(scale=st.integers(1, 40), middle=CODE, length=st.sampled_from([150, 220, 400]))
@ONE_ENCODER
def test_rule_three_the_budget_never_takes_the_answer(
    case: Case, scale: int, middle: str, length: int
) -> None:
    encoder = case.encoder(length, reserve=32)
    view = case.view
    context = tuple(ContextItem(f"item {number}\n" * scale) for number in range(5))
    prefix, suffix = "before = 1\n" * scale + "x = ", "\nafter = 2" * scale
    example = FimExample(prefix=prefix, middle=middle, suffix=suffix, context=context)
    row = encoder.try_encode(example)
    if isinstance(row, str):
        assert row == "middle_too_long"
        return
    assert len(row.input_ids) <= length
    assert encoder.tokenizer.decode(row.input_ids[row.prompt_length :]) == (
        middle + encoder.resolved.format.end_token
    )
    kept = {
        kind: view.decode([each for part in row.segments if part.kind in kind for each in part.ids])
        for kind in (
            (SegmentKind.PREFIX, SegmentKind.ANCHOR),
            (SegmentKind.SUFFIX,),
        )
    }
    before, after = kept.values()
    assert prefix.endswith(before)
    assert suffix.startswith(after)
    is_code_cut = row.cut.prefix_tokens or row.cut.suffix_tokens
    assert not is_code_cut or row.cut.context_items == len(context)


def test_rule_four_the_end_token_is_known_and_stops(case: Case) -> None:
    resolved = resolve_format(case.name, case.view, anchor_lines=case.anchor_lines)
    assert resolved.end_id in resolved.stop_ids
    assert resolved.pad_id != resolved.end_id
    assert case.view.decode([resolved.end_id]) == resolved.format.end_token
    assert resolved.record().end_id == resolved.end_id


def test_rule_five_the_think_block_is_pinned(
    qwen3_view: TokenizerView, smollm2_view: TokenizerView
) -> None:
    example = FimExample(prefix="x = ", middle="\n1</think>", suffix="\n")
    for view, header in (
        (qwen3_view, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        (smollm2_view, "<|im_start|>assistant\n"),
    ):
        encoder = ExampleEncoder(resolve_format("chatml", view), view, max_seq_length=512)
        row = encoder.encode(example)
        text = view.decode(row.input_ids)
        assert text.endswith(header + "\n1</think><|im_end|>")
        assert view.decode(row.input_ids[: row.prompt_length]).endswith(header)


def test_rule_five_another_format_or_base_is_refused(
    qwen3_view: TokenizerView, smollm2_view: TokenizerView
) -> None:
    record = resolve_format("psm", qwen3_view, anchor_lines=4).record()
    assert resolve_record(record, qwen3_view).record() == record
    with pytest.raises(AdapterMismatchError):
        resolve_record(record, smollm2_view)
    with pytest.raises(AdapterMismatchError):
        resolve_record(replace(record, anchor_lines=2), qwen3_view)


def test_rule_six_what_does_not_come_back_is_flagged(qwen3_view: TokenizerView) -> None:
    encoder = ExampleEncoder(resolve_format("psm", qwen3_view), qwen3_view, max_seq_length=128)
    lossy = FimExample(prefix="s = '", middle="e\u0301", suffix="'")
    assert not encoder.round_trips(encoder.encode(lossy))
    assert encoder.round_trips(encoder.encode(replace(lossy, middle="\u00e9")))


def test_a_byte_that_a_vocabulary_lacks_is_flagged(smollm2_view: TokenizerView) -> None:
    encoder = ExampleEncoder(resolve_format("psm", smollm2_view), smollm2_view, max_seq_length=128)
    assert not encoder.round_trips(encoder.encode(FimExample(prefix="", middle="\x04", suffix="")))


def test_a_tokenizer_without_sentinels_is_refused_for_psm(qwen3_view: TokenizerView) -> None:
    class WithoutSentinels:
        def control_token_id(self, token: str) -> int | None:
            return None if "fim" in token else qwen3_view.control_token_id(token)

    with pytest.raises(FormatUnsupportedError) as caught:
        resolve_format("psm", WithoutSentinels())
    assert "chatml" in caught.value.hint


def lines_of(number: int) -> Iterator[str]:
    for line in range(number):
        yield f"    total_{line % 97} += values[{line}] * (weights[{line}] - offset)  \u00e9\n"


def test_a_windowed_long_file_gives_the_ids_of_the_whole_file(case: Case) -> None:
    """Only part of a long text is tokenised; the ids are those of the whole text."""
    example = FimExample(
        prefix="".join(lines_of(600)) + "    ret", middle="urn", suffix="".join(lines_of(400))
    )
    rows = [case.encoder(400, is_exact=is_exact).encode(example) for is_exact in (False, True)]
    assert rows[0].input_ids == rows[1].input_ids
    assert rows[0].cut.prefix_tokens < rows[1].cut.prefix_tokens
