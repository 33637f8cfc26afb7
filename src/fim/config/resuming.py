"""A run that goes on with other settings: what is taken over, and what makes it another run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr

from fim.config.conflicts import find_conflicts
from fim.config.fields import as_plain, as_text
from fim.config.loading import GIVEN_BY_USER, ResolvedSettings, SourcedValue
from fim.config.problems import problems_error
from fim.config.settings import Settings, setting_values, with_values
from fim.config.sources import COMMAND_LINE, PRESET_KEY

DATA_PATH = "data.path"
_MAX_STEPS, _EPOCHS = "train.max_steps", "train.num_train_epochs"
_BOUND_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "model": "the base and the rows it can hold stay those of the checkpoint",
        "lora": "the adapter of the checkpoint has its shape",
        "data": "the rows stay those of the checkpoint",
        "corpus": "the examples are built already",
    }
)
_ORDER = "it decides which rows a step has"
_BOUND_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "train.output_dir": "the run stays in its folder",
        "train.per_device_train_batch_size": _ORDER,
        "train.gradient_accumulation_steps": _ORDER,
        "train.group_by_length": _ORDER,
        "train.max_tokens_per_batch": _ORDER,
        "train.packing": _ORDER,
        "train.packing_tokens": _ORDER,
        "train.packing_prefix_share": _ORDER,
        "train.trunk_loss": "it decides what the rows train",
        "train.seed": _ORDER,
        "train.optim": "the checkpoint holds the state of its optimizer",
    }
)
_FREE_SETTINGS = frozenset({"lora.gradient_checkpointing"})
_FOLDERS = frozenset({DATA_PATH, "train.output_dir", "log.file", "model.name"})


def why_bound(key: str) -> str:
    """Return why a run cannot go on with another value of a setting; empty where it can."""
    if key in _FREE_SETTINGS:
        return ""
    return _BOUND_SETTINGS.get(key) or _BOUND_SECTIONS.get(key.partition(".")[0], "")


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A value that the user gave and that is not the run's own.

    Args:
        key: Dotted key, or ``preset``.
        before: The run's own value, JSON-ready, masked when secret.
        after: The value given, likewise.
        source: Where it was given.
    """

    key: str
    before: object
    after: object
    source: str

    def as_json(self) -> dict[str, object]:
        """Return the change as JSON-ready data."""
        return {"before": self.before, "after": self.after, "source": self.source}

    def __str__(self) -> str:
        """Return the change in words."""
        return f"{self.key}: {as_text(self.before)} -> {as_text(self.after)} ({self.source})"


@dataclass(frozen=True, slots=True)
class ResumedSettings:
    """The settings that a run goes on with.

    Args:
        resolved: The run's own with what the user changed, with the origin of every value.
        said: What every source has said so far, for the next time.
        changes: What is changed.
        refused: What the user gave and the run cannot go on with.
        outdated: What a source says as it said it already when the run was set otherwise.
    """

    resolved: ResolvedSettings
    said: Mapping[str, tuple[SourcedValue, ...]]
    changes: tuple[SettingChange, ...]
    refused: tuple[SettingChange, ...] = ()
    outdated: tuple[SettingChange, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run recorded of its settings.

    Args:
        settings: Its own settings.
        sources: Where they came from.
        said: What every source said then, by dotted key, whether it counted or not.
        folder: The run's folder.
        has_own_data: It built its examples itself.
    """

    settings: Settings
    sources: Mapping[str, str]
    said: Mapping[str, tuple[SourcedValue, ...]] = field(default_factory=dict)
    folder: Path = Path()
    has_own_data: bool = False

    def has_seen(self, key: str, value: object, source: str) -> bool:
        """Tell whether a source said the same when the run was set; the command line never did."""
        return source != COMMAND_LINE and SourcedValue(value, source) in self.said.get(key, ())


def resume_settings(record: RunRecord, given: ResolvedSettings) -> ResumedSettings:
    """Put what the user gave over a run's own settings; what the user did not give never counts.

    Args:
        record: What the run recorded.
        given: Settings of the command that resumes it.

    Raises:
        ConfigError: The values together are impossible.
    """
    wishes, outdated = _wishes(record, given)
    wishes, overruled = _with_one_end(wishes, record, given)
    refused = tuple(wish for wish in wishes if wish.key in overruled or _is_refused(wish, record))
    if refused:
        refused = tuple(wish for wish in wishes if wish in refused or wish.key == DATA_PATH)
    changes = tuple(wish for wish in wishes if wish not in refused)
    values = dict(setting_values(given.settings)) | {_MAX_STEPS: _steps(changes, given)}
    token = {"hf.token": given.settings.hf.token}
    merged = with_values(record.settings, token | {each.key: values[each.key] for each in changes})
    problems = () if refused else find_conflicts(merged, doubtful=frozenset())
    if problems:
        raise problems_error(problems)
    return ResumedSettings(
        ResolvedSettings(
            merged,
            {
                **record.sources,
                "hf.token": given.sources["hf.token"],
                **{each.key: each.source for each in changes},
            },
        ),
        {**record.said, **{each.key: said_of(given, each.key) for each in changes}},
        changes,
        refused,
        outdated,
    )


def _wishes(
    record: RunRecord, given: ResolvedSettings
) -> tuple[list[SettingChange], tuple[SettingChange, ...]]:
    """Return what the user gave and is not the run's own, and what is no news among it."""
    wishes: list[SettingChange] = []
    outdated: list[SettingChange] = []
    own = dict(setting_values(record.settings))
    pairs: list[tuple[str, object, object]] = [
        (PRESET_KEY, record.settings.preset, given.settings.preset)
    ]
    pairs += [(key, own[key], value) for key, value in setting_values(given.settings)]
    for key, before, after in pairs:
        source = given.sources[key]
        if not given.is_given(key) or _is_same(key, before, after, record):
            continue
        change = SettingChange(key, as_plain(before), as_plain(after), source)
        if not record.has_seen(key, change.after, source):
            wishes.append(change)
        elif not isinstance(after, SecretStr):
            outdated.append(change)
    return wishes, tuple(outdated)


def _is_same(key: str, before: object, after: object, record: RunRecord) -> bool:
    """Tell whether two values mean the same: paths may be spelt in several ways."""
    if before == after:
        return True
    if isinstance(after, SecretStr) or key not in _FOLDERS or after is None:
        return False
    places = set() if before is None else {Path(str(before)).resolve()}
    if key == "train.output_dir":
        places.add(record.folder.resolve().parent)
    if key == DATA_PATH and record.has_own_data:
        places.add((record.folder / "data").resolve())
    return Path(str(after)).resolve() in places


def _is_refused(wish: SettingChange, record: RunRecord) -> bool:
    if wish.key == PRESET_KEY:
        return True
    if wish.key == DATA_PATH:
        return record.has_own_data or wish.after is None
    return bool(why_bound(wish.key))


def _with_one_end(
    wishes: list[SettingChange], record: RunRecord, given: ResolvedSettings
) -> tuple[list[SettingChange], frozenset[str]]:
    """Let new epochs end the run where its own ``max_steps`` would; return what cannot count.

    Epochs that a weaker source names than the steps would have no effect.
    """
    named = {wish.key: wish for wish in wishes}
    own = record.settings.train.max_steps
    epochs = named.get(_EPOCHS)
    if epochs is None or _MAX_STEPS in named or own < 0:
        return wishes, frozenset()
    if given.is_given(_MAX_STEPS) and _rank(given.sources[_MAX_STEPS]) <= _rank(epochs.source):
        return wishes, frozenset({_EPOCHS})
    change = SettingChange(_MAX_STEPS, own, -1, f"{epochs.source}, by {_EPOCHS}")
    return [*wishes, change], frozenset()


def _steps(changes: Collection[SettingChange], given: ResolvedSettings) -> object:
    steps = [change.after for change in changes if change.key == _MAX_STEPS]
    return steps[0] if steps else given.settings.train.max_steps


def _rank(source: str) -> int:
    return next(at for at, name in enumerate(GIVEN_BY_USER) if source.startswith(name))


def said_of(given: ResolvedSettings, key: str) -> tuple[SourcedValue, ...]:
    """Return what the user's sources say of a setting, whether it counts or not."""
    value = (
        given.settings.preset if key == PRESET_KEY else dict(setting_values(given.settings))[key]
    )
    said = (SourcedValue(as_plain(value), given.sources[key]), *given.overridden.get(key, ()))
    return tuple(each for each in said if each.source.startswith(GIVEN_BY_USER))


def refusal_reason(change: SettingChange) -> str:
    """Return why a run cannot go on with a change, in words."""
    if change.key == PRESET_KEY:
        return "a preset names the base, the format and the batches of a run"
    if change.key == _EPOCHS:
        return f"{_MAX_STEPS} ends the run, and `--set {_MAX_STEPS}=-1` lets the epochs do so"
    return why_bound(change.key) or "the run has examples of its own"


def spelling(change: SettingChange) -> tuple[str, str]:
    """Return the option that keeps the run's own value: ``("--set", "train.seed=1")``."""
    own = as_text(change.before)
    return ("--preset", own) if change.key == PRESET_KEY else ("--set", f"{change.key}={own}")
