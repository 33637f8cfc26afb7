"""Rows, recorders and a ready trainer for tests of training."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fim.config import TrainSettings
from fim.formats import FormatRecord
from fim.model import LoadedModel
from fim.runs import RunFolder
from fim.training import Trainer
from fim.types import Cut, EncodedExample, FimExample
from model_toys import VOCABULARY_TOKENS, toy_loader, write_toy_model

if TYPE_CHECKING:
    import torch

END_ID = 1
FORMAT = FormatRecord(
    name="psm",
    version=1,
    family="toy",
    order="psm",
    anchor_lines=0,
    token_ids={"t1": END_ID},
    end_id=END_ID,
    stop_ids=(END_ID,),
    fingerprint="format-a",
)


def write_learner(folder: Path) -> Path:
    """Write a toy model whose frozen embeddings are large enough for confident predictions."""
    import torch
    from transformers import Qwen3ForCausalLM

    write_toy_model(folder)
    model = Qwen3ForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(10)
    model.save_pretrained(folder)
    return folder


def toy_row(
    prompt: Sequence[int], middle: Sequence[int], *, loss_on: str = "middle", name: str = ""
) -> EncodedExample:
    """Return a row whose middle and end token, or all tokens, are trained."""
    answer = (*middle, END_ID)
    ids = (*prompt, *answer)
    masked = (-100,) * len(prompt)
    return EncodedExample(
        input_ids=ids,
        labels=ids if loss_on == "all" else masked + answer,
        prompt_length=len(prompt),
        segments=(),
        cut=Cut(),
        example=FimExample(prefix="", middle="", suffix="", id=name),
    )


def toy_rows(num_rows: int = 16, *, seed: int = 0, longest: int = 24) -> list[EncodedExample]:
    """Return rows of different lengths whose middle repeats the start of the prompt."""
    generator = random.Random(seed)
    rows = []
    for at in range(num_rows):
        num_tokens = generator.randint(6, longest)
        prompt = [generator.randrange(2, VOCABULARY_TOKENS) for _ in range(num_tokens)]
        rows.append(toy_row(prompt, prompt[: generator.randint(1, 4)], name=f"row-{at}"))
    return rows


def toy_settings(**changes: object) -> TrainSettings:
    """Return settings for a few fast steps."""
    defaults: dict[str, object] = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "max_steps": 4,
        "learning_rate": 5e-3,
        "optim": "adamw_torch",
        "weight_decay": 0.0,
        "eval_steps": 1000,
        "save_steps": 1000,
    }
    return TrainSettings.model_validate({**defaults, **changes})


def toy_loaded(folder: Path, **options: object) -> LoadedModel:
    """Return a toy model with a fresh adapter."""
    loader = toy_loader(folder, **options)  # type: ignore[arg-type]
    return loader.for_training(loader.load())


def toy_run(path: Path) -> RunFolder:
    """Return a run in exactly this folder, new or opened again."""
    return RunFolder.open(path) if (path / "STATUS").exists() else RunFolder.create_at(path)


def toy_trainer(
    loaded: LoadedModel,
    run: Path,
    *,
    rows: Sequence[EncodedExample] | None = None,
    eval_rows: Sequence[EncodedExample] = (),
    format_record: FormatRecord = FORMAT,
    fingerprints: dict[str, str] | None = None,
    settings: TrainSettings | None = None,
    **options: object,
) -> Trainer:
    """Return a trainer over toy rows."""
    return Trainer(
        loaded=loaded,
        train_rows=toy_rows() if rows is None else rows,
        eval_rows=eval_rows,
        settings=settings or toy_settings(),
        run=toy_run(run),
        format_record=format_record,
        fingerprints={"config": "c"} if fingerprints is None else fingerprints,
        **options,  # type: ignore[arg-type]
    )


class ProgressRecorder:
    """Keeps what a progress sink is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done: list[int] = []
        self.facts: list[dict[str, float | str]] = []
        self.summaries: list[str] = []

    def start(self, stage: str, total: int | None) -> None:
        """Open a stage."""
        self.stages.append((stage, total))

    def advance(self, done: int, **facts: float | str) -> None:
        """Note the units done."""
        self.done.append(done)
        self.facts.append(facts)

    def finish(self, summary: str = "") -> None:
        """Close the stage."""
        self.summaries.append(summary)


class Interrupter(ProgressRecorder):
    """Sends SIGINT to this process after a step."""

    def __init__(self, step: int, *, times: int = 1) -> None:
        super().__init__()
        self._step = step
        self._times = times

    def advance(self, done: int, **facts: float | str) -> None:
        """Send them."""
        super().advance(done, **facts)
        if done == self._step:
            for _ in range(self._times):
                os.kill(os.getpid(), signal.SIGINT)


def adapter_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights in an adapter folder."""
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def is_same_adapter(first: Path, second: Path) -> bool:
    """Tell whether the adapters of two runs are equal bit for bit."""
    import torch

    one, other = adapter_weights(first / "adapter"), adapter_weights(second / "adapter")
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class ManualClock:
    """A clock that a test turns, and that moves a little at each look."""

    def __init__(self, tick_seconds: float = 0.0) -> None:
        self.now = 0.0
        self._tick_seconds = tick_seconds

    def __call__(self) -> float:
        """Return the time."""
        self.now += self._tick_seconds
        return self.now
