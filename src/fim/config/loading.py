"""Settings from all their sources: merged, checked, each value with its origin."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from fim.config.conflicts import find_conflicts
from fim.config.fields import MASK, NONE_WORDS, FieldFacts, as_plain, as_text
from fim.config.files import ENV_FILE, unquoted
from fim.config.fitting import GivenWay, values_that_give_way
from fim.config.problems import Problem, ProblemKind, problems_error
from fim.config.settings import Settings, known_settings, setting_values
from fim.config.sources import (
    COMMAND_LINE,
    PRESET_KEY,
    TOML_FILE,
    Layer,
    env_file_layer,
    override_layer,
    preset_layer,
    toml_layer,
    variable_layer,
)

DEFAULT_SOURCE = "default"
GIVEN_BY_USER = (COMMAND_LINE, "environment", ENV_FILE, TOML_FILE)


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A value as one source gave it, JSON-ready and masked when secret."""

    value: object
    source: str


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """Settings with the origin of every value.

    Args:
        settings: The values in force.
        sources: Origin of each by dotted key: ``command line``, ``environment FIM_…``, ``.env``,
            ``fim.toml``, ``preset cpu`` or ``default``; ``preset`` has one too.
        overridden: Values that lost, by dotted key, the strongest first.
        notes: What was read otherwise than it was written, one sentence each, for the log.
    """

    settings: Settings
    sources: Mapping[str, str]
    overridden: Mapping[str, tuple[SourcedValue, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def is_given(self, key: str) -> bool:
        """Tell whether the user gave a value, stronger than any preset."""
        return self.sources[key].startswith(GIVEN_BY_USER)

    def as_json(self) -> dict[str, object]:
        """Return what ``fim config show --json`` prints, secrets masked."""
        sections: dict[str, dict[str, object]] = {}
        for key, value in setting_values(self.settings):
            section, name = key.split(".")
            entry = {"value": as_plain(value), "source": self.sources[key]}
            sections.setdefault(section, {})[name] = entry
        preset = {"value": self.settings.preset, "source": self.sources[PRESET_KEY]}
        return {"preset": preset, "settings": sections}


def load_settings(
    *,
    overrides: Mapping[str, object] | None = None,
    preset: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> ResolvedSettings:
    """Merge command line, environment, ``.env``, ``fim.toml``, preset and defaults, in this order.

    Args:
        overrides: Values by dotted key, such as ``{"train.seed": 1}``; None values are not given.
        preset: Preset asked for on the command line; ``none`` turns off one asked for elsewhere.
        env: Variables in place of the process environment.
        cwd: Folder of ``.env`` and ``fim.toml`` in place of the working directory.

    Raises:
        UnknownSettingError: keys that nothing reads, and nothing else is wrong.
        ConflictingSettingsError: values that are impossible together, and nothing else is wrong.
        InvalidSettingError: anything else; all problems are in ``context["problems"]``.
    """
    resolved, problems = _resolve(overrides, preset, env, cwd)
    if problems:
        raise problems_error(problems)
    return resolved


def check_settings(
    *,
    overrides: Mapping[str, object] | None = None,
    preset: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> tuple[Problem, ...]:
    """Return everything that ``load_settings`` would refuse."""
    return _resolve(overrides, preset, env, cwd)[1]


def _resolve(
    overrides: Mapping[str, object] | None,
    preset: str | None,
    env: Mapping[str, str] | None,
    cwd: Path | None,
) -> tuple[ResolvedSettings, tuple[Problem, ...]]:
    variables = os.environ if env is None else env
    folder = cwd or Path.cwd()
    asked = {PRESET_KEY: preset, **(overrides or {})} if preset else overrides or {}
    by_user = [
        override_layer(asked),
        variable_layer("environment", variables),
        env_file_layer(folder, variables),
        toml_layer(folder),
    ]
    preset_name, preset_origin = _chosen_preset(by_user)
    by_preset = [preset_layer(preset_name, preset_origin)] if preset_name else []
    layers = [*by_user, *by_preset]
    problems = [problem for layer in layers for problem in layer.problems]
    settings, refused = _build(layers, preset_name)
    given = {key for layer in by_user for key in layer.values} - set(refused)
    ways = values_that_give_way(dict(setting_values(settings)), given)
    fitting = [Layer(way.source, {way.key: way.value}, {way.key: way.key}) for way in ways]
    layers = [*by_user, *fitting, *by_preset]
    settings, refused = _build(layers, preset_name)
    problems += [_refusal(key, layers) for key in refused]
    problems += find_conflicts(settings, doubtful=frozenset(refused))
    return _with_sources(settings, layers, preset_origin, ways), tuple(problems)


def _chosen_preset(layers: Sequence[Layer]) -> tuple[str | None, str]:
    """Return the preset that the strongest source asks for, with its origin."""
    for layer in layers:
        if layer.preset:
            name = layer.preset.strip()
            return (None if name.lower() in NONE_WORDS else name), _preset_origin(layer)
    return None, DEFAULT_SOURCE


def _preset_origin(layer: Layer) -> str:
    return f"{layer.source} FIM_PRESET" if layer.source == "environment" else layer.source


def _build(layers: Sequence[Layer], preset_name: str | None) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings in force and the keys whose value was refused and left at its default."""
    nested: dict[str, dict[str, object]] = {}
    for layer in reversed(layers):
        for key, raw in layer.values.items():
            section, name = key.split(".")
            nested.setdefault(section, {})[name] = _decoded(raw, known_settings()[key])
    try:
        return Settings.model_validate({"preset": preset_name, **nested}), ()
    except ValidationError as error:
        refused = tuple(
            dict.fromkeys(f"{item['loc'][0]}.{item['loc'][1]}" for item in error.errors())
        )
    for key in refused:
        section, name = key.split(".")
        del nested[section][name]
    return Settings.model_validate({"preset": preset_name, **nested}), refused


def _decoded(raw: object, facts: FieldFacts) -> object:
    """Turn the text of a list or of ``none`` into the value it stands for."""
    if not isinstance(raw, str):
        return raw
    raw = unquoted(raw)
    if facts.is_optional and raw.strip().lower() in NONE_WORDS:
        return None
    if not facts.is_list:
        return raw
    if raw.lstrip().startswith("["):
        try:
            return json.loads(raw)
        except json.JSONDecodeError:
            return raw
    return tuple(item.strip() for item in raw.split(",") if item.strip())


def _refusal(key: str, layers: Sequence[Layer]) -> Problem:
    """Return the problem of a value that its field does not take."""
    layer = next(layer for layer in layers if key in layer.values)
    facts = known_settings()[key]
    seen = MASK if facts.is_secret else repr(layer.values[key])
    unit = f" ({facts.unit})" if facts.unit else ""
    return Problem(
        ProblemKind.INVALID,
        layer.spellings[key],
        f"{key} is {seen} ({layer.origin(key)}), but it must be {facts.accepts}{unit}",
        f"for example {facts.example}; `fim config explain {key}` tells more",
    )


def _with_sources(
    settings: Settings, layers: Sequence[Layer], preset_origin: str, ways: Sequence[GivenWay]
) -> ResolvedSettings:
    sources = {PRESET_KEY: preset_origin}
    presets = [
        SourcedValue(layer.preset, _preset_origin(layer)) for layer in layers if layer.preset
    ]
    overridden: dict[str, tuple[SourcedValue, ...]] = {}
    if presets[1:]:
        overridden[PRESET_KEY] = tuple(presets[1:])
    for key, facts in known_settings().items():
        setters = [layer for layer in layers if key in layer.values]
        sources[key] = setters[0].origin(key) if setters else DEFAULT_SOURCE
        if setters:
            lost = [
                SourcedValue(
                    MASK if facts.is_secret else as_plain(_decoded(layer.values[key], facts)),
                    layer.origin(key),
                )
                for layer in setters[1:]
            ]
            overridden[key] = (*lost, SourcedValue(as_plain(facts.default), DEFAULT_SOURCE))
    notes = [note for layer in layers for note in layer.notes]
    for because in dict.fromkeys(way.because for way in ways):
        brought = [
            f"{way.key}={as_text(way.value)} in place of {as_text(overridden[way.key][0].value)} "
            f"({overridden[way.key][0].source})"
            for way in ways
            if way.because == because
        ]
        notes.append(f"{because} brings {' and '.join(brought)}")
    return ResolvedSettings(settings, sources, overridden, tuple(notes))
