"""Settings that are fine alone and impossible together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fim.config.presets import EMBEDDED_MODEL_NAME
from fim.config.problems import Problem, ProblemKind
from fim.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Conflict:
    """A rule over several settings.

    Args:
        keys: Settings that take part, the one to change first.
        is_broken: Tells whether settings break the rule.
        message: What is impossible; filled with the settings.
        hint: What to set instead.
    """

    keys: tuple[str, ...]
    is_broken: Callable[[Settings], bool]
    message: str
    hint: str


def _is_embedded(settings: Settings) -> bool:
    return settings.model.name == EMBEDDED_MODEL_NAME


CONFLICTS = (
    Conflict(
        ("data.middle_reserve_tokens", "model.max_seq_length"),
        lambda s: s.data.middle_reserve_tokens >= s.model.max_seq_length,
        "data.middle_reserve_tokens is {s.data.middle_reserve_tokens} and model.max_seq_length is "
        "{s.model.max_seq_length}: the reserve leaves no token for the prompt",
        "set data.middle_reserve_tokens to a quarter of model.max_seq_length or less",
    ),
    Conflict(
        ("infer.max_new_tokens", "model.max_seq_length"),
        lambda s: s.infer.max_new_tokens >= s.model.max_seq_length,
        "infer.max_new_tokens is {s.infer.max_new_tokens} and model.max_seq_length is "
        "{s.model.max_seq_length}: the completion leaves no token for the prompt",
        "lower infer.max_new_tokens or raise model.max_seq_length",
    ),
    Conflict(
        ("eval.max_new_tokens", "model.max_seq_length"),
        lambda s: s.eval.max_new_tokens >= s.model.max_seq_length,
        "eval.max_new_tokens is {s.eval.max_new_tokens} and model.max_seq_length is "
        "{s.model.max_seq_length}: the completion leaves no token for the prompt",
        "lower eval.max_new_tokens or raise model.max_seq_length",
    ),
    Conflict(
        ("model.load_in_4bit", "model.name"),
        lambda s: _is_embedded(s) and s.model.load_in_4bit,
        "model.load_in_4bit is true and model.name is {s.model.name}: the embedded model is "
        "stored quantised already and cannot be quantised again",
        "take `--preset cpu`, or set model.load_in_4bit to false",
    ),
    Conflict(
        ("model.full_finetuning", "model.load_in_4bit"),
        lambda s: s.model.full_finetuning and s.model.load_in_4bit,
        "model.full_finetuning and model.load_in_4bit are both true: 4-bit weights cannot be "
        "trained themselves",
        "set model.load_in_4bit to false, or train an adapter",
    ),
    Conflict(
        ("model.backend", "model.name"),
        lambda s: _is_embedded(s) and s.model.backend == "unsloth",
        "model.backend is unsloth and model.name is {s.model.name}: Unsloth cannot load the "
        "embedded model",
        "set model.backend to auto or transformers",
    ),
)


def find_conflicts(settings: Settings, *, doubtful: frozenset[str]) -> tuple[Problem, ...]:
    """Return the rules that settings break.

    Args:
        settings: Settings whose values are fine alone.
        doubtful: Keys whose given value was refused; rules over them are not judged.
    """
    return tuple(
        Problem(
            ProblemKind.CONFLICT,
            conflict.keys[0],
            conflict.message.format(s=settings),
            conflict.hint,
        )
        for conflict in CONFLICTS
        if not doubtful & set(conflict.keys) and conflict.is_broken(settings)
    )
