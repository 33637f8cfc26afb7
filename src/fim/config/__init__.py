"""Settings: sections, sources, presets, and the origin of every value.

Nothing else in fim reads the environment. Everybody else receives the section that it needs.
"""

from __future__ import annotations

from fim.config.data_sections import CorpusSettings, DataSettings
from fim.config.explain import Explanation, explain_setting
from fim.config.fields import FieldFacts, Section
from fim.config.loading import (
    ResolvedSettings,
    SourcedValue,
    check_settings,
    load_settings,
)
from fim.config.model_sections import HfSettings, InferSettings, LoraSettings, ModelSettings
from fim.config.presets import (
    EMBEDDED_CORPUS_NAME,
    EMBEDDED_MODEL_NAME,
    PRESETS,
    Preset,
    preset_for,
)
from fim.config.problems import Problem, did_you_mean
from fim.config.run_sections import EvalSettings, LogSettings, TrainSettings
from fim.config.settings import Settings, known_settings, setting_values, settings_record
from fim.config.switches import (
    Switches,
    c_compiler,
    cache_folder,
    hub_token_place,
    read_switches,
)

__all__ = [
    "EMBEDDED_CORPUS_NAME",
    "EMBEDDED_MODEL_NAME",
    "PRESETS",
    "CorpusSettings",
    "DataSettings",
    "EvalSettings",
    "Explanation",
    "FieldFacts",
    "HfSettings",
    "InferSettings",
    "LogSettings",
    "LoraSettings",
    "ModelSettings",
    "Preset",
    "Problem",
    "ResolvedSettings",
    "Section",
    "Settings",
    "SourcedValue",
    "Switches",
    "TrainSettings",
    "c_compiler",
    "cache_folder",
    "check_settings",
    "did_you_mean",
    "explain_setting",
    "hub_token_place",
    "known_settings",
    "load_settings",
    "preset_for",
    "read_switches",
    "setting_values",
    "settings_record",
]
