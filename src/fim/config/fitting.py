"""Values that a preset or a default gives and that do not fit what the user named.

A named format or model brings its own defaults: a preset's value, or a default, that is impossible
with it gives way. Only what the user gave can conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from fim.config.presets import ANCHORED_FORMATS, EMBEDDED_MODEL_NAME, UNALIGNED_FORMATS


@dataclass(frozen=True, slots=True)
class Fit:
    """What a value of one setting must be with some values of another.

    Args:
        named: Setting that the user may name.
        fitting: Setting that gives way.
        concerns: Tells of the named value whether the rule is about it.
        value: What the other setting is then.
    """

    named: str
    fitting: str
    concerns: Callable[[object], bool]
    value: object


FITS = (
    Fit("data.format", "data.anchor_lines", lambda name: name not in ANCHORED_FORMATS, 0),
    Fit("data.format", "data.align_cuts", lambda name: name in UNALIGNED_FORMATS, value=False),
    Fit("model.name", "model.load_in_4bit", lambda name: name == EMBEDDED_MODEL_NAME, value=False),
)


@dataclass(frozen=True, slots=True)
class GivenWay:
    """A value that gave way to what the user named.

    Args:
        key: The setting.
        value: What it is now.
        because: The setting that the user named, with its value.
    """

    key: str
    value: object
    because: str

    @property
    def source(self) -> str:
        """Origin of the value, as provenance tells it."""
        return f"default with {self.because}"


def values_that_give_way(
    values: Mapping[str, object], given: Collection[str]
) -> tuple[GivenWay, ...]:
    """Return the values that must change to fit what the user named.

    Args:
        values: Every value in force by dotted key.
        given: Keys that the user gave, stronger than any preset.
    """
    return tuple(
        GivenWay(fit.fitting, fit.value, f"{fit.named}={values[fit.named]}")
        for fit in FITS
        if fit.named in given
        and fit.fitting not in given
        and fit.concerns(values[fit.named])
        and values[fit.fitting] != fit.value
    )
