"""The composition root: settings in, a run folder or a completer out. Read it from top to bottom.

``run_training`` is the whole path of ``fim train``: check the machine, open a run folder, gather
and encode examples, load the model, train, write what a person and a script want to read
afterwards. ``make_completer`` is the whole path of ``fim complete``.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fim.adapters import settings_for_adapter, write_adapter_settings
from fim.config import ResolvedSettings, Settings, settings_record
from fim.data import (
    EncodedSet,
    ExampleEncoder,
    Mixture,
    TokenizerView,
    encode_examples,
    encode_mixture,
    mix_examples,
    share_starts,
)
from fim.errors import FimError, InterruptedRunError, RunFolderError
from fim.formats import read_record, resolve_format, resolve_record
from fim.gathering import Examples, gather_examples
from fim.logger import get_logger
from fim.model import LoadedModel, ModelLoader
from fim.results import write_results
from fim.runs import RunFolder, RunState, collect_environment, find_latest_finished, find_run

if TYPE_CHECKING:
    from fim.formats import ResolvedFormat
    from fim.inference import CodeCompleter
    from fim.training import TrainingResult
    from fim.types import Progress

NUM_EVAL_ROWS = 64
_log = get_logger("pipeline")


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

    def as_json(self) -> dict[str, object]:
        """Return what ``fim train --json`` prints."""
        figures = asdict(self.result) | {"adapter": str(self.run.adapter)}
        return {"run": str(self.run.path), **figures}


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
        resolved: Settings with their sources; a resumed run keeps the ones it began with.
        out: The run folder; None makes one under ``train.output_dir``.
        resume: A run to go on with: ``last``, its name or its folder.
        command: How ``fim`` is called, for the commands that are printed.
        progress: Told of every stage.

    Raises:
        FimError: Anything in the way, by branch: configuration, data, machine, model, training.
    """
    if resume is not None:
        run = find_resumable(resolved.settings.train.output_dir, resume)
        settings = settings_of_run(run)
    else:
        settings = resolved.settings
    loader = make_loader(settings)
    loader.check()
    if resume is None:
        run = open_run(resolved, out)
    with recording(run):
        prepared = prepare(settings, loader, run=run, progress=progress)
        loaded = load_for_training(prepared)
        result = fit(
            loaded,
            prepared,
            run=run,
            is_resumed=resume is not None,
            command=command,
            progress=progress,
        )
        complete = shlex.join((command, "complete", "--adapter", f"{run.shown_path}/adapter"))
        report = shlex.join((command, "report", run.shown_path))
        write_results(
            run,
            model=settings.model.name,
            record=prepared.encoder.resolved.record(),
            result=result,
            more={"commands": [f"{complete} --prefix TEXT --suffix TEXT", report]},
        )
    return TrainingOutcome(run, prepared, result)


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


def open_run(resolved: ResolvedSettings, out: Path | None) -> RunFolder:
    """Make a run folder and record in it what is about to run, and where.

    Raises:
        RunFolderError: The folder cannot be made or written, or holds a run.
    """
    settings = resolved.settings
    if out is not None:
        run = RunFolder.create_at(out)
    else:
        run = RunFolder.create(settings.train.output_dir, settings.model.name)
    run.write_json(run.config, settings_record(settings))
    run.write_json(run.sources, dict(resolved.sources))
    run.write_json(run.environment, collect_environment())
    return run


@contextmanager
def recording(run: RunFolder) -> Iterator[None]:
    """Keep the run's status true: done at the end, interrupted or failed on the way.

    Raises:
        InterruptedRunError: Ctrl-C came where no checkpoint was needed.
    """
    run.set_status(RunState.RUNNING)
    try:
        yield
    except InterruptedRunError as error:
        run.set_status(RunState.INTERRUPTED, error.message)
        raise
    except KeyboardInterrupt as interrupt:
        run.set_status(RunState.INTERRUPTED, "stopped by the user before training began")
        raise InterruptedRunError(
            f"stopped before training began; {run.path} holds no checkpoint yet",
            hint="run the same command again",
        ) from interrupt
    except FimError as error:
        _record_failure(run, error.message)
        raise
    except Exception as error:
        _record_failure(run, f"{type(error).__name__}: {error}")
        raise
    run.set_status(RunState.DONE)


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
    encoder = make_encoder(settings, TokenizerView(loader.tokenizer()), is_training=True)
    if examples is None:
        examples = gather_examples(settings, folder=run.path / "data", progress=progress)
    if progress is not None:
        progress.start("encoding examples", len(examples.train))
    mixed = mix_examples(examples.train, Mixture.of(settings.data))
    train_set = encode_mixture(
        mixed, encoder, is_extended=settings.model.add_tokens, progress=progress
    )
    share = settings.train.packing_prefix_share
    train_set = replace(train_set, rows=share_starts(train_set.rows, encoder, least_share=share))
    shown = examples.held_out[:NUM_EVAL_ROWS]
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
    return Prepared(settings, loader, encoder, examples, train_set, eval_set)


def load_for_training(prepared: Prepared) -> LoadedModel:
    """Load the base model and put a fresh adapter on it.

    Raises:
        SetupError: The model cannot be loaded here.
    """
    control_ids = tuple(prepared.encoder.resolved.token_ids.values())
    loader = prepared.loader
    is_wanted = prepared.settings.lora.train_control_tokens
    return loader.for_training(loader.load(), control_token_ids=control_ids if is_wanted else ())


def fit(
    loaded: LoadedModel,
    prepared: Prepared,
    *,
    run: RunFolder,
    is_resumed: bool = False,
    command: str = "fim",
    progress: Progress | None = None,
) -> TrainingResult:
    """Train the adapter and leave it, with its format and settings, in the run folder.

    Args:
        loaded: The base with its trainable adapter.
        prepared: Rows and settings.
        run: Where everything is written.
        is_resumed: Go on from the run's newest checkpoint.
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
        progress=progress,
        resume_command=shlex.join((command, "train", "--resume", run.shown_path)),
        pad_id=resolved.pad_id,
    )
    result = trainer.train(resume=run.path if is_resumed else None)
    write_adapter_settings(run, prepared.settings)
    return result


def find_resumable(root: Path, name: str) -> RunFolder:
    """Return the run that ``--resume`` names; ``last`` is the newest one with a checkpoint.

    Raises:
        RunFolderError: There is no such run, or it holds no checkpoint.
    """
    run = find_run(root, "latest" if name == "last" else name)
    if not any(run.checkpoints.glob("checkpoint-*")):
        raise RunFolderError(
            f"{run.path} holds no checkpoint, so there is nothing to go on with",
            hint="`fim runs list` shows the runs; start anew with: fim train",
        )
    return run


def settings_of_run(run: RunFolder) -> Settings:
    """Return the settings a run began with; its own data set is used again where it built one.

    Raises:
        RunFolderError: They cannot be read.
    """
    try:
        record = json.loads(run.config.read_text(encoding="utf-8"))
        settings = Settings.model_validate(record)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{run.config} cannot be read ({error}), so the run cannot go on as it began",
            hint="start a new run: fim train",
        ) from error
    built = run.path / "data"
    if not (built / "manifest.json").is_file():
        return settings
    return settings.model_copy(update={"data": settings.data.model_copy(update={"path": built})})


def make_completer(
    resolved: ResolvedSettings, *, adapter: Path | None = None, is_base_alone: bool = False
) -> CodeCompleter:
    """Return a completer with an adapter on its base, asked exactly as it was trained.

    Args:
        resolved: Settings; what the adapter was trained with counts where the user gave nothing.
        adapter: Adapter folder; None takes the newest finished run under ``train.output_dir``.
        is_base_alone: Use the settings' base model and format without any adapter.

    Raises:
        NoFinishedRunError: No adapter was named and no run is finished.
        AdapterMismatchError: The adapter belongs to another base or another format.
        SetupError: The model cannot be loaded here.
    """
    from fim.inference import CodeCompleter

    settings = resolved.settings
    if not is_base_alone:
        adapter = adapter or find_latest_finished(settings.train.output_dir).adapter
        settings = settings_for_adapter(resolved, adapter)
    loader = make_loader(settings)
    loader.check(is_training=False)
    wanted = None
    if adapter is not None:
        view = TokenizerView(loader.tokenizer())
        wanted = resolve_record(read_record(adapter), view)
    loaded = loader.load()
    view = TokenizerView(loaded.tokenizer)
    if adapter is not None:
        loaded = loader.with_adapter(loaded, adapter)
    encoder = make_encoder(settings, view, resolved_format=wanted)
    return CodeCompleter(
        model=loaded.model,
        encoder=encoder,
        settings=settings.infer,
        control_ids=view.control_ids,
    )


def fingerprint_settings(settings: Settings) -> str:
    """Return a hash over everything that is set."""
    text = json.dumps(settings_record(settings), sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


def _record_failure(run: RunFolder, reason: str) -> None:
    """Set the status to failed; a folder that cannot be written any more keeps its last status."""
    try:
        run.set_status(RunState.FAILED, reason)
    except RunFolderError as error:
        _log.warning("%s", error.message)
