"""A trained folder that explains itself: the settings it needs beside its weights and format.

A checkpoint of a run keeps neither; both are read from the run that it lies in.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fim.config import ResolvedSettings, Settings, settings_record
from fim.errors import AdapterMismatchError, ModelNotFoundError
from fim.formats import FORMAT_FILE, read_record, resolve_format, resolve_record
from fim.model.adapter import RECORD_FILE
from fim.model.source import folder_of, kind_of
from fim.runs import RunFolder
from fim.runs.writing import read_json, write_json

if TYPE_CHECKING:
    from fim.data import TokenizerView
    from fim.formats import ResolvedFormat

SETTINGS_FILE = "fim_settings.json"
_KEPT: Mapping[str, tuple[str, ...]] = {
    "model": ("name", "revision", "max_seq_length", "dtype", "load_in_4bit", "add_tokens"),
    "data": ("middle_reserve_tokens", "prefix_share", "max_context_items"),
    "infer": ("stop", "token_healing"),
}
_BASE_PATH = "base_path"
_CHECKPOINT_FILE = "fim_checkpoint.json"
_GIVEN_BY_USER = ("command line", "environment", ".env", "fim.toml")


def is_whole_model(folder: Path) -> bool:
    """Tell whether a trained folder holds a whole model and no adapter."""
    return (folder / "config.json").is_file()


def trained_model(name: str) -> Path | None:
    """Return the folder that a model name means where fim has trained that model whole."""
    folder = folder_of(name)
    return folder if is_whole_model(folder) and (folder / FORMAT_FILE).is_file() else None


def trained_folder_of(folder: Path) -> Path:
    """Return the folder of trained weights that a folder means: a run stands for what it left.

    Raises:
        ModelNotFoundError: The run has left nothing yet.
    """
    run = _run_in(folder)
    if run is None:
        return folder
    if run.trained is not None:
        return run.trained
    steps = sorted(
        run.checkpoints.glob("checkpoint-*/adapter_config.json"),
        key=lambda path: path.stat().st_mtime_ns,
    )
    hint = "go on with the run: " + shlex.join(("fim", "train", "--resume", str(folder)))
    if steps:
        hint = f"its newest checkpoint can be asked: --adapter {shlex.quote(str(steps[-1].parent))}"
    raise ModelNotFoundError(
        f"the run {folder} is {run.status.state} and has left no adapter, so there is none to load",
        hint=hint if run.checkpoints.is_dir() else "`fim runs list` shows the finished runs",
        context={"adapter": str(folder)},
    )


def run_of_checkpoint(folder: Path) -> RunFolder | None:
    """Return the run that a checkpoint lies in; None for any other folder."""
    if not (folder / _CHECKPOINT_FILE).is_file():
        return None
    return _run_in(folder.resolve().parents[1])


def trained_format(folder: Path, view: TokenizerView) -> ResolvedFormat:
    """Return the format that trained weights were trained in, on a tokenizer.

    Raises:
        AdapterMismatchError: The format is unknown, or another one by now.
        FormatUnsupportedError: The tokenizer lacks its control tokens.
    """
    run = None if (folder / FORMAT_FILE).is_file() else run_of_checkpoint(folder)
    if run is None:
        return resolve_record(read_record(folder), view)
    if run.trained is not None and (run.trained / FORMAT_FILE).is_file():
        return resolve_record(read_record(run.trained), view)
    try:
        settings = Settings.model_validate(read_json(run.config))
    except ValueError as error:
        raise _unusable(run.config, error) from error
    data = settings.data
    found = resolve_format(
        data.format, view, anchor_lines=data.anchor_lines, is_extended=settings.model.add_tokens
    )
    identity = (read_json(folder / _CHECKPOINT_FILE) or {}).get("identity")
    known = identity.get("format") if isinstance(identity, Mapping) else None
    if known != found.record().fingerprint:
        raise AdapterMismatchError(
            f"{folder} was trained in another form of the format {found.format.name} ({known}) "
            f"than this version of fim writes ({found.record().fingerprint})",
            hint="go on with the version of fim that trained it, or train again: fim train",
        )
    return found


def write_adapter_settings(folder: Path, settings: Settings) -> Path:
    """Keep the settings that a completion with a trained folder needs, and return the file.

    A base that is a folder is kept under its full path besides, so that it is found from anywhere.

    Raises:
        RunFolderError: The file system refused.
    """
    record = settings_record(settings)
    kept = {section: _pick(record[section], names) for section, names in _KEPT.items()}
    base = Path(settings.model.name).expanduser()
    if base.is_dir():
        kept["model"][_BASE_PATH] = str(base.parent.resolve() / base.name)
    return write_json(folder / SETTINGS_FILE, kept)


def settings_for_adapter(resolved: ResolvedSettings, adapter: Path) -> Settings:
    """Return the settings with what the adapter was trained with, where the user gave nothing else.

    Args:
        resolved: Settings in force with their sources.
        adapter: Adapter folder, a checkpoint of a run, or a model that was trained whole; one
            without stored settings changes nothing.

    Raises:
        AdapterMismatchError: The stored settings cannot be read.
        ModelNotFoundError: The base that they name is a folder that is not there.
    """
    run = run_of_checkpoint(adapter)
    path = adapter / SETTINGS_FILE if run is None else run.config
    if not path.is_file():
        return resolved.settings
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if is_whole_model(adapter):
            stored["model"] |= {"name": str(adapter), "revision": None}
        changed = {
            section: {
                name: value
                for name, value in _pick(stored.get(section, {})).items()
                if name in names
                and not resolved.sources[f"{section}.{name}"].startswith(_GIVEN_BY_USER)
            }
            for section, names in _KEPT.items()
        }
        if "name" in changed["model"] and not is_whole_model(adapter):
            changed["model"]["name"] = _base_name(stored["model"], path, adapter)
        record = settings_record(resolved.settings)
        merged = {
            section: {**_pick(record[section]), **values} for section, values in changed.items()
        }
        checked = Settings.model_validate({**record, **merged})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(path, error) from error
    return checked.model_copy(update={"hf": resolved.settings.hf})


def _base_name(stored: Mapping[str, object], path: Path, adapter: Path) -> str:
    """Return the base of stored settings, by its full path where its name leads elsewhere.

    Raises:
        ModelNotFoundError: It is a folder that is not there.
    """
    name = str(stored["name"])
    known = stored.get(_BASE_PATH) or (read_json(adapter / RECORD_FILE) or {}).get(_BASE_PATH)
    here = Path(name).expanduser()
    if known is not None and Path(str(known)).is_dir():
        return name if here.is_dir() and here.samefile(str(known)) else str(known)
    if here.exists() or (known is None and kind_of(name) != "folder"):
        return name
    where = f", which was {known} when it was trained," if known and str(known) != name else ""
    raise ModelNotFoundError(
        f"the model folder {name}{where} does not exist here; it is the base of the adapter, named "
        f"by {path}, and an adapter says nothing without its base",
        hint=f"name the folder that holds the base now: --adapter {shlex.quote(str(adapter))} "
        "--model FOLDER",
        context={"model": name, "named_by": str(path), "adapter": str(adapter)},
    )


def _run_in(folder: Path) -> RunFolder | None:
    return RunFolder.open(folder) if (folder / "STATUS").is_file() else None


def _unusable(path: Path, error: Exception) -> AdapterMismatchError:
    return AdapterMismatchError(
        f"{path} cannot be used ({error}), so it is unknown how the adapter was trained",
        hint="copy the whole adapter folder again, or train again: fim train",
    )


def _pick(values: object, names: tuple[str, ...] | None = None) -> dict[str, object]:
    if not isinstance(values, Mapping):
        message = f"expected an object, got {type(values).__name__}"
        raise TypeError(message)
    return {str(name): values[name] for name in (names if names is not None else values)}
