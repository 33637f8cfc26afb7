"""Train and complete on one backend, in a process of its own, and write down what came of it.

    python worker.py BACKEND DTYPE MODEL_FOLDER OUT_FOLDER
    python worker.py fim ARGUMENTS ...
    python worker.py fim-on-cpu ARGUMENTS ...
    python worker.py benchmark BACKEND ROWS FOLDER OUT

Both backends do the same: same rows, same order, same LoRA matrices at the start. The others
are the command line where Unsloth trains, and where it does not.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "real_unsloth")]
NUM_STEPS = 4
PROMPT_LENGTHS = (5, 23, 11, 17)
NUM_NEW_TOKENS = 8
METHODS: Mapping[str, Mapping[str, object]] = {
    "plain": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "checkpointing": {"gradient_checkpointing": True},
}


def main() -> None:
    """Do everything and write ``BACKEND-DTYPE.json`` into the folder."""
    if sys.argv[1] in {"fim", "fim-on-cpu"}:
        run_command(sys.argv[2:], has_gpu=sys.argv[1] == "fim")
    if sys.argv[1] == "benchmark":
        run_benchmark(*sys.argv[2:])
        return
    backend, dtype, folder, out = sys.argv[1:]
    seen = None
    if backend == "unsloth":
        import cpu_harness

        seen = cpu_harness.install(has_fused_lora=dtype == "bfloat16")
    found: dict[str, object] = {"methods": {}}
    place = Path(out) / f"{backend}-{dtype}"
    before = dict(os.environ)
    for name, lora in METHODS.items():
        found["methods"][name] = train(backend, dtype, folder, place / name, lora)  # type: ignore[index]
    found["resumed"] = resumed(backend, dtype, folder, place / "plain")
    found["full"] = train(backend, dtype, folder, place / "full", {}, is_full=True)
    found["environment"] = sorted(
        name for name in os.environ if os.environ[name] != before.get(name)
    )
    if seen is not None:
        found["seen"] = vars(seen)
    (Path(out) / f"{backend}-{dtype}.json").write_text(json.dumps(found), encoding="utf-8")


def run_command(arguments: list[str], *, has_gpu: bool) -> NoReturn:
    """Run the command line, on a machine that seems to have a GPU or as it is."""
    from fim.cli.app import main as run

    if has_gpu:
        import cpu_harness

        cpu_harness.install(has_fused_lora=False)
    run(arguments)


def run_benchmark(backend: str, rows: str, folder: str, out: str) -> None:
    """Do a job of the GPU benchmark; with the adapter in place of rows to train on, read it."""
    sys.path.insert(0, str(TESTS.parent / "benchmarks"))
    import gpu_train

    first = gpu_train.tiny_jobs(gpu_train.check_jobs())[0]
    job = replace(first, backend=backend.removeprefix("read-"))
    given = gpu_train.read_rows(Path(rows), job, gpu_train.TINY["vocab_size"])
    model = gpu_train.write_model(Path(folder), job, gpu_train.TINY)
    if backend == "read-unsloth":
        known = json.loads(Path(out).read_text())
        found = {**known, **gpu_train.read_adapter(model, job, Path(known["adapter"]), given)}
    else:
        if backend == "unsloth":
            import cpu_harness

            cpu_harness.install(has_fused_lora=False)
        found = gpu_train.train_once(model, job, given)
    Path(out).write_text(json.dumps(found), encoding="utf-8")


def make_loader(
    backend: str, dtype: str, folder: str, lora: Mapping[str, object], *, is_full: bool = False
) -> Any:
    """Return the product's own loader."""
    from fim.config import HfSettings, LoraSettings, ModelSettings
    from fim.model import ModelLoader

    return ModelLoader(
        model=ModelSettings.model_validate(
            {
                "name": folder,
                "backend": backend,
                "dtype": dtype,
                "load_in_4bit": False,
                "full_finetuning": is_full,
                "max_seq_length": 128,
            }
        ),
        lora=LoraSettings.model_validate({"r": 4, "gradient_checkpointing": False, **lora}),
        hf=HfSettings.model_validate({"token": "hf_secret"}),
    )


def load(
    backend: str, dtype: str, folder: str, lora: Mapping[str, object], *, is_full: bool = False
) -> Any:
    """Return the model ready to be trained, its matrices the same on both backends."""
    import torch

    loader = make_loader(backend, dtype, folder, lora, is_full=is_full)
    loader.check()
    loaded = loader.for_training(loader.load(is_training=True))
    with torch.no_grad():
        for name, parameter in sorted(loaded.model.named_parameters()):
            if "lora_A" in name:
                seed = zlib.crc32(name.rsplit("layers.", 1)[-1].encode())
                generator = torch.Generator().manual_seed(seed)
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return loaded


def settings(**changes: object) -> Any:
    """Return settings for a few steps."""
    from training_toys import toy_settings

    return toy_settings(
        max_steps=NUM_STEPS,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        save_steps=2,
        save_total_limit=4,
        eval_steps=1,
        packing="none",
        **changes,
    )


def train(
    backend: str,
    dtype: str,
    folder: str,
    out: Path,
    lora: Mapping[str, object],
    *,
    is_full: bool = False,
) -> dict[str, object]:
    """Train a few steps, completing holes at each, and return every figure."""
    from training_toys import toy_rows, toy_trainer

    loaded = load(backend, dtype, folder, lora, is_full=is_full)
    during: list[object] = []

    def measure() -> dict[str, float]:
        answers = complete(loaded)
        during.append(answers["ids"])
        return {"exact_match": float(len(during))}

    trainer = toy_trainer(
        loaded,
        out,
        rows=toy_rows(16),
        eval_rows=toy_rows(4, seed=9),
        settings=settings(best_metric="eval_loss"),
        measure_holes=measure,
    )
    result = trainer.train()
    after = {"with": answers_after(loaded)}
    if not is_full:
        with loaded.model.disable_adapter():
            after["without"] = answers_after(loaded)
    return {**figures(out), "during": during, "after": after, "kept_eval_loss": result.eval_loss}


def resumed(backend: str, dtype: str, folder: str, whole: Path) -> dict[str, object]:
    """Go on from the checkpoint in the middle of a run and return what the rest gave."""
    import shutil

    from training_toys import toy_rows, toy_trainer

    out = whole.with_name("resumed")
    shutil.copytree(whole, out)
    shutil.rmtree(out / "checkpoints" / f"checkpoint-{NUM_STEPS}")
    trainer = toy_trainer(
        load(backend, dtype, folder, {}),
        out,
        rows=toy_rows(16),
        eval_rows=toy_rows(4, seed=9),
        settings=settings(best_metric="eval_loss"),
        measure_holes=lambda: {"exact_match": 0.0},
    )
    trainer.train(resume=out / "checkpoints" / "checkpoint-2")
    return figures(out)


def figures(out: Path) -> dict[str, object]:
    """Return losses, gradient norms and held-out losses of a run by step."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {
        name: [row[name] for row in rows if name in row]
        for name in ("loss", "grad_norm", "eval_loss")
    }


def answers_after(loaded: Any) -> dict[str, object]:
    """Return what the trained model answers, made ready as during training."""
    from fim.training.generating import ready_to_generate

    with ready_to_generate(loaded, attention="sdpa"):
        return complete(loaded)


def complete(loaded: Any) -> dict[str, object]:
    """Return ids for prompts of mixed length whose answers end at different places, and scores."""
    import random

    from fim.inference.generate import GenerationWatcher, generate_batch
    from fim.inference.sampling import GenerationOptions
    from fim.inference.score import score_batch
    from model_toys import VOCABULARY_TOKENS
    from training_toys import toy_rows

    generator = random.Random(5)
    prompts = [
        [generator.randrange(2, VOCABULARY_TOKENS) for _ in range(length)]
        for length in PROMPT_LENGTHS
    ]
    scored: dict[int, list[float]] = {}

    class Watcher(GenerationWatcher):
        """Ends the answers one after the other."""

        def __init__(self) -> None:
            super().__init__({0: [7, 8, 9], 2: [4]})
            self.counts = dict.fromkeys(range(len(prompts)), 0)

        def token(self, index: int, token_id: int) -> str | None:
            self.counts[index] += 1
            return "rule" if self.counts[index] == NUM_NEW_TOKENS - 2 * index else None

        def scored(self, index: int, losses: list[float]) -> None:
            scored[index] = losses

    def ask(which: list[list[int]], watcher: GenerationWatcher | None = None) -> list[list[int]]:
        answers = generate_batch(
            loaded.model,
            which,
            options=GenerationOptions(max_new_tokens=NUM_NEW_TOKENS),
            stop_ids=(),
            pad_id=0,
            watcher=watcher,
        )
        return [list(answer.ids) for answer in answers]

    ids = {
        "leaving": ask(prompts, Watcher()),
        "one": ask(prompts[:1]),
        "equal": ask([prompts[0], prompts[0][::-1]]),
        "again": ask(prompts),
    }
    scores = score_batch(loaded.model, toy_rows(5, seed=3), batch_size=5)
    return {
        "ids": ids,
        "scored": scored,
        "gold": [score.nll_sum_middle for score in scores],
    }


if __name__ == "__main__":
    main()
