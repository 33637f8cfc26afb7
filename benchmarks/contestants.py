"""Who trains: the archive recipe, TRL, and ours in three packings."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from documents import SEED, Workload

from fim.pipeline import make_loader
from fim.types import IGNORED_LABEL

LEARNING_RATE = 1e-3
LORA_R = 16
ARCHIVE = Path(__file__).parent.parent / "archive" / "fill-in-the-middle-fine-tune.py"


@dataclass(frozen=True)
class Measured:
    """What one round of a contestant took, its first step left out."""

    step_seconds: list[float]
    cpu_seconds: list[float]
    tokens_per_step: float
    supervised_per_step: float
    peak_memory_mib: float
    held_out_nll: float | None
    token_gain: float = 1.0

    @property
    def holes_per_second(self) -> float:
        """Speed in steps of one document, for the talk during a run."""
        return self.holes / min(self.step_seconds) if self.step_seconds else 0.0

    holes: int = 0


@dataclass
class Memory:
    """Most memory of the process above where it began (MiB)."""

    peak_mib: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self, began: float) -> None:
        """Look every 20 milliseconds until told to stop."""
        while not self._stop.wait(0.02):
            self.peak_mib = max(self.peak_mib, resident_mib() - began)

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()


def resident_mib() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


@contextmanager
def memory_watched() -> Iterator[Memory]:
    """Measure the most memory in between, after giving back what is free."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    memory = Memory()
    thread = threading.Thread(target=memory.watch, args=(resident_mib(),), daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        memory.stop()
        thread.join()


def held_out_nll(workload: Workload, loaded: Any | None = None) -> float | None:
    """Return the loss per token of held-out middles and end tokens; None without such holes."""
    if not workload.held_out:
        return None
    from fim.training.held_out import EVAL_LOSS, HeldOutLoss
    from fim.training.loss import supervised_forward
    from fim.training.precision import autocast_for
    from fim.training.rows import RightPadder

    loaded = loaded or make_loader(workload.settings).load()
    measurement = HeldOutLoss(
        model=loaded.model,
        rows=workload.held_out,
        batch_size=4,
        collator=RightPadder(0),
        autocast=autocast_for(loaded),
        has_own_loss=True,
    )
    with supervised_forward(loaded.model):
        return measurement()[EVAL_LOSS]


def ours(packing: str) -> Callable[[Workload, Path], Measured]:
    """Return a run of this project's trainer with a packing."""

    def run(workload: Workload, folder: Path) -> Measured:
        from fim.runs import RunFolder
        from fim.training import Trainer

        holes = workload.holes_per_document
        settings = workload.settings.train.model_copy(
            update={
                "packing": packing,
                "per_device_train_batch_size": holes,
                "gradient_accumulation_steps": 1,
                "learning_rate": LEARNING_RATE,
                "max_minutes": None,
                "num_train_epochs": 1.0,
                "save_steps": 10_000,
                "seed": SEED,
            }
        )
        clock = Clock()
        with memory_watched() as memory:
            loader = make_loader(workload.settings)
            loaded = loader.for_training(loader.load())
            trainer = Trainer(
                loaded=loaded,
                train_rows=workload.rows,
                eval_rows=(),
                settings=settings,
                run=RunFolder.create_at(folder / "run"),
                format_record=workload.encoder.resolved.record(),
                fingerprints={"config": "benchmark"},
                pad_id=workload.encoder.resolved.pad_id,
                progress=clock,
            )
            result = trainer.train()
        nll = held_out_nll(workload, loaded)
        supervised = sum(label != IGNORED_LABEL for row in workload.rows for label in row.labels)
        return Measured(
            step_seconds=clock.seconds[1:],
            cpu_seconds=clock.cpu_seconds[1:],
            tokens_per_step=workload.num_row_tokens / result.token_gain / result.steps,
            supervised_per_step=supervised / result.steps,
            peak_memory_mib=memory.peak_mib,
            held_out_nll=nll,
            token_gain=result.token_gain,
            holes=holes,
        )

    return run


class Clock:
    """Seconds of every step, told as progress."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self._last = self._last_cpu = 0.0

    def start(self, stage: str, total: int | None) -> None:
        """Begin."""
        self._last, self._last_cpu = time.perf_counter(), time.process_time()

    def advance(self, done: int, **facts: float | str) -> None:
        """Note a step."""
        now, cpu = time.perf_counter(), time.process_time()
        if done:
            self.seconds.append(now - self._last)
            self.cpu_seconds.append(cpu - self._last_cpu)
        self._last, self._last_cpu = now, cpu

    def finish(self, summary: str = "") -> None:
        """End."""


def trl(kind: str) -> Callable[[Workload, Path], Measured]:
    """Return a run of TRL: ``archive`` text, or our ids with loss on the middle only."""

    def run(workload: Workload, folder: Path) -> Measured:
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import TrainerCallback
        from trl import SFTConfig, SFTTrainer

        seconds: list[float] = []
        cpu_seconds: list[float] = []

        class StepClock(TrainerCallback):
            def on_step_begin(self, *_: object, **__: object) -> None:
                seconds.append(-time.perf_counter())
                cpu_seconds.append(-time.process_time())

            def on_step_end(self, *_: object, **__: object) -> None:
                seconds[-1] += time.perf_counter()
                cpu_seconds[-1] += time.process_time()

        is_archive = kind.startswith("archive")
        holes = workload.holes_per_document
        with memory_watched() as memory:
            loaded = make_loader(workload.settings).load()
            model = loaded.model.float() if kind == "archive" else loaded.model
            recipe = archive_module()
            if is_archive:
                texts = [archive_text(recipe, row, loaded.tokenizer) for row in workload.rows]
                data = Dataset.from_dict({"text": texts})
                more: dict[str, Any] = {
                    "dataset_text_field": "text",
                    "max_length": workload.max_tokens,
                    "per_device_train_batch_size": 1,
                    "gradient_accumulation_steps": holes,
                }
            else:
                data = Dataset.from_dict(
                    {
                        "input_ids": [list(row.input_ids) for row in workload.rows],
                        "labels": [list(row.labels) for row in workload.rows],
                    }
                )
                batch = 1 if kind == "trl_one_by_one" else holes
                more = {
                    "max_length": None,
                    "per_device_train_batch_size": batch,
                    "gradient_accumulation_steps": holes // batch,
                    "padding_free": kind == "trl_padding_free",
                }
            config = SFTConfig(
                output_dir=str(folder),
                packing=False,
                num_train_epochs=1,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="cosine",
                warmup_steps=0.1,
                max_grad_norm=0.5,
                optim="adamw_torch",
                bf16=False,
                fp16=False,
                gradient_checkpointing=False,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=SEED,
                use_cpu=True,
                **more,
            )
            trainer = SFTTrainer(
                model=model,
                args=config,
                train_dataset=data,
                processing_class=loaded.tokenizer,
                peft_config=LoraConfig(
                    r=LORA_R,
                    lora_alpha=2 * LORA_R,
                    target_modules=recipe.PROJECTIONS,
                    task_type="CAUSAL_LM",
                ),
                callbacks=[StepClock()],
            )
            lengths = [len(each["input_ids"]) for each in trainer.train_dataset]
            trainer.train()
        nll = None
        if not is_archive:
            from dataclasses import replace

            nll = held_out_nll(workload, replace(loaded, model=trainer.model))
        steps = len(seconds)
        trained = sum(label != IGNORED_LABEL for row in workload.rows for label in row.labels)
        return Measured(
            step_seconds=seconds[1:],
            cpu_seconds=cpu_seconds[1:],
            tokens_per_step=sum(lengths) / steps,
            supervised_per_step=(sum(lengths) if is_archive else trained) / steps,
            peak_memory_mib=memory.peak_mib,
            held_out_nll=nll,
            holes=holes,
        )

    return run


def archive_module() -> Any:
    """Return the one-file recipe as a module."""
    spec = importlib.util.spec_from_file_location("archive_recipe", ARCHIVE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive_text(recipe: Any, row: Any, tokenizer: Any) -> str:
    """Return a row's example as the recipe writes it."""
    example = row.example
    parts = {"prefix": example.prefix, "suffix": example.suffix, "middle": example.middle}
    return recipe.chat_text({**parts, "lang": example.language}, tokenizer)


CONTESTANTS: dict[str, Callable[[Workload, Path], Measured]] = {
    "ours_tree": ours("tree"),
    "trl_padded": trl("trl_padded"),
    "ours_bfd": ours("bfd"),
    "archive_bfloat16": trl("archive_bfloat16"),
    "ours_none": ours("none"),
    "trl_padding_free": trl("trl_padding_free"),
    "archive": trl("archive"),
}
