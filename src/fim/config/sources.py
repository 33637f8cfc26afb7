"""The places that settings come from, each read into one layer of keys and values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from fim.config.fields import ENV_PREFIX
from fim.config.files import (
    ENV_FILE,
    broken_file,
    folded_variables,
    read_env_file,
    read_text,
    unquoted,
)
from fim.config.presets import PRESETS
from fim.config.problems import Problem, ProblemKind, closest, did_you_mean, unknown_key
from fim.config.settings import Settings, known_settings, section_types
from fim.config.switches import SWITCH_NAMES

PRESET_KEY = "preset"
PRESET_VARIABLE = "FIM_PRESET"
TOML_FILE = "fim.toml"
COMMAND_LINE = "command line"
_LINE_NUMBER = re.compile(r"at line (\d+)")


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source sets.

    Args:
        source: Name of the source, as provenance tells it.
        values: Raw values by dotted key.
        spellings: How the user wrote each key.
        preset: Preset that the source asks for.
        problems: What could not be read.
        notes: What was read otherwise than it was written, for the log.
    """

    source: str
    values: Mapping[str, object] = field(default_factory=dict)
    spellings: Mapping[str, str] = field(default_factory=dict)
    preset: str | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """Return where a key was set: the source, with the variable's name in the environment."""
        return (
            f"{self.source} {self.spellings[key]}" if self.source == "environment" else self.source
        )


class VariableSource(EnvSettingsSource):
    """The variables of a mapping in place of the process environment, lists left as text."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.env_vars = {name.lower(): value for name, value in variables.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: object) -> object:
        """Leave a list as its text, which is decoded alike for every source."""
        return value


def variable_layer(source: str, variables: Mapping[str, str]) -> Layer:
    """Read ``FIM_`` variables: empty ones are ignored, unknown ones are problems.

    Names count without regard to case; two spellings of one name must agree.
    """
    keys = {facts.env_name: key for key, facts in known_settings().items()}
    allowed = {*keys, *SWITCH_NAMES, PRESET_VARIABLE}
    ours, spellings = folded_variables(variables)
    used = {name: text for name, text in ours.items() if name in keys and unquoted(text).strip()}
    nested = VariableSource(Settings, used)()
    written = [name for names in spellings.values() for name in names]
    return Layer(
        source=source,
        values={
            f"{section}.{name}": value
            for section, fields in nested.items()
            for name, value in fields.items()
        },
        spellings={keys[name]: name for name in used},
        preset=unquoted(ours.get(PRESET_VARIABLE, "")).strip() or None,
        problems=(
            *(_unknown_variable(name, source) for name in written if name.upper() not in allowed),
            *_contradictions(variables, spellings, source),
        ),
        notes=tuple(
            f"{name} ({source}) counts as {name.upper()}"
            for name in written
            if name != name.upper() and name.upper() in allowed and variables[name].strip()
        ),
    )


def env_file_layer(cwd: Path, env: Mapping[str, str]) -> Layer:
    """Read ``.env``; variables of other programs in it are none of our business."""
    variables, problems = read_env_file(cwd, env)
    layer = variable_layer(ENV_FILE, variables)
    return replace(layer, problems=(*problems, *layer.problems))


def toml_layer(cwd: Path) -> Layer:
    """Read ``fim.toml``: one table per section and an optional ``preset``."""
    path = cwd / TOML_FILE
    if not path.exists():
        return Layer(TOML_FILE)
    text, problem = read_text(path, TOML_FILE)
    if problem:
        return Layer(TOML_FILE, problems=(problem,))
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE_NUMBER.search(str(error))
        line = int(found.group(1)) if found else max(len(text.splitlines()), 1)
        reason = str(error).partition(" (at ")[0]
        broken = broken_file(
            TOML_FILE,
            f"line {line} is not TOML: {reason}",
            "correct the line; fim.toml.example shows every setting",
        )
        return Layer(TOML_FILE, problems=(broken,))
    preset = document.pop(PRESET_KEY, None)
    values: dict[str, object] = {}
    problems: list[Problem] = []
    for key, value in _flattened(document):
        if key in known_settings():
            values[key] = value
        elif key in section_types():
            problems.append(
                broken_file(TOML_FILE, f"{key} is a section, not a value", f"write it as [{key}]")
            )
        else:
            problems.append(
                unknown_key(key, TOML_FILE, {*known_settings(), *section_types(), PRESET_KEY})
            )
    return Layer(
        TOML_FILE,
        values,
        {key: key for key in values},
        None if preset is None else str(preset),
        tuple(problems),
    )


def override_layer(overrides: Mapping[str, object]) -> Layer:
    """Read values given by the caller; None means that the option was not given."""
    given = {key: value for key, value in overrides.items() if value is not None}
    preset = given.pop(PRESET_KEY, None)
    known = known_settings()
    return Layer(
        COMMAND_LINE,
        {key: value for key, value in given.items() if key in known},
        {key: key for key in given},
        None if preset is None else str(preset),
        tuple(
            unknown_key(key, COMMAND_LINE, {*known, PRESET_KEY})
            for key in given
            if key not in known
        ),
    )


def preset_layer(name: str, origin: str) -> Layer:
    """Return the values of a preset; an unknown name is a problem."""
    if name not in PRESETS:
        problem = Problem(
            ProblemKind.INVALID,
            PRESET_KEY,
            f"preset is {name!r} ({origin}), but it must be one of {', '.join(PRESETS)}",
            did_you_mean(name, PRESETS, "take `cpu` on a machine without an accelerator"),
        )
        return Layer(f"preset {name}", problems=(problem,))
    values = PRESETS[name].values
    return Layer(f"preset {name}", values, {key: key for key in values})


def _unknown_variable(name: str, source: str) -> Problem:
    """Return the problem of a variable that nothing reads, its sections compared like keys."""
    spellings = {key: facts.env_name for key, facts in known_settings().items()}
    spellings |= {_dotted(known): known for known in (*SWITCH_NAMES, PRESET_VARIABLE)}
    match = closest(_dotted(name), spellings)
    problem = unknown_key(name, source, ())
    return replace(problem, hint=f"did you mean {spellings[match]}?") if match else problem


def _contradictions(
    variables: Mapping[str, str], spellings: Mapping[str, Sequence[str]], source: str
) -> Iterator[Problem]:
    """Yield the names that stand there in several spellings with several values."""
    for name, written in spellings.items():
        if len({variables[each] for each in written}) > 1:
            yield Problem(
                ProblemKind.INVALID,
                name,
                f"{' and '.join(written)} ({source}) are one name with several values, so it is "
                "unknown which counts",
                f"keep {name} alone",
            )


def _dotted(variable: str) -> str:
    """Return the key that a variable would have: ``FIM_TRAIN_SEED`` is ``train.seed``."""
    return variable.upper().removeprefix(ENV_PREFIX).lower().replace("_", ".", 1)


def _flattened(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield dotted keys with their values; a value at the top keeps its bare name."""
    for section, content in document.items():
        if isinstance(content, dict):
            for name, value in content.items():
                yield f"{section}.{name}", value
            if not content and section not in section_types():
                yield section, content
        else:
            yield section, content
