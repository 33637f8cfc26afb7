"""CodeCompleter: the text is exactly what is to be inserted."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fakes import ByteTokenizer
from fim.config import InferSettings
from fim.data import ExampleEncoder
from fim.errors import InvalidSettingError, PromptTooLongError
from fim.formats import resolve_format
from fim.inference import FIRST_LINE, NONE, CodeCompleter, StopRule, stop_at
from fim.inference.fast import fast_form
from fim.types import ContextItem, FimExample
from scripted_model import END_ID, OTHER_CONTROL_ID, PAD_ID, Script, ScriptedModel, ScriptEncoder

EMOJI = "\U0001f600".encode()
ANSWERS = [
    [b"  x", b" = ", b"1\n", b"y\n", END_ID],
    ["é".encode()[:1], "é".encode()[1:] + b"!", END_ID],
    [b"a", OTHER_CONTROL_ID, b"b", END_ID],
    [EMOJI[:2], EMOJI[2:], b"\r", b"\n", b"z", END_ID],
    [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"0", END_ID],
    [END_ID],
    [b"ok", EMOJI[:2], EMOJI[2:3], EMOJI[3:], b"x", b"x", b"x", b"x", b"x", b"x", b"x", END_ID],
]
WHOLE = ["  x = 1\ny\n", "é!", "ab", "\U0001f600\r\nz", "12345678", "", "ok\U0001f600xxxx"]


@pytest.fixture
def completer() -> CodeCompleter:
    script = Script(ANSWERS)
    settings = InferSettings(max_new_tokens=8, batch_size=4)
    return CodeCompleter(
        model=ScriptedModel(script), encoder=ScriptEncoder(script), settings=settings
    )


def _examples() -> list[FimExample]:
    return [FimExample("", "gold", "", id=str(number)) for number in range(len(ANSWERS))]


def test_batch_gives_whole_texts_in_order(completer: CodeCompleter) -> None:
    found = completer.complete_batch(_examples())
    assert [completion.text for completion in found] == WHOLE
    assert [completion.stop_reason for completion in found] == [
        "end",
        "end",
        "end",
        "end",
        "length",
        "end",
        "length",
    ]
    assert END_ID not in {each for completion in found for each in completion.token_ids}
    assert all(completion.milliseconds > 0 and completion.prompt_ids for completion in found)


def test_rows_that_are_done_leave_the_batch(completer: CodeCompleter) -> None:
    completer.complete_batch(_examples())
    assert set(completer.model.calls) >= {4, 3, 2, 1}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (FIRST_LINE, ["  x = 1", "é!", "ab", "\U0001f600", "12345678", "", "ok\U0001f600xxxx"]),
        (
            stop_at("34", "1\ny"),
            ["  x = ", "é!", "ab", "\U0001f600\r\nz", "12", "", "ok\U0001f600xxxx"],
        ),
        (NONE, WHOLE),
    ],
)
def test_stream_and_batch_obey_a_rule_alike(
    completer: CodeCompleter, rule: StopRule, expected: list[str]
) -> None:
    batch = completer.complete_batch(_examples(), stop=rule)
    assert [completion.text for completion in batch] == expected
    for number, example in enumerate(_examples()):
        completer.encoder.prompt = lambda _e, wanted=example: ScriptEncoder.prompt(
            completer.encoder, wanted
        )
        stream = completer.stream("", "", stop=rule)
        pieces = list(stream)
        assert "".join(pieces) == stream.result().text == expected[number]
        assert stream.result().stop_reason == batch[number].stop_reason
        assert stream.result().token_ids == batch[number].token_ids
        assert "" not in pieces
        assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)


def test_the_rule_is_named_as_the_reason(completer: CodeCompleter) -> None:
    first = completer.complete_batch(_examples()[:1], stop=FIRST_LINE)[0]
    assert (first.text, first.stop_reason) == ("  x = 1", "first_line")


def test_an_unfinished_character_is_dropped_at_the_limit(completer: CodeCompleter) -> None:
    cut = completer.complete_batch([FimExample("", "", "", id="6")], max_new_tokens=2)[0]
    assert (cut.text, cut.stop_reason) == ("ok", "length")


def test_errors_come_before_the_first_piece(completer: CodeCompleter) -> None:
    with pytest.raises(InvalidSettingError, match="temperature is -1"):
        completer.stream("", "", temperature=-1.0)
    completer.model.config.max_position_embeddings = 1
    with pytest.raises(PromptTooLongError, match="window 1"):
        completer.stream("", "")


def test_examples_without_a_row_have_no_score(completer: CodeCompleter) -> None:
    assert completer.score_gold(_examples()) == [None] * len(ANSWERS)


def test_progress_advances_to_the_number_of_holes(completer: CodeCompleter) -> None:
    class Counter:
        done = 0

        def start(self, stage: str, total: int | None) -> None: ...
        def advance(self, done: int, **facts: float | str) -> None:
            self.done = done

        def finish(self, summary: str = "") -> None: ...

    counter = Counter()
    completer.complete_batch(_examples(), progress=counter)
    assert counter.done == len(ANSWERS)


@pytest.fixture(scope="module")
def real() -> CodeCompleter:
    tokenizer = ByteTokenizer.smollm2()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=tokenizer.num_ids,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
            )
        ).eval()
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data.mul_(4)
    encoder = ExampleEncoder(
        resolve_format("psm", tokenizer, anchor_lines=2),
        tokenizer,
        max_seq_length=160,
        middle_reserve_tokens=24,
    )
    return CodeCompleter(
        model=model, encoder=encoder, settings=InferSettings(max_new_tokens=24), control_ids=(9,)
    )


def test_a_real_encoder_and_model(real: CodeCompleter) -> None:
    context = (ContextItem("y = 1\n", "a.py"),)
    arguments = {"language": "Python", "context": context, "path": "b.py"}
    one = real.complete("def f():\n    return ", "\n", **arguments)
    stream = real.stream("def f():\n    return ", "\n", **arguments)
    assert "".join(stream) == one.text == stream.result().text
    example = FimExample("def f():\n    return ", "?", "\n", **arguments)
    batch = real.complete_batch([example, FimExample("a", "", "b")])
    assert batch[0].token_ids == one.token_ids
    assert batch[0].prompt_ids == one.prompt_ids == real.encoder.prompt(example).ids
    scores = real.score_gold([example, FimExample("a", "x" * 200, "b")], batch_size=1)
    assert scores[0] is not None
    assert scores[0].num_middle_tokens == 1
    assert scores[0].nll_end is not None
    assert scores[1] is None


def test_completing_and_scoring_in_one_pass_gives_both(real: CodeCompleter) -> None:
    examples = [
        FimExample("def f():\n    return ", "1 + 2", "\n"),
        FimExample("a = ", "", ""),
        FimExample("b = " * 40, "x" * 60, "\n" * 90),
        FimExample("c", "x" * 200, ""),
    ]
    completions, scores = real.complete_and_score(examples)
    alone = real.complete_batch(examples)
    assert [each.token_ids for each in completions] == [each.token_ids for each in alone]
    for found, expected in zip(scores, real.score_gold(examples), strict=True):
        assert (found is None) == (expected is None)
        if found and expected:
            assert found.num_middle_tokens == expected.num_middle_tokens
            assert found.nll_sum_middle == pytest.approx(expected.nll_sum_middle, rel=1e-4)
            assert found.nll_end == pytest.approx(expected.nll_end, rel=1e-4)


@pytest.mark.parametrize("is_frozen", [True, False])
def test_frozen_weights_are_made_fast_once_and_others_as_they_are_now(
    real: CodeCompleter, *, is_frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    def counted(model: torch.nn.Module) -> object:
        made.append(fast_form(model))
        return made[-1]

    monkeypatch.setattr("fim.inference.fast.fast_form", counted)
    model = copy.deepcopy(real.model)
    completer = CodeCompleter(
        model=model, encoder=real.encoder, settings=real.settings, is_frozen=is_frozen
    )
    holes = [FimExample("a = ", "1", "\n"), FimExample("b", "c", "d")]
    first = completer.score_gold(holes)
    with torch.no_grad():
        model.lm_head.weight.neg_()
    completer.complete_batch(holes)
    assert len(made) == (1 if is_frozen else 2)
    assert None not in made
    if not is_frozen:
        assert completer.score_gold(holes) != first


def test_generation_parameters_reach_the_model(real: CodeCompleter) -> None:
    sampled = [
        real.complete("a", "b", temperature=2.0, top_k=50, top_p=0.99, seed=seed).token_ids
        for seed in (1, 1, 2)
    ]
    assert sampled[0] == sampled[1] != sampled[2]
    assert len(real.complete("a", "b", max_new_tokens=3).token_ids) <= 3
    assert PAD_ID not in real.complete("a", "b").token_ids
