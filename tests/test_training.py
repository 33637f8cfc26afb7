"""The contract of ``fim.training``: ``Trainer`` with its parts injected, ``MaskingStrategy``."""

from __future__ import annotations

from pathlib import Path

from fim.training import MaskingStrategy, Trainer
from fim.types import TextTokenizer
from training_toys import FORMAT, toy_loaded, toy_rows, toy_run, toy_settings, write_learner


class Turns:
    """A tokenizer of two layouts' control tokens, one id a character."""

    def __init__(self, *tokens: str) -> None:
        self._ids = {token: 1000 + at for at, token in enumerate(tokens)}

    def control_token_id(self, token: str) -> int | None:
        return self._ids.get(token)

    def encode(self, text: str) -> list[int]:
        return [ord(each) for each in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


CHATML: TextTokenizer = Turns("<|im_start|>", "<|im_end|>", "<think>", "</think>")  # type: ignore[assignment]
HARMONY: TextTokenizer = Turns(  # type: ignore[assignment]
    "<|start|>", "<|message|>", "<|channel|>", "<|return|>", "<|end|>"
)


def test_a_trainer_learns_and_leaves_an_adapter(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "run")
    result = Trainer(
        loaded=toy_loaded(write_learner(tmp_path / "toy")),
        train_rows=toy_rows(),
        eval_rows=toy_rows(4, seed=9),
        settings=toy_settings(max_steps=12),
        run=run,
        format_record=FORMAT,
        fingerprints={},
    ).train()
    losses = [row["loss"] for row in run.read_metrics() if "loss" in row]
    assert result.steps == 12
    assert losses[-1] < losses[0]
    assert (result.adapter / "adapter_model.safetensors").is_file()


def test_the_layouts_of_the_masking_strategy() -> None:
    assert MaskingStrategy.CHATML_PATTERNS.ends == ("<|im_end|>",)
    assert MaskingStrategy.HARMONY_PATTERNS.ends == ("<|return|>", "<|end|>")
    assert MaskingStrategy.detect(CHATML).name == "chatml"
    assert MaskingStrategy.detect(HARMONY).name == "harmony"


def test_answers_with_their_end_are_trained_and_nothing_else() -> None:
    strategy = MaskingStrategy.of(MaskingStrategy.CHATML_PATTERNS, CHATML)
    assert strategy is not None
    start, end = CHATML.control_token_id("<|im_start|>"), CHATML.control_token_id("<|im_end|>")
    assert start is not None
    assert end is not None
    ask = [start, *CHATML.encode("user\nhi"), end, *CHATML.encode("\n")]
    opening, answer = [start, *CHATML.encode("assistant\n")], [*CHATML.encode("x = 1"), end]
    labels = strategy.apply([*ask, *opening, *answer])
    assert labels == (*[-100] * len([*ask, *opening]), *answer)
