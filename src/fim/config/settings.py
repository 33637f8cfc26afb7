"""The root of the settings and the list of everything that can be set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import cast

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fim.config.data_sections import CorpusSettings, DataSettings
from fim.config.fields import ENV_PREFIX, FieldFacts, Section, field_facts
from fim.config.model_sections import HfSettings, InferSettings, LoraSettings, ModelSettings
from fim.config.run_sections import EvalSettings, LogSettings, TrainSettings


class Settings(BaseSettings):
    """Everything that can be set; ``Settings()`` alone holds the defaults and reads nothing.

    ``load_settings`` composes the sources, so that each value keeps the name of its own.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        frozen=True,
        extra="forbid",
    )

    preset: str | None = None
    model: ModelSettings = ModelSettings()
    lora: LoraSettings = LoraSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    infer: InferSettings = InferSettings()
    hf: HfSettings = HfSettings()
    eval: EvalSettings = EvalSettings()
    corpus: CorpusSettings = CorpusSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing behind the caller's back: only the values given."""
        return (init_settings,)


def section_types() -> Mapping[str, type[Section]]:
    """Return the sections by name, in the order in which they are documented."""
    return {
        name: cast("type[Section]", field.annotation)
        for name, field in Settings.model_fields.items()
        if name != "preset"
    }


@cache
def known_settings() -> Mapping[str, FieldFacts]:
    """Return the facts of every setting by its dotted key, in documented order."""
    return MappingProxyType(
        {
            f"{section}.{name}": field_facts(f"{section}.{name}", field)
            for section, kind in section_types().items()
            for name, field in kind.model_fields.items()
        }
    )


def setting_values(settings: Settings) -> Iterator[tuple[str, object]]:
    """Yield every dotted key with its value."""
    for key in known_settings():
        section, name = key.split(".")
        yield key, getattr(getattr(settings, section), name)


def with_values(settings: Settings, values: Mapping[str, object]) -> Settings:
    """Return settings with some values, already checked, by dotted key in place of their own."""
    sections: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = value
    changed = {
        section: getattr(settings, section).model_copy(update=fields)
        for section, fields in sections.items()
    }
    return settings.model_copy(update=changed)


def settings_record(settings: Settings) -> dict[str, object]:
    """Return settings, secrets left out, as JSON data that ``Settings.model_validate`` reads."""
    record: dict[str, object] = {"preset": settings.preset}
    for section in section_types():
        values = getattr(settings, section).model_dump(mode="json")
        secrets = {name for name in values if known_settings()[f"{section}.{name}"].is_secret}
        record[section] = {
            name: None if name in secrets else value for name, value in values.items()
        }
    return record
