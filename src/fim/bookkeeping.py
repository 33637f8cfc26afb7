"""A run's own records: the folder it opens, its status, the settings that it resumes with."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fim.config import ResolvedSettings, Settings, SourcedValue, settings_record
from fim.config.fields import as_text
from fim.config.resuming import (
    DATA_PATH,
    ResumedSettings,
    RunRecord,
    SettingChange,
    refusal_reason,
    resume_settings,
    said_of,
    spelling,
)
from fim.config.settings import with_values
from fim.data.sides import HELD_OUT, TRAIN
from fim.errors import (
    ConflictingSettingsError,
    FimError,
    InterruptedRunError,
    ResumeMismatchError,
    RunFolderError,
)
from fim.logger import get_logger
from fim.runs import RunFolder, RunState, collect_environment, find_run, list_runs
from fim.runs.folder import local_now
from fim.runs.followed import FollowedRun
from fim.runs.writing import read_json
from fim.training import find_checkpoint
from fim.training.processes import is_main, of_main

_log = get_logger("bookkeeping")


def open_run(resolved: ResolvedSettings, out: Path | None) -> RunFolder:
    """Make a run folder and record in it what is about to run, and where.

    Of several processes that train together the main one makes and writes it.

    Raises:
        RunFolderError: The folder cannot be made or written, or holds a run.
    """
    settings = resolved.settings
    if not is_main():
        return FollowedRun(of_main(Path()))
    if out is not None:
        run = RunFolder.create_at(out.expanduser())
    else:
        run = RunFolder.create(settings.train.output_dir, settings.model.name)
    of_main(run.path)
    run.write_json(run.config, settings_record(settings))
    run.write_json(run.sources, dict(resolved.sources))
    said = {key: said_of(resolved, key) for key in resolved.sources}
    _write_said(run, said)
    run.write_json(run.environment, collect_environment())
    return run


@contextmanager
def recording(run: RunFolder) -> Iterator[None]:
    """Keep the run's status true: done at the end, interrupted or failed on the way.

    A run that refuses to go on with something else is what it was before.

    Raises:
        InterruptedRunError: Ctrl-C came where no checkpoint was needed.
    """
    before = run.status
    run.set_status(RunState.RUNNING)
    try:
        yield
    except ResumeMismatchError:
        run.set_status(before.state, before.reason)
        raise
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


def find_resumable(root: Path, name: str) -> RunFolder:
    """Return the run that ``--resume`` names; ``last`` is the newest one with a checkpoint.

    Raises:
        RunFolderError: There is no such run, or it holds no checkpoint.
    """
    run = _newest_with_checkpoint(root) if name == "last" else find_run(root, name)
    if not run.has_checkpoint:
        raise RunFolderError(
            f"{run.path} holds no checkpoint, so there is nothing to go on with",
            hint="`fim runs list` shows the runs; start anew with: fim train",
        )
    return run if is_main() else FollowedRun(run.path)


def _newest_with_checkpoint(root: Path) -> RunFolder:
    """Return the newest run under a root that can go on; newer ones that cannot are told."""
    runs = [RunFolder(summary.path) for summary in list_runs(root)]
    newest = runs[0] if runs else find_run(root, "latest")
    able = next((run for run in runs if run.has_checkpoint), newest)
    if able is not newest:
        _log.warning("%s has no checkpoint; last is %s", newest.shown_path, able.shown_path)
    return able


def settings_of_run(run: RunFolder) -> Settings:
    """Return the settings a run began with; its own data set is used again where it built one.

    Raises:
        RunFolderError: They cannot be read.
    """
    return _with_own_data(_recorded(run).settings, run)


@dataclass(frozen=True, slots=True)
class GoingOn:
    """A run that goes on.

    Args:
        run: Its folder.
        before: Its settings until now.
        resumed: Its settings from now on, and what changed.
    """

    run: RunFolder
    before: Settings
    resumed: ResumedSettings

    @property
    def resolved(self) -> ResolvedSettings:
        """Its settings from now on with their sources."""
        return self.resumed.resolved

    @property
    def settings(self) -> Settings:
        """What it goes on with; its own data set is used again where it built one."""
        return _with_own_data(self.resolved.settings, self.run)

    def tell(self) -> None:
        """Say what changed, and what a source says that is no news."""
        for change in self.resumed.changes:
            _log.info("changed for %s: %s", self.run.shown_path, change)
        for change in self.resumed.outdated:
            _log.info(
                "%s=%s (%s) was there already when the run was set to %s, which counts",
                change.key,
                as_text(change.after),
                change.source,
                as_text(change.before),
            )

    def as_json(self) -> dict[str, object]:
        """Return the changes as JSON-ready data."""
        return {"changed": {change.key: change.as_json() for change in self.resumed.changes}}

    def check_rows(self, manifest: Mapping[str, object]) -> None:
        """Refuse other rows than those that the run was trained on until now.

        Args:
            manifest: Of the examples that it would go on with.

        Raises:
            ResumeMismatchError: They differ.
        """
        if _has_own_data(self.run):
            return
        known = (read_json(self.run.data_manifest) or {}).get("hashes")
        now = manifest.get("hashes")
        if not isinstance(known, Mapping) or not isinstance(now, Mapping):
            return
        data = self.settings.data
        what = f"data.path={data.path}" if data.path else f"data.dataset_name={data.dataset_name}"
        if known.get(TRAIN) != now.get(TRAIN):
            raise ResumeMismatchError(
                f"{what} holds other training rows than {self.run.shown_path} was trained on "
                f"(then: {known.get(TRAIN)}; now: {now.get(TRAIN)}); going on would mix two data "
                "sets into one adapter.",
                hint="give the rows of the run, or start a new run without --resume",
                context={"differs": [DATA_PATH], "path": str(self.run.path)},
            )
        if known.get(HELD_OUT) != now.get(HELD_OUT):
            _log.warning("%s holds other held-out rows now: figures compare no more", what)

    def record(self) -> None:
        """Write what changed into the run, its history kept."""
        changes = self.resumed.changes
        if not changes:
            return
        run, resolved = self.run, self.resolved
        run.append_resume(
            {
                "time": local_now().isoformat(timespec="seconds"),
                "checkpoint": find_checkpoint(run.path).name,
                **self.as_json(),
            }
        )
        run.write_json(run.config, settings_record(resolved.settings))
        run.write_json(run.sources, dict(resolved.sources))
        _write_said(run, self.resumed.said)


def go_on_with(given: ResolvedSettings, name: str, *, out: Path | None = None) -> GoingOn:
    """Return the run that ``--resume`` names with what the user changed; nothing is written.

    Args:
        given: Settings of this command, with their sources.
        name: ``last``, a run's name or its folder.
        out: The folder of a new run, which a resumed one cannot have.

    Raises:
        RunFolderError: There is no such run, it holds no checkpoint, or cannot be read.
        ConflictingSettingsError: A new folder was named.
        ResumeMismatchError: The run cannot go on with a value that the user gave.
        ConfigError: The values together are impossible.
    """
    run = find_resumable(given.settings.train.output_dir, name)
    if out is not None and out.expanduser().resolve() != run.path.resolve():
        raise ConflictingSettingsError(
            f"--out {out} and --resume {name} are both given, and a resumed run stays in its "
            f"folder {run.shown_path}",
            hint="leave --out away, or start a new run without --resume",
        )
    record = _recorded(run)
    resumed = resume_settings(record, given)
    if resumed.refused:
        raise _refused(run, resumed.refused)
    return GoingOn(run, record.settings, resumed)


def _refused(run: RunFolder, refused: Sequence[SettingChange]) -> ResumeMismatchError:
    lines = [f"{run.shown_path} cannot go on with what is set otherwise:"]
    lines += [
        f"  - {each.key} is {as_text(each.after)} ({each.source}), the run's is "
        f"{as_text(each.before)}: {refusal_reason(each)}"
        for each in refused
    ]
    kept = [word for each in refused for word in spelling(each)]
    return ResumeMismatchError(
        "\n".join(lines),
        hint="to go on as it began: "
        + shlex.join(("fim", "train", "--resume", run.shown_path, *kept)),
        context={
            "differs": [each.key for each in refused],
            "refused": {each.key: each.as_json() for each in refused},
        },
    )


def _recorded(run: RunFolder) -> RunRecord:
    try:
        record = json.loads(run.config.read_text(encoding="utf-8"))
        settings = Settings.model_validate(record)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{run.config} cannot be read ({error}), so the run cannot go on as it began",
            hint="start a new run: fim train",
        ) from error
    return RunRecord(
        settings=settings,
        sources={key: str(source) for key, source in (read_json(run.sources) or {}).items()},
        said=_read_said(run),
        folder=run.path,
        has_own_data=_has_own_data(run),
    )


def _has_own_data(run: RunFolder) -> bool:
    return (run.path / "data" / "manifest.json").is_file()


def _with_own_data(settings: Settings, run: RunFolder) -> Settings:
    if not _has_own_data(run):
        return settings
    return with_values(settings, {DATA_PATH: run.path / "data"})


def _write_said(run: RunFolder, said: Mapping[str, Sequence[SourcedValue]]) -> None:
    run.write_json(
        run.given,
        {key: [asdict(each) for each in values] for key, values in said.items() if values},
    )


def _read_said(run: RunFolder) -> dict[str, tuple[SourcedValue, ...]]:
    """Return what sources said of a run; a file of another shape says nothing."""
    said = {}
    for key, values in (read_json(run.given) or {}).items():
        rows = values if isinstance(values, list) else []
        said[key] = tuple(
            SourcedValue(row.get("value"), str(row.get("source")))
            for row in rows
            if isinstance(row, dict)
        )
    return said


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
