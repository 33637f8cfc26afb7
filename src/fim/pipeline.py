"""The composition root: settings in, a run folder or a completer out. Read it from top to bottom.

``run_training`` is the whole path of ``fim train``: check the machine, open a run folder, gather
and encode examples, load the model, train, write what a person and a script want to read
afterwards. ``make_completer`` is the whole path of ``fim complete``.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fim.adapters import (
    is_whole_model,
    settings_for_adapter,
    trained_folder_of,
    trained_format,
    trained_model,
    write_adapter_settings,
)
from fim.bookkeeping import GoingOn, fingerprint_settings, go_on_with, open_run, recording
from fim.config import ResolvedSettings, Settings
from fim.data import (
    EncodedSet,
    ExampleEncoder,
    Mixture,
    PromptLoss,
    TokenizerView,
    align_holes,
    cut_aligner,
    encode_examples,
    encode_mixture,
    mix_examples,
    share_starts,
)
from fim.data.sources import find_sources
from fim.evaluation import TRAINED_ROWS_FILE, TrainedRows, hole_measurement
from fim.formats import build_formats, resolve_format
from fim.gathering import Examples, gather_examples
from fim.model import LoadedModel, ModelLoader
from fim.results import publish, write_results
from fim.runs import RunFolder, find_latest_finished
from fim.training.processes import is_main, join_group
from fim.training.selection import check_selection
from fim.training.trackers import check_tracker

if TYPE_CHECKING:
    from fim.errors import FimError
    from fim.exporting import HubUpload
    from fim.formats import ResolvedFormat
    from fim.inference import CodeCompleter
    from fim.training import TrainingResult
    from fim.types import Progress

NUM_EVAL_ROWS = 64


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that training needs besides the model's weights."""

    settings: Settings
    loader: ModelLoader
    encoder: ExampleEncoder
    examples: Examples
    train_set: EncodedSet
    eval_set: EncodedSet | None


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """A finished training run."""

    run: RunFolder
    prepared: Prepared
    result: TrainingResult
    upload: HubUpload | FimError | None = None
    going_on: GoingOn | None = None

    def as_json(self) -> dict[str, object]:
        """Return what ``fim train --json`` prints."""
        figures = asdict(self.result) | {"adapter": str(self.result.adapter)}
        hub = {} if self.upload is None else {"hub": self.upload.as_json()}
        resumed = {} if self.going_on is None else {"resumed": self.going_on.as_json()}
        return {"run": str(self.run.path), **figures, **hub, **resumed}


def run_training(
    resolved: ResolvedSettings,
    *,
    out: Path | None = None,
    resume: str | None = None,
    command: str = "fim",
    progress: Progress | None = None,
) -> TrainingOutcome:
    """Train an adapter as the settings say and leave a run folder.

    Args:
        resolved: Settings with their sources; a resumed run keeps its own where the user gave
            nothing, and takes over or refuses by name what differs.
        out: The run folder; None makes one under ``train.output_dir``.
        resume: A run to go on with: ``last``, its name or its folder.
        command: How ``fim`` is called, for the commands that are printed.
        progress: Told of every stage.

    Raises:
        FimError: Anything in the way, by branch: configuration, data, machine, model, training.
    """
    going_on = None if resume is None else go_on_with(resolved, resume, out=out)
    resolved = resolved if going_on is None else going_on.resolved
    settings = resolved.settings if going_on is None else going_on.settings
    loader = make_loader(settings)
    loader.check()
    check_start(settings)
    loader.check_parts()
    make_encoder(settings, TokenizerView(loader.tokenizer()), is_training=True)
    join_group()
    progress = progress if is_main() else None
    run, examples = _begin(resolved, out, going_on, progress)
    with recording(run):
        if going_on is not None:
            going_on.record()
        prepared = prepare(settings, loader, run=run, examples=examples, progress=progress)
        loaded = load_for_training(prepared)
        result = fit(
            loaded,
            prepared,
            run=run,
            settings_before=None if going_on is None else going_on.before,
            command=command,
            progress=progress,
        )
        kind, trained = ("--model", "model") if loaded.is_full else ("--adapter", "adapter")
        complete = shlex.join((command, "complete", kind, f"{run.shown_path}/{trained}"))
        report = shlex.join((command, "report", run.shown_path))
        if is_main():
            write_results(
                run,
                model=settings.model.name,
                record=prepared.encoder.resolved.record(),
                result=result,
                more={"commands": [f"{complete} --prefix TEXT --suffix TEXT", report]},
            )
    upload = publish(resolved, run) if is_main() else None
    return TrainingOutcome(run, prepared, result, upload, going_on)


def check_start(settings: Settings) -> None:
    """Refuse what can be known to stop a training run before it leaves anything behind.

    Raises:
        SourceNotFoundError: There are no data at ``data.path``.
        UnknownFormatError: There is no such format.
        ConflictingSettingsError: The format cannot have anchor lines, or a held-out figure decides
            that is not measured.
        MissingExtraError: The tracker is not installed.
    """
    train = settings.train
    check_tracker(train.report_to)
    check_selection(train, has_rows=True, has_holes=train.eval_generation_holes > 0)
    build_formats(settings.data.format, anchor_lines=settings.data.anchor_lines)
    if settings.data.path is not None:
        find_sources(settings.data.path)


def _begin(
    resolved: ResolvedSettings,
    out: Path | None,
    going_on: GoingOn | None,
    progress: Progress | None,
) -> tuple[RunFolder, Examples | None]:
    """Return the run, and its examples where it goes on: they must be those of before.

    Raises:
        ResumeMismatchError: Its rows are others now; nothing was written.
        RunFolderError: The folder cannot be made, or holds a run.
    """
    if going_on is None:
        return open_run(resolved, out), None
    going_on.tell()
    run = going_on.run
    examples = gather_examples(going_on.settings, folder=run.path / "data", progress=progress)
    going_on.check_rows(examples.manifest)
    return run, examples


def make_loader(settings: Settings) -> ModelLoader:
    """Return the loader of the settings' model."""
    return ModelLoader(
        model=settings.model, lora=settings.lora, hf=settings.hf, seed=settings.train.seed
    )


def make_encoder(
    settings: Settings,
    view: TokenizerView,
    *,
    resolved_format: ResolvedFormat | None = None,
    is_training: bool = False,
) -> ExampleEncoder:
    """Return the encoder of the settings' format and budget.

    Args:
        settings: ``model`` and ``data`` give format and budget.
        view: The tokenizer.
        resolved_format: A format in place of the settings' one.
        is_training: Let ``data.enable_response_masking`` decide where the loss is taken.

    Raises:
        UnknownFormatError: There is no such format.
        FormatUnsupportedError: The tokenizer lacks its control tokens.
    """
    data = settings.data
    wanted = resolved_format or resolve_format(
        data.format, view, anchor_lines=data.anchor_lines, is_extended=settings.model.add_tokens
    )
    return ExampleEncoder(
        wanted,
        view,
        max_seq_length=settings.model.max_seq_length,
        middle_reserve_tokens=data.middle_reserve_tokens,
        prefix_share=data.prefix_share,
        max_context_items=data.max_context_items,
        loss_on="middle" if data.enable_response_masking or not is_training else "all",
    )


def prepare(
    settings: Settings,
    loader: ModelLoader,
    *,
    run: RunFolder,
    examples: Examples | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Gather and encode the examples, and record where they came from.

    Raises:
        DataError: The data cannot be used.
        FormatUnsupportedError: The tokenizer lacks the format's control tokens.
    """
    view = TokenizerView(loader.tokenizer())
    encoder = make_encoder(settings, view, is_training=True)
    loader.check_control_ids(encoder.resolved.token_ids.values())
    if examples is None:
        examples = gather_examples(settings, folder=run.path / "data", progress=progress)
    if progress is not None:
        progress.start("encoding examples", len(examples.train))
    align = cut_aligner(encoder.resolved.format, view, is_wanted=settings.data.align_cuts)
    mixed = align_holes(mix_examples(examples.train, Mixture.of(settings.data)), align)
    train_set = encode_mixture(
        mixed,
        encoder,
        is_extended=settings.model.add_tokens,
        prompt_loss=PromptLoss(settings.data.prompt_loss_share, settings.data.seed),
        progress=progress,
    )
    share = settings.train.packing_prefix_share
    train_set = replace(train_set, rows=share_starts(train_set.rows, encoder, least_share=share))
    shown = tuple(map(align, examples.held_out[:NUM_EVAL_ROWS]))
    eval_set = encode_examples(shown, encoder) if shown else None
    if progress is not None:
        progress.finish(
            f"{len(train_set.rows):,} rows, {train_set.num_tokens:,} tokens, "
            f"{train_set.num_supervised_tokens:,} of them trained"
        )
    encoding = {
        "train": train_set.report.as_json(),
        "tokens": train_set.num_tokens,
        "supervised_tokens": train_set.num_supervised_tokens,
        "not_round_trip": train_set.num_not_round_trip,
        "mixture": dict(mixed.effects),
    }
    run.write_json(run.data_manifest, {**examples.manifest, "encoding": encoding})
    run.write_json(run.path / TRAINED_ROWS_FILE, TrainedRows.of(examples.train).as_json())
    return Prepared(settings, loader, encoder, examples, train_set, eval_set)


def load_for_training(prepared: Prepared) -> LoadedModel:
    """Load the base model and put a fresh adapter on it.

    Raises:
        SetupError: The model cannot be loaded here.
    """
    control_ids = tuple(prepared.encoder.resolved.token_ids.values())
    loader = prepared.loader
    is_wanted = prepared.settings.lora.train_control_tokens
    return loader.for_training(
        loader.load(is_training=True), control_token_ids=control_ids if is_wanted else ()
    )


def fit(
    loaded: LoadedModel,
    prepared: Prepared,
    *,
    run: RunFolder,
    settings_before: Settings | None = None,
    command: str = "fim",
    progress: Progress | None = None,
) -> TrainingResult:
    """Train the adapter and leave it, with its format and settings, in the run folder.

    Args:
        loaded: The base with its trainable adapter.
        prepared: Rows and settings.
        run: Where everything is written.
        settings_before: Go on from the run's newest checkpoint, which had these settings.
        command: How ``fim`` is called, for the resume command.
        progress: Gets the steps.

    Raises:
        TrainingError: Training cannot go on.
        InterruptedRunError: Ctrl-C; a checkpoint was written.
    """
    from fim.training import Trainer

    resolved = prepared.encoder.resolved
    trainer = Trainer(
        loaded=loaded,
        train_rows=prepared.train_set.rows,
        eval_rows=prepared.eval_set.rows if prepared.eval_set is not None else (),
        settings=prepared.settings.train,
        run=run,
        format_record=resolved.record(),
        fingerprints={"config": fingerprint_settings(prepared.settings)},
        measure_holes=hole_measurement(
            loaded, prepared.encoder, prepared.settings, prepared.examples.held_out
        ),
        progress=progress,
        resume_command=shlex.join((command, "train", "--resume", run.shown_path)),
        pad_id=resolved.pad_id,
        settings_before=None if settings_before is None else settings_before.train,
    )
    result = trainer.train(resume=run.path if settings_before is not None else None)
    if is_main():
        write_adapter_settings(result.adapter, prepared.settings)
        TrainedRows.of(prepared.examples.train).write(result.adapter)
    return result


def make_completer(
    resolved: ResolvedSettings, *, adapter: Path | None = None, is_base_alone: bool = False
) -> CodeCompleter:
    """Return a completer with an adapter on its base, asked exactly as it was trained.

    Args:
        resolved: Settings; what the adapter was trained with counts where the user gave nothing.
        adapter: Adapter folder, a checkpoint or a whole run; None takes the newest finished run
            under ``train.output_dir``.
        is_base_alone: Use the settings' model without any adapter, in the settings' format or, if
            training made it whole, in its own.

    Raises:
        NoFinishedRunError: No adapter was named and no run is finished.
        AdapterMismatchError: The adapter belongs to another base or another format.
        SetupError: The model cannot be loaded here.
    """
    from fim.inference import CodeCompleter

    settings = resolved.settings
    if is_base_alone:
        folder = trained_model(settings.model.name)
    else:
        folder = trained_folder_of(adapter or find_latest_finished(settings.train.output_dir).path)
    if folder is not None:
        settings = settings_for_adapter(resolved, folder)
    loader = make_loader(settings)
    loader.check(is_training=False)
    loader.check_parts(is_training=False)
    view = TokenizerView(loader.tokenizer())
    wanted = None if folder is None else trained_format(folder, view)
    encoder = make_encoder(settings, view, resolved_format=wanted)
    loader.check_control_ids(encoder.resolved.token_ids.values())
    loaded = loader.load()
    if folder is not None and not is_whole_model(folder):
        loaded = loader.with_adapter(loaded, folder)
    return CodeCompleter(
        model=loaded.model,
        encoder=encoder,
        settings=settings.infer,
        control_ids=view.control_ids,
        is_frozen=True,
    )
