"""An adapter folder that explains itself: the settings it needs beside its weights and format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fim.config import ResolvedSettings, Settings, settings_record
from fim.errors import AdapterMismatchError
from fim.formats import FORMAT_FILE
from fim.runs.writing import write_json

SETTINGS_FILE = "fim_settings.json"
_KEPT: Mapping[str, tuple[str, ...]] = {
    "model": ("name", "revision", "max_seq_length", "dtype", "load_in_4bit", "add_tokens"),
    "data": ("middle_reserve_tokens", "prefix_share", "max_context_items"),
}
_GIVEN_BY_USER = ("command line", "environment", ".env", "fim.toml")


def is_whole_model(folder: Path) -> bool:
    """Tell whether a trained folder holds a whole model and no adapter."""
    return (folder / "config.json").is_file()


def trained_model(name: str) -> Path | None:
    """Return the folder that a model name means where fim has trained that model whole."""
    folder = Path(name).expanduser()
    return folder if is_whole_model(folder) and (folder / FORMAT_FILE).is_file() else None


def write_adapter_settings(folder: Path, settings: Settings) -> Path:
    """Keep the settings that a completion with a trained folder needs, and return the file.

    Raises:
        RunFolderError: The file system refused.
    """
    record = settings_record(settings)
    kept = {section: _pick(record[section], names) for section, names in _KEPT.items()}
    return write_json(folder / SETTINGS_FILE, kept)


def settings_for_adapter(resolved: ResolvedSettings, adapter: Path) -> Settings:
    """Return the settings with what the adapter was trained with, where the user gave nothing else.

    Args:
        resolved: Settings in force with their sources.
        adapter: Adapter folder, or a model that was trained whole; one without stored settings
            changes nothing.

    Raises:
        AdapterMismatchError: The stored settings cannot be read.
    """
    path = adapter / SETTINGS_FILE
    if not path.is_file():
        return resolved.settings
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if is_whole_model(adapter):
            stored["model"] |= {"name": str(adapter), "revision": None}
        changed = {
            section: {
                name: value
                for name, value in _pick(stored[section]).items()
                if name in names
                and not resolved.sources[f"{section}.{name}"].startswith(_GIVEN_BY_USER)
            }
            for section, names in _KEPT.items()
        }
        record = settings_record(resolved.settings)
        merged = {
            section: {**_pick(record[section]), **values} for section, values in changed.items()
        }
        checked = Settings.model_validate({**record, **merged})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterMismatchError(
            f"{path} cannot be used ({error}), so it is unknown how the adapter was trained",
            hint="copy the whole adapter folder again, or train again: fim train",
        ) from error
    return checked.model_copy(update={"hf": resolved.settings.hf})


def _pick(values: object, names: tuple[str, ...] | None = None) -> dict[str, object]:
    if not isinstance(values, Mapping):
        message = f"expected an object, got {type(values).__name__}"
        raise TypeError(message)
    return {str(name): values[name] for name in (names if names is not None else values)}
