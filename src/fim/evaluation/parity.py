"""Export parity: whether another artefact or a server answers as the model it was made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from fim.errors import EvaluationError
from fim.evaluation.metrics import EXACT_MATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.evaluation.samples import Sample

MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Parity:
    """How alike two sets of answers to the same holes are.

    Args:
        items: Holes.
        identical: Share of answers that are equal, byte for byte.
        identical_prompts: Share of prompts with equal ids; None where a side hides its ids.
        identical_stops: Share of answers that ended for the same reason.
        exact_match_difference: Exact match of the second side minus that of the first.
        threshold: Least share of identical answers that was asked for; None for none.
        different: Names of some holes that were answered differently.
    """

    items: int
    identical: float
    identical_prompts: float | None
    identical_stops: float
    exact_match_difference: float
    threshold: float | None
    different: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return the parity as JSON-ready data."""
        return asdict(self)


def measure_parity(
    a: Sequence[Sample], b: Sequence[Sample], *, threshold: float | None = None
) -> Parity:
    """Compare the raw answers of two sides that hold the same items.

    Args:
        a: Samples of the model that the other side was made from.
        b: Samples of the other artefact or server.
        threshold: Least share of identical answers; None for none.
    """
    others = {sample.item: sample for sample in b}
    pairs = [(sample, others[sample.item]) for sample in a]
    different = [first.item for first, second in pairs if first.output != second.output]
    known = [(x, y) for x, y in pairs if x.prompt_sha256 and y.prompt_sha256]
    gains = [y.metrics[EXACT_MATCH] - x.metrics[EXACT_MATCH] for x, y in pairs]
    return Parity(
        items=len(pairs),
        identical=1 - len(different) / len(pairs),
        identical_prompts=sum(x.prompt_sha256 == y.prompt_sha256 for x, y in known) / len(known)
        if known
        else None,
        identical_stops=sum(x.stop_reason == y.stop_reason for x, y in pairs) / len(pairs),
        exact_match_difference=sum(gains) / len(gains),
        threshold=threshold,
        different=tuple(different[:MAX_SHOWN]),
    )


def required_parity(parity: Parity) -> None:
    """Hold the share of identical answers against its threshold.

    Raises:
        EvaluationError: It is under the threshold.
    """
    if parity.threshold is not None and parity.identical < parity.threshold:
        raise EvaluationError(
            f"{parity.identical:.1%} of {parity.items} answers are identical, which misses the "
            f"asked {parity.threshold:.1%}: the two are not the same model, prompt or stop rule",
            hint="compare stop tokens, prompt template and quantisation of both; "
            "the page shows where they differ",
            context=parity.as_json(),
        )
