"""Everything there is to know about one setting in force."""

from __future__ import annotations

from dataclasses import dataclass

from fim.config.fields import as_plain
from fim.config.loading import ResolvedSettings, SourcedValue
from fim.config.presets import PRESETS
from fim.config.problems import did_you_mean
from fim.config.settings import known_settings, setting_values
from fim.config.sources import PRESET_KEY, PRESET_VARIABLE
from fim.errors import UnknownSettingError


@dataclass(frozen=True, slots=True)
class Explanation:
    """One setting: what it means, what it may be, what it is and why.

    Args:
        key: Dotted key.
        env_name: Variable that sets it.
        description: What it does.
        unit: Unit of the value; empty when it has none.
        accepts: What a value must be.
        default: Value without any source, JSON-ready.
        value: Value in force, JSON-ready.
        source: Origin of the value in force.
        overrode: Values that lost, the strongest first.
    """

    key: str
    env_name: str
    description: str
    unit: str
    accepts: str
    default: object
    value: object
    source: str
    overrode: tuple[SourcedValue, ...]

    def as_json(self) -> dict[str, object]:
        """Return what ``fim config explain --json`` prints."""
        return {
            "key": self.key,
            "value": self.value,
            "source": self.source,
            "description": self.description,
            "unit": self.unit,
            "accepts": self.accepts,
            "default": self.default,
            "env": self.env_name,
            "overrode": [{"value": lost.value, "source": lost.source} for lost in self.overrode],
        }


def explain_setting(name: str, resolved: ResolvedSettings) -> Explanation:
    """Explain a setting named by its key, its variable or, where only one has it, its bare field.

    Raises:
        UnknownSettingError: no setting has this name.
    """
    if name in {PRESET_KEY, PRESET_VARIABLE}:
        return _explain_preset(resolved)
    key = _key_of(name)
    facts = known_settings()[key]
    return Explanation(
        key=key,
        env_name=facts.env_name,
        description=facts.description,
        unit=facts.unit,
        accepts=facts.accepts,
        default=as_plain(facts.default),
        value=as_plain(dict(setting_values(resolved.settings))[key]),
        source=resolved.sources[key],
        overrode=resolved.overridden.get(key, ()),
    )


def _key_of(name: str) -> str:
    known = known_settings()
    variables = {facts.env_name: key for key, facts in known.items()}
    if name in known:
        return name
    if name.upper() in variables:
        return variables[name.upper()]
    namesakes = [key for key in known if key.endswith(f".{name}")]
    if len(namesakes) == 1:
        return namesakes[0]
    if namesakes:
        hint = "say which: " + ", ".join(namesakes)
    else:
        hint = did_you_mean(name, variables if name.upper().startswith("FIM_") else known)
    message = f"{name} is not a setting, so there is nothing to explain"
    raise UnknownSettingError(message, hint=hint, context={"key": name})


def _explain_preset(resolved: ResolvedSettings) -> Explanation:
    presets = " ".join(preset.summary for preset in PRESETS.values())
    return Explanation(
        key=PRESET_KEY,
        env_name=PRESET_VARIABLE,
        description=f"Values for a class of machines. {presets}",
        unit="",
        accepts=f"one of {', '.join(PRESETS)}, or none",
        default=None,
        value=resolved.settings.preset,
        source=resolved.sources[PRESET_KEY],
        overrode=resolved.overridden.get(PRESET_KEY, ()),
    )
