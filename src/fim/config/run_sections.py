"""Settings of training, evaluation and logging."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from fim.config.data_sections import MAX_SEED
from fim.config.fields import Section, setting
from fim.config.kinds import OptionalPath, SettingPath

ALL_STEPS = -1

Optimizer = Literal[
    "adamw_8bit",
    "adamw_bnb_8bit",
    "adamw_torch",
    "adamw_torch_fused",
    "paged_adamw_8bit",
    "paged_adamw_32bit",
    "lion_8bit",
    "paged_lion_8bit",
    "adafactor",
    "sgd",
]
Scheduler = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"
]
Tracker = Literal["none", "tensorboard", "trackio", "wandb", "mlflow"]
HeldOutMetric = Literal[
    "none", "eval_loss", "nll_per_token", "exact_match", "edit_similarity", "stop_rate"
]


def _steps_or_all(value: int) -> int:
    """Refuse a number of steps that trains nothing."""
    if value == 0:
        message = "0 steps train nothing"
        raise ValueError(message)
    return value


def _upper(value: object) -> object:
    """Read a level name in any case."""
    return value.strip().upper() if isinstance(value, str) else value


class TrainSettings(Section):
    """How the adapter is trained."""

    output_dir: SettingPath = setting(Path("runs"), "Folder that gets one folder per run.")
    num_train_epochs: float = setting(1.0, "Passes over the examples.", unit="epochs", gt=0)
    max_steps: Annotated[int, AfterValidator(_steps_or_all)] = setting(
        ALL_STEPS,
        "Optimizer steps; -1 follows num_train_epochs.",
        unit="steps",
        accepts="-1 or a whole number of at least 1",
        ge=-1,
    )
    per_device_train_batch_size: int = setting(
        1, "Rows in a training batch.", unit="rows", ge=1, le=4096
    )
    per_device_eval_batch_size: int = setting(
        8, "Rows in an evaluation batch.", unit="rows", ge=1, le=4096
    )
    gradient_accumulation_steps: int = setting(
        4, "Batches in one optimizer step.", unit="batches", ge=1, le=4096
    )
    learning_rate: float = setting(1e-5, "Highest learning rate.", unit="per step", gt=0, le=1)
    lr_scheduler_type: Scheduler = setting("cosine", "Course of the learning rate.")
    warmup_ratio: float = setting(
        0.1, "Share of the steps that raise the learning rate.", unit="share of 1", ge=0, le=1
    )
    weight_decay: float = setting(0.01, "Weight decay of the optimizer.", ge=0, le=1)
    max_grad_norm: float = setting(0.5, "Norm to which gradients are clipped.", gt=0)
    neftune_noise_alpha: float | None = setting(
        None,
        "Noise on the embeddings in training (NEFTune), by its alpha; none adds none.",
        gt=0,
        example="5.0",
    )
    use_liger_kernel: bool = setting(
        default=False,
        description="Liger's kernels for norms, rotations and gated products, on CUDA with the "
        "transformers backend (pip install liger-kernel).",
    )
    optim: Optimizer = setting("adamw_8bit", "Optimizer, by its transformers name.")
    logging_steps: int = setting(1, "Steps between two log lines.", unit="steps", ge=1)
    eval_steps: int = setting(50, "Steps between two held-out measurements.", unit="steps", ge=1)
    eval_generation_holes: int = setting(
        0,
        "Held-out holes, always the same, that are completed at every held-out measurement; 0 "
        "measures the loss alone.",
        unit="holes",
        ge=0,
        le=4096,
    )
    best_metric: HeldOutMetric = setting(
        "none",
        "Held-out figure whose best checkpoint becomes the adapter; none keeps the last step.",
    )
    early_stopping_metric: HeldOutMetric = setting(
        "none", "Held-out figure that ends training when it no longer gets better; none never."
    )
    early_stopping_patience: int = setting(
        3, "Measurements in a row without a gain that end training.", unit="measurements", ge=1
    )
    early_stopping_min_delta: float = setting(
        0.0, "Least change of the figure that counts as a gain.", ge=0
    )
    save_steps: int = setting(50, "Steps between two checkpoints.", unit="steps", ge=1)
    save_total_limit: int = setting(2, "Checkpoints kept.", unit="checkpoints", ge=1)
    report_to: Tracker = setting("none", "Tracker that gets the metrics as well.")
    seed: int = setting(3407, "Seed of weights, order and dropout.", ge=0, le=MAX_SEED)
    max_minutes: float | None = setting(
        None,
        "Time after which training stops cleanly, the learning rate decayed to it.",
        unit="minutes",
        gt=0,
        example="5.0",
    )
    group_by_length: bool = setting(
        default=True, description="Batch rows of similar length: less padding."
    )

    max_tokens_per_batch: int | None = setting(
        None,
        "Most tokens computed at a time, padding included: a step's rows are cut into batches by "
        "it; none cuts them by per_device_train_batch_size. Packed rows have packing_tokens.",
        unit="tokens",
        ge=1,
        example="8192",
    )

    packing: Literal["auto", "none", "bfd", "tree"] = setting(
        "auto",
        "Rows in one sequence: tree shares what holes of a document have in common, bfd puts whole "
        "rows side by side; auto takes the fastest that is exact.",
    )
    packing_prefix_share: float = setting(
        1.0,
        "Least share of its prefix that a training row keeps so that holes of a document begin at "
        "the same place and share more; 1 keeps all.",
        unit="share of 1",
        gt=0,
        le=1,
    )
    trunk_loss: float = setting(
        0.0,
        "Weight of a plain language-model loss on the text before the cursor of every trunk under "
        "tree packing; it takes the place of plain rows (data.fim_rate) at no extra forward.",
        unit="share of a trained token",
        ge=0,
        le=1,
    )
    packing_tokens: int | None = setting(
        None,
        "Most tokens in a packed row; none takes those of a batch of the longest rows.",
        unit="tokens",
        ge=1,
        example="4096",
    )


class EvalSettings(Section):
    """How models are measured."""

    num_holes: int = setting(200, "Held-out holes that are scored.", unit="holes", ge=1)
    max_new_tokens: int = setting(96, "Longest completion that is scored.", unit="tokens", ge=1)
    batch_size: int = setting(16, "Holes scored together.", unit="holes", ge=1, le=4096)
    bootstrap_draws: int = setting(
        10_000, "Draws behind a 95 % interval.", unit="draws", ge=100, le=1_000_000
    )
    seed: int = setting(3407, "Seed of sampling and bootstrap.", ge=0, le=MAX_SEED)


class LogSettings(Section):
    """What is logged and where to, besides stderr."""

    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
    ] = setting("INFO", "Least severity that is logged.")
    format: Literal["text", "json"] = setting("text", "Text for people or one JSON object a line.")
    file: OptionalPath = setting(None, "File that gets the log as well.", example="fim.log")
