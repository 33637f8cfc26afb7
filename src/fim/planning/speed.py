"""How fast training was measured to run, by model and hardware; everything else is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.model import EMBEDDED_MODEL_NAME

if TYPE_CHECKING:
    from fim.planning.memory import Place

NEVER_MEASURED = "unknown: this model was never measured on such hardware"


@dataclass(frozen=True, slots=True)
class MeasuredRate:
    """A measured speed of training.

    Args:
        model: Name of the base.
        device: ``cpu`` or ``cuda``.
        dtype: Number type.
        tokens_per_second: Computed ids per second of stepping.
        where: What it was measured on.
    """

    model: str
    device: str
    dtype: str
    tokens_per_second: float
    where: str


MEASURED_RATES = (
    MeasuredRate(
        model=EMBEDDED_MODEL_NAME,
        device="cpu",
        dtype="bfloat16",
        tokens_per_second=770.0,
        where="2 cores with AMX, in quickstart",
    ),
)


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds of training steps, None where nobody measured the speed, and what they rest on."""

    seconds: float | None
    basis: str


def estimate_seconds(
    num_tokens: float, *, model: str, place: Place, budget_seconds: float | None
) -> TimeEstimate:
    """Return the time of training steps.

    Args:
        num_tokens: Ids that are computed in all steps.
        model: Name of the base.
        place: Where it is trained.
        budget_seconds: Time after which training stops.
    """
    for rate in MEASURED_RATES:
        if (rate.model, rate.device, rate.dtype) == (model, place.device, place.dtype):
            seconds = num_tokens / rate.tokens_per_second
            basis = f"measured {rate.tokens_per_second:,.0f} tokens/s on {rate.where}"
            if budget_seconds is not None and seconds > budget_seconds:
                return TimeEstimate(budget_seconds, f"train.max_minutes; {basis}")
            return TimeEstimate(seconds, basis)
    return TimeEstimate(None, NEVER_MEASURED)
