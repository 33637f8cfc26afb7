"""Whether a side has learned or memorised: its gaps between training files, held-out and rewritten.

A rewritten twin is compared with its own original, so both gaps of a probe are over the same holes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.evaluation.metrics import EDIT_SIMILARITY, EXACT_MATCH, NLL_PER_TOKEN
from fim.evaluation.probe import PROBE_MARK
from fim.evaluation.samples import result_of
from fim.evaluation.suites import TEST_PART, TRAIN_PART
from fim.evaluation.suites.base import PROBE_PART, TRAIN_PROBE_PART

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.evaluation.samples import Sample

GAP_METRICS = (NLL_PER_TOKEN, EDIT_SIMILARITY, EXACT_MATCH, "pass_at_1")
TRAIN_GAP = "training files, against held-out"
PROBE_GAP = "held-out rewritten, against as it was"
TRAIN_PROBE_GAP = "training files rewritten, against as they were"


def measure_gaps(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return how much each metric differs, by the name of the gap; only gaps that were measured.

    Args:
        samples: All samples of a side.
    """
    parts: dict[str, list[Sample]] = {}
    for sample in samples:
        parts.setdefault(sample.part, []).append(sample)
    found = {TRAIN_GAP: _gap(parts.get(TRAIN_PART, []), parts.get(TEST_PART, []))}
    by_item = {sample.item: sample for sample in samples}
    for name, part in ((PROBE_GAP, PROBE_PART), (TRAIN_PROBE_GAP, TRAIN_PROBE_PART)):
        twins = parts.get(part, [])
        originals = [by_item[sample.item.removeprefix(PROBE_MARK)] for sample in twins]
        found[name] = _gap(twins, originals)
    return {name: values for name, values in found.items() if values}


def _gap(these: Sequence[Sample], those: Sequence[Sample]) -> dict[str, float]:
    if not these or not those:
        return {}
    first: Mapping[str, float] = result_of("these", these).metrics
    second: Mapping[str, float] = result_of("those", those).metrics
    return {
        name: first[name] - second[name] for name in GAP_METRICS if name in first and name in second
    }
