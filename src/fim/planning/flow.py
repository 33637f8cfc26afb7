"""The whole path of ``fim train --dry-run``: gather, encode, lay out and count; train nothing.

The tokenizer and the model's configuration are read, never its weights. Neither the GPU nor the
network nor the run folder is touched; a set that training would build is built in a temporary
folder and deleted.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fim.bookkeeping import GoingOn, go_on_with
from fim.errors import ModelNotFoundError
from fim.model import (
    Hardware,
    LoadedModel,
    ModelShape,
    check_requirements,
    choose_backend,
    choose_dtype,
    detect_hardware,
    needs_accelerator,
)
from fim.model.source import kind_of
from fim.packing import best_fit_decreasing
from fim.pipeline import check_start, make_loader, prepare
from fim.planning.memory import Load, MemoryEstimate, Place, estimate_memory
from fim.planning.offline import offline
from fim.planning.speed import TimeEstimate, estimate_seconds
from fim.runs import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PretrainedConfig, PreTrainedModel

    from fim.config import ResolvedSettings, Settings, TrainSettings
    from fim.config.resuming import SettingChange
    from fim.gathering import Examples
    from fim.packing import PackingPlan
    from fim.pipeline import Prepared
    from fim.types import EncodedExample, Progress

_SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """What a run that goes on would go on with.

    Args:
        step: Steps done.
        changed: Settings that change, with what they were and where they were given.
        news: What the run would say of its end and its learning rate.
    """

    step: int
    changed: tuple[SettingChange, ...]
    news: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return the plan as JSON-ready data."""
        changed = {change.key: change.as_json() for change in self.changed}
        return {"step": self.step, "changed": changed, "news": list(self.news)}


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training run would do.

    Args:
        model: Name of the base.
        place: Where and how it would be trained.
        examples: Rows to train on, after filtering.
        held_out: Rows to measure on.
        dropped: Reason -> examples that do not become rows.
        tokens: Ids of the rows.
        supervised_tokens: Ids that carry loss.
        steps: Optimizer steps.
        rows_per_step: Effective batch.
        packing: Facts of the packing.
        memory: Estimated peak; None for a model whose shape is not understood.
        time: Estimated time of the steps.
        run_folder: Where the run would go.
        uploads: What would leave the machine.
        sides: Usable rows of each side, as a run would count them, and what decides the side.
        resumed: Where a resumed run goes on, and with what; None for a new one.
    """

    model: str
    place: Place
    examples: int
    held_out: int
    dropped: Mapping[str, int]
    tokens: int
    supervised_tokens: int
    steps: int
    rows_per_step: int
    packing: Mapping[str, object]
    memory: MemoryEstimate | None
    time: TimeEstimate
    run_folder: str
    uploads: tuple[str, ...]
    sides: Mapping[str, object] = field(default_factory=dict)
    resumed: ResumePlan | None = None

    def as_json(self) -> dict[str, object]:
        """Return what ``fim train --dry-run --json`` prints."""
        memory, seconds = self.memory, self.time.seconds
        return {
            "model": self.model,
            "backend": self.place.backend,
            "device": self.place.device,
            "dtype": self.place.dtype,
            "examples": self.examples,
            "held_out": self.held_out,
            "dropped": dict(self.dropped),
            "tokens": self.tokens,
            "supervised_tokens": self.supervised_tokens,
            "supervised_share": round(self.supervised_tokens / self.tokens, 4),
            "steps": self.steps,
            "effective_batch": self.rows_per_step,
            "packing": self.packing["packing"],
            "packing_reason": self.packing["reason"],
            "token_gain": self.packing["token_gain"],
            "estimated_memory_mib": None if memory is None else round(memory.total_mib),
            "estimated_memory": None if memory is None else memory.as_json(),
            "estimated_seconds": None if seconds is None else round(seconds, 1),
            "estimated_seconds_basis": self.time.basis,
            "run_folder": self.run_folder,
            "uploads": list(self.uploads),
            "sides": dict(self.sides),
            **({} if self.resumed is None else {"resumed": self.resumed.as_json()}),
        }


def plan_training(
    resolved: ResolvedSettings,
    *,
    out: Path | None = None,
    resume: str | None = None,
    progress: Progress | None = None,
) -> TrainingPlan:
    """Return what :func:`fim.pipeline.run_training` would do with the same arguments.

    Raises:
        FimError: Anything that would stop the run before its model is loaded, a machine without a
            GPU excepted; data or a tokenizer that would have to be downloaded.
    """
    going_on = None if resume is None else go_on_with(resolved, resume, out=out)
    settings = resolved.settings
    if going_on is not None:
        out, settings, resolved = going_on.run.path, going_on.settings, going_on.resolved
        going_on.tell()
    check_start(settings)
    hardware = _hardware(settings)
    check_requirements(settings.model, hardware)
    prepared, config = _prepared(settings, progress)
    if going_on is not None:
        going_on.check_rows(prepared.examples.manifest)
    place = place_of(settings, hardware)
    packing = _packing(prepared, place, config)
    steps = _num_steps(prepared, packing, settings.train)
    resumed = _resumed(going_on, prepared, packing)
    budget, load = settings.train.max_minutes, _load(packing, prepared.train_set.rows)
    rows_per_step = packing.rows_per_step * _num_processes()
    tokens_per_row = packing.forest.num_tokens / len(prepared.train_set.rows)
    shape = ModelShape.of(config)
    return TrainingPlan(
        model=settings.model.name,
        place=place,
        examples=len(prepared.train_set.rows),
        held_out=len(prepared.eval_set.rows) if prepared.eval_set is not None else 0,
        dropped=dict(prepared.train_set.report.dropped),
        tokens=prepared.train_set.num_tokens,
        supervised_tokens=prepared.train_set.num_supervised_tokens,
        steps=steps,
        rows_per_step=rows_per_step,
        packing=packing.facts(),
        memory=estimate_memory(shape, settings.lora, load, place) if shape is not None else None,
        time=estimate_seconds(
            max(0, steps - (resumed.step if resumed else 0)) * rows_per_step * tokens_per_row,
            model=settings.model.name,
            place=place,
            budget_seconds=None if budget is None else budget * _SECONDS_PER_MINUTE,
        ),
        run_folder=str(out or settings.train.output_dir / "<new id>"),
        uploads=_uploads(resolved),
        sides=_sides(prepared.examples),
        resumed=resumed,
    )


def _prepared(settings: Settings, progress: Progress | None) -> tuple[Prepared, PretrainedConfig]:
    """Return the rows and the model's configuration, by what is on this machine alone."""
    with offline(), tempfile.TemporaryDirectory(prefix="fim-plan-") as folder:
        loader = make_loader(settings)
        scratch = RunFolder.create_at(Path(folder) / "run")
        with _told_what_is_missing(settings):
            loader.check_parts()
            prepared = prepare(settings, loader, run=scratch, progress=progress)
            return prepared, loader.config()


@contextmanager
def _told_what_is_missing(settings: Settings) -> Iterator[None]:
    """Say how to fetch what a dry run needs of a model on the hub.

    Raises:
        ModelNotFoundError: It is not on this machine.
    """
    try:
        yield
    except ModelNotFoundError as error:
        if kind_of(settings.model.name) != "hub":
            raise
        raise ModelNotFoundError(
            f"{error.message} A dry run downloads nothing, and needs the model's tokenizer and "
            "configuration.",
            hint=f"hf download {shlex.quote(settings.model.name)} config.json tokenizer.json "
            "tokenizer_config.json",
            context=error.context,
        ) from error


def place_of(settings: Settings, hardware: Hardware) -> Place:
    """Return where and how the settings' model would be trained on a machine."""
    from fim.training.precision import choose_optimizer

    device = hardware.accelerator
    return Place(
        device=device,
        dtype=choose_dtype(settings.model.dtype, hardware).name,
        backend=choose_backend(settings.model, hardware, is_training=True),
        is_quantised=settings.model.load_in_4bit,
        is_eager=settings.model.attn_implementation == "eager",
        optimizer=choose_optimizer(settings.train.optim, device),
        is_full=settings.model.full_finetuning,
    )


def _hardware(settings: Settings) -> Hardware:
    """Return the machine to plan for, without waking its GPU.

    A model that this machine would refuse for want of a GPU is planned for one.
    """
    import torch

    num_gpus = torch.cuda.device_count()
    if num_gpus or needs_accelerator(settings.model):
        return Hardware("cuda", name="a GPU", num_accelerators=num_gpus, has_bfloat16=True)
    return detect_hardware()


@dataclass(frozen=True, slots=True)
class _ConfigOnly:
    """What stands for a model where only its configuration is looked at."""

    config: PretrainedConfig


def _packing(prepared: Prepared, place: Place, config: PretrainedConfig) -> PackingPlan:
    """Return the packing that the trainer would choose, its check on the model's weights aside."""
    from fim.training import planned_packing
    from fim.training.loss import has_plain_head
    from fim.training.packing_check import packing_obstacle

    model = cast("PreTrainedModel", _ConfigOnly(config))
    settings = prepared.settings
    unloaded = LoadedModel(
        model=model,
        tokenizer=prepared.loader.tokenizer(),
        backend=place.backend,
        dtype=place.dtype,
        device=place.device,
        name=settings.model.name,
    )
    obstacle = packing_obstacle(
        unloaded,
        has_own_loss=place.backend == "transformers" and has_plain_head(model),
        wanted=settings.train.packing,
    )
    return planned_packing(prepared.train_set.rows, settings.train, obstacle=obstacle)


def _num_steps(prepared: Prepared, packing: PackingPlan, settings: TrainSettings) -> int:
    """Return the optimizer steps when no time budget ends training."""
    from fim.training.order import num_packed_steps, num_planned_steps

    if packing.name != "none":
        return num_packed_steps(packing.num_steps, settings)
    rows = len(prepared.train_set.rows)
    return num_planned_steps(max(1, rows // _num_processes()), settings)


def _resumed(
    going_on: GoingOn | None, prepared: Prepared, packing: PackingPlan
) -> ResumePlan | None:
    """Return where a run would go on, and what it would say."""
    if going_on is None:
        return None
    from fim.training.checkpoints import CheckpointRecord, find_checkpoint
    from fim.training.course import Course, resume_news
    from fim.training.selection import Selection

    record = CheckpointRecord.read(find_checkpoint(going_on.run.path))
    before, now = (
        Course(each.train, _num_steps(prepared, packing, each.train))
        for each in (going_on.before, going_on.settings)
    )
    selection = Selection(now.settings)
    selection.restore(record.selection)
    news = resume_news(
        before,
        now,
        step=record.step,
        elapsed_seconds=record.elapsed_seconds,
        has_stopped_early=selection.should_stop,
    )
    return ResumePlan(record.step, going_on.resumed.changes, news)


def _load(packing: PackingPlan, rows: Sequence[EncodedExample]) -> Load:
    """Return the tokens of the largest pass: a full batch of the longest rows, or a packed row."""
    longest = max(len(row.input_ids) for row in rows)
    most_supervised = sorted(
        (sum(label >= 0 for label in row.labels) for row in rows), reverse=True
    )
    if packing.name == "none":
        batch = max(1, packing.max_tokens // longest)
        return Load(batch * longest, longest, sum(most_supervised[:batch]))
    sizes = [tree.num_tokens for tree in packing.forest.trees]
    fullest = max(
        sum(sizes[at] for at in each) for each in best_fit_decreasing(sizes, packing.max_tokens)
    )
    return Load(fullest, longest, sum(most_supervised[: packing.rows_per_step]))


def _sides(examples: Examples) -> dict[str, object]:
    told = examples.manifest.get("sides")
    counts = {"train": len(examples.train), "held_out": len(examples.held_out)}
    return counts | (dict(told) if isinstance(told, Mapping) else {})


def _uploads(resolved: ResolvedSettings) -> tuple[str, ...]:
    """Return what would leave the machine; nothing unless it is asked for."""
    hf = resolved.settings.hf
    if not hf.push:
        return ()
    kind = "private" if hf.private else "public"
    return (f"adapter and model card to the {kind} hub repository {hf.repo or '<new id>'}",)


def _num_processes() -> int:
    """Return how many processes train together."""
    return max(1, int(os.environ.get("WORLD_SIZE", "1")))
