"""Samples: everything about one scored hole, as lines of JSON that can be read back."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fim.errors import EvaluationError, OutputError
from fim.evaluation import metrics as names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SAMPLES_FILE = "samples.jsonl"
SHOWN_PREFIX_CHARS = 2000
SHOWN_SUFFIX_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """One hole, one answer, its metrics.

    Args:
        item: Identity of the hole; equal for every contestant.
        language: Language of the file.
        kind: Kind of the hole.
        cluster: What the bootstrap draws together: the file.
        prompt_sha256: Hash of the prompt's ids; empty where no model was asked.
        prefix_tail: Last part of the text before the hole.
        suffix_head: First part of the text after the hole.
        gold: The true middle.
        output: The answer as generated, after the contestant's stop rule.
        output_clean: The answer after the contestant's clean-up; it is what ``metrics`` score.
        stop_reason: Why the answer ended.
        num_tokens: Tokens generated, without the end token.
        milliseconds: Time from the request, or from its batch's, to the last token.
        metrics: Text metrics and ``stop_rate`` of this item.
        metrics_raw: The text metrics of ``output``.
        nll_sum: Negative log-likelihood of the gold middle in nats; None where not scored.
        nll_tokens: Tokens of the gold middle.
        nll_end: That of the end token; None where the format has none or it was not scored.
        part: ``test``, ``train`` for a hole of training files, ``probe`` for a rewritten one.
        path: File of the hole.
        prefix: All text before the hole, where samples are kept for scoring again.
        suffix: All text after the hole, likewise.
        check: Prompt, test and entry point of an executable hole.
        passed: Whether the program with the raw answer and with the cleaned one passed.
        draws: Further answers, for pass@k.
        draws_passed: Whether each of them passed.
    """

    item: str
    language: str
    kind: str
    cluster: str
    prompt_sha256: str
    prefix_tail: str
    suffix_head: str
    gold: str
    output: str
    output_clean: str
    stop_reason: str
    num_tokens: int
    milliseconds: float
    metrics: Mapping[str, float]
    metrics_raw: Mapping[str, float] = field(default_factory=dict)
    nll_sum: float | None = None
    nll_tokens: int = 0
    nll_end: float | None = None
    part: str = "test"
    path: str = ""
    prefix: str = ""
    suffix: str = ""
    check: Mapping[str, object] | None = None
    passed: Mapping[str, bool] | None = None
    draws: Sequence[str] = field(default_factory=list)
    draws_passed: Sequence[bool] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the sample as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What a contestant reached: samples in the order of the examples, and their aggregate."""

    name: str
    samples: tuple[Sample, ...]
    metrics: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        """Return name, number of items and metrics as JSON-ready data."""
        return {"name": self.name, "items": len(self.samples), "metrics": dict(self.metrics)}


def result_of(name: str, samples: Sequence[Sample]) -> EvaluationResult:
    """Return samples with their aggregate.

    Text metrics and stop rate are means over items. ``nll_per_token`` is total loss over total
    middle tokens, ``nll_per_token_with_end`` counts end tokens too; both over the items that were
    scored, and absent when none was.

    Raises:
        EvaluationError: There are no samples.
    """
    if not samples:
        raise EvaluationError(
            f"{name} has no samples, so there is nothing to report",
            hint="score at least one hole: eval.num_holes",
        )
    found = {}
    for key in names.HIGHER_IS_BETTER:
        sums = [metric_parts(sample, key) for sample in samples]
        denominator = sum(part[1] for part in sums)
        if denominator:
            found[key] = sum(part[0] for part in sums) / denominator
    return EvaluationResult(name, tuple(samples), found)


def metric_parts(sample: Sample, metric: str) -> tuple[float, float]:
    """Return what an item adds to a metric's numerator and denominator; zeros when it lacks it."""
    if metric == names.NLL_PER_TOKEN:
        return (0.0, 0.0) if sample.nll_sum is None else (sample.nll_sum, float(sample.nll_tokens))
    if metric == names.NLL_PER_TOKEN_WITH_END:
        if sample.nll_sum is None or sample.nll_end is None:
            return 0.0, 0.0
        return sample.nll_sum + sample.nll_end, float(sample.nll_tokens + 1)
    return (sample.metrics[metric], 1.0) if metric in sample.metrics else (0.0, 0.0)


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples as JSON lines, atomically; equal samples give equal bytes.

    Raises:
        OutputError: The file cannot be written.
    """
    lines = [json.dumps(sample.as_json(), ensure_ascii=True) + "\n" for sample in samples]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="ascii", newline="", dir=path.parent, suffix=".tmp", delete=False
        ) as stream:
            stream.writelines(lines)
        Path(stream.name).replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; the answers would be lost",
            hint="check free space and write permission of the folder",
        ) from error


def read_samples(path: Path) -> tuple[Sample, ...]:
    """Read samples back.

    Raises:
        EvaluationError: The file is missing or holds something else.
    """
    try:
        lines = path.read_bytes().splitlines()
        return tuple(Sample(**json.loads(line)) for line in lines)
    except (OSError, ValueError, TypeError) as error:
        raise EvaluationError(
            f"{path} cannot be read as samples ({type(error).__name__}: {error})",
            hint="point at the folder that fim eval run wrote",
        ) from error
