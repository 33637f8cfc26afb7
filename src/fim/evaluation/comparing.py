"""Two evaluations side by side: the whole, slices, discordant pairs, problems, one verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import EvaluationError
from fim.evaluation.code_metrics import PASS_AT_1
from fim.evaluation.compare import HEADLINE_METRICS, Comparison, compare
from fim.evaluation.floors import EMPTY, PREVIOUS_LINE
from fim.evaluation.gaps import measure_gaps
from fim.evaluation.leaks import DECIDING
from fim.evaluation.metrics import (
    BINARY,
    EXACT_MATCH,
    HIGHER_IS_BETTER,
    NLL_PER_TOKEN,
    text_metrics,
)
from fim.evaluation.parity import Parity, measure_parity
from fim.evaluation.samples import EvaluationResult, Sample, result_of
from fim.evaluation.scoring import pass_at_k
from fim.evaluation.statistics import (
    BETTER,
    UNCLEAR,
    Verdict,
    detectable_difference,
    holm,
    mcnemar_exact,
)
from fim.evaluation.suites import SUITE_SCORE, TEST_PART
from fim.types import FimExample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.evaluation.folder import EvaluationFolder

MIN_ITEMS = 300
SIGNIFICANCE = 0.05
MIN_SLICE_ITEMS = 10
MIN_DIFFERENT_OUTPUTS = 0.01
NO_OP_ADAPTER = "no_op_adapter"
LEAKS = "leaks"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a reader must know before the figures."""

    kind: str
    message: str

    def as_json(self) -> dict[str, str]:
        """Return the problem as JSON-ready data."""
        return {"kind": self.kind, "message": self.message}


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Everything about two evaluations of the same holes."""

    whole: Comparison
    verdict: Verdict
    reason: str
    primary: str
    mcnemar: Mapping[str, Mapping[str, float]]
    slices: tuple[Mapping[str, object], ...]
    parts: Mapping[str, Mapping[str, object]]
    floors: Mapping[str, Mapping[str, float]]
    gaps: Mapping[str, Mapping[str, Mapping[str, float]]]
    pass_at_k: Mapping[str, Mapping[str, float]]
    parity: Parity
    detectable: float | None
    draws: int
    seed: int
    problems: tuple[Problem, ...]

    @property
    def identical_outputs(self) -> float:
        """Share of answers that are the same on both sides."""
        return self.parity.identical

    def as_json(self) -> dict[str, object]:
        """Return the comparison as JSON-ready data."""
        return {
            **self.whole.as_json(),
            "verdict": self.verdict,
            "reason": self.reason,
            "primary": self.primary,
            "mcnemar": {name: dict(found) for name, found in self.mcnemar.items()},
            "slices": [dict(found) for found in self.slices],
            "parts": {name: dict(found) for name, found in self.parts.items()},
            "floors": {name: dict(found) for name, found in self.floors.items()},
            "gaps": {side: dict(found) for side, found in self.gaps.items()},
            "pass_at_k": {side: dict(found) for side, found in self.pass_at_k.items()},
            "identical_outputs": self.identical_outputs,
            "parity": self.parity.as_json(),
            "detectable_difference": self.detectable,
            "draws": self.draws,
            "seed": self.seed,
            "problems": [problem.as_json() for problem in self.problems],
        }


def compare_folders(
    a: EvaluationFolder,
    b: EvaluationFolder,
    *,
    draws: int,
    seed: int,
    parity: float | None = None,
) -> RunComparison:
    """Compare two evaluations of the same suite, a as the base.

    Args:
        a: The base.
        b: What should be better.
        draws: Bootstrap draws.
        seed: Seed of the bootstrap.
        parity: Least share of identical answers, where b is another artefact of a's model; None
            where it is another model.

    Raises:
        EvaluationError: The two are of different suites or holes, or are not whole.
    """
    facts_a, facts_b = a.identity(), b.identity()
    if facts_a.get("suite_sha256") != facts_b.get("suite_sha256"):
        raise EvaluationError(
            f"{a.path} answers {facts_a.get('suite')} and {b.path} {facts_b.get('suite')}, and "
            "their holes differ; only equal holes can be compared",
            hint="run both with the same --suite, --data, --limit and eval.seed",
        )
    samples_a, samples_b = _whole(a), _whole(b)
    tested_a, tested_b = _part(samples_a, TEST_PART), _part(samples_b, TEST_PART)
    names = (str(facts_a.get("name", "a")), str(facts_b.get("name", "b")))
    headline = _headline(tested_a, tested_b)
    whole = compare(
        result_of(names[0], tested_a),
        result_of(names[1], tested_b),
        draws=draws,
        seed=seed,
        headline=headline,
    )
    likeness = measure_parity(tested_a, tested_b, threshold=parity)
    problems = _problems(facts_a, facts_b, a, b, likeness)
    primary = headline[-1]
    found, reason = _verdict(whole, primary, problems)
    return RunComparison(
        whole=whole,
        verdict=found,
        reason=reason,
        primary=primary,
        mcnemar=_mcnemar(tested_a, tested_b),
        slices=_slices(tested_a, tested_b, primary, draws=draws, seed=seed),
        parts=_parts(samples_a, samples_b),
        floors=score_floors(tested_a),
        gaps={"a": measure_gaps(samples_a), "b": measure_gaps(samples_b)},
        pass_at_k={"a": pass_at_k(tested_a), "b": pass_at_k(tested_b)},
        parity=likeness,
        detectable=_detectable(tested_a, tested_b, primary),
        draws=draws,
        seed=seed,
        problems=problems,
    )


def score_floors(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return what answers without a model reach: nothing, the line above, the best constant.

    The best constant is the most frequent gold text of these very holes: it looks at the answers,
    so it is the highest figure that any constant reaches.
    """
    constant = Counter(sample.gold for sample in samples).most_common(1)[0][0]
    answers = {
        EMPTY.name: [""] * len(samples),
        PREVIOUS_LINE.name: [PREVIOUS_LINE.answer(_example(sample)) for sample in samples],
        f"best constant {constant.strip()[:20]!r}": [constant] * len(samples),
    }
    found = {}
    for name, outputs in answers.items():
        rows = [
            text_metrics(output, sample.gold)
            for output, sample in zip(outputs, samples, strict=True)
        ]
        found[name] = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    return found


def required(name: str, value: float, comparison: RunComparison) -> None:
    """Check a threshold for the second side.

    Raises:
        EvaluationError: The metric misses it, or there is no such metric, or the comparison has a
            problem that voids it.
    """
    metrics = comparison.whole.metrics
    if name not in metrics:
        raise EvaluationError(
            f"there is no metric {name!r} to hold against {value}",
            hint=f"use one of: {', '.join(metrics)}",
        )
    reached = metrics[name].b
    is_enough = reached >= value if HIGHER_IS_BETTER[name] else reached <= value
    if not is_enough or comparison.problems:
        because = comparison.problems[0].message if comparison.problems else "the threshold"
        raise EvaluationError(
            f"{name} is {reached:.4f}, asked was {value:g}: {because}"
            if comparison.problems
            else f"{name} is {reached:.4f}, which misses the asked {value:g}",
            hint="train longer or on more of the code, or lower the threshold",
            context={"metric": name, "value": reached, "threshold": value},
        )


def _whole(folder: EvaluationFolder) -> tuple[Sample, ...]:
    samples = folder.read()
    wanted = folder.identity().get("items")
    if len(samples) != wanted:
        raise EvaluationError(
            f"{folder.path} holds {len(samples)} of {wanted} holes: it was interrupted",
            hint="run the same fim eval run command again; it goes on at the next hole",
        )
    return samples


def _part(samples: Sequence[Sample], part: str) -> list[Sample]:
    return [sample for sample in samples if sample.part == part]


def _headline(a: Sequence[Sample], b: Sequence[Sample]) -> tuple[str, ...]:
    shared = set(a[0].metrics) & set(b[0].metrics)
    for name in (PASS_AT_1, SUITE_SCORE):
        if name in shared:
            return (name,)
    has_likelihood = all(sample.nll_sum is not None for sample in (*a, *b))
    return HEADLINE_METRICS if has_likelihood else HEADLINE_METRICS[1:]


def _problems(
    facts_a: Mapping[str, object],
    facts_b: Mapping[str, object],
    a: EvaluationFolder,
    b: EvaluationFolder,
    likeness: Parity,
) -> tuple[Problem, ...]:
    found = []
    identical = likeness.identical
    is_no_op = has_one_adapter(facts_a, facts_b) and 1 - identical < MIN_DIFFERENT_OUTPUTS
    if is_no_op and likeness.threshold is None:
        found.append(
            Problem(
                NO_OP_ADAPTER,
                f"the adapter did not load or does nothing: {identical:.1%} of all answers are "
                "equal with and without it",
            )
        )
    for folder in (a, b):
        leaks = folder.facts().get("leaks")
        counts = leaks.get("counts") if isinstance(leaks, dict) else None
        told = {name: counts[name] for name in DECIDING if counts and counts.get(name)}
        if told and isinstance(leaks, dict) and leaks.get("is_leaking"):
            listed = ", ".join(f"{name.replace('_', ' ')}: {told[name]}" for name in told)
            found.append(Problem(LEAKS, f"held-out code stands in the training data ({listed})"))
            break
    return tuple(found)


def has_one_adapter(a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    """Tell whether one of two evaluations has an adapter and the other has none."""
    return bool(a.get("adapter_sha256")) != bool(b.get("adapter_sha256"))


def _verdict(whole: Comparison, primary: str, problems: Sequence[Problem]) -> tuple[Verdict, str]:
    if problems:
        return UNCLEAR, problems[0].message
    headline = whole.metrics[primary]
    if whole.verdict != UNCLEAR and primary in BINARY and headline.p >= SIGNIFICANCE:
        return UNCLEAR, f"the interval excludes zero, but McNemar's p is {headline.p:.3f}"
    if whole.verdict == BETTER and whole.items < MIN_ITEMS:
        return (
            UNCLEAR,
            f"{whole.items} holes are under the {MIN_ITEMS} that a claim needs; the intervals "
            "stand in the table",
        )
    if whole.verdict == UNCLEAR:
        return UNCLEAR, "an interval holds zero"
    return whole.verdict, "the intervals exclude zero"


def _mcnemar(a: Sequence[Sample], b: Sequence[Sample]) -> dict[str, dict[str, float]]:
    by_item = {sample.item: sample for sample in b}
    found = {}
    for name in (EXACT_MATCH, PASS_AT_1, "stop_rate", "parses"):
        pairs = [
            (sample.metrics[name], by_item[sample.item].metrics[name])
            for sample in a
            if name in sample.metrics and name in by_item[sample.item].metrics
        ]
        if pairs and name in BINARY:
            test = mcnemar_exact([pair[0] for pair in pairs], [pair[1] for pair in pairs])
            found[name] = {"only_a": test.only_a, "only_b": test.only_b, "p": test.p}
    return found


def _slices(
    a: Sequence[Sample], b: Sequence[Sample], primary: str, *, draws: int, seed: int
) -> tuple[Mapping[str, object], ...]:
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in a:
        groups[sample.language, sample.kind].append(sample)
    by_item = {sample.item: sample for sample in b}
    rows: list[dict[str, object]] = []
    for (language, kind), members in sorted(groups.items()):
        others = [by_item[sample.item] for sample in members]
        row: dict[str, object] = {"language": language, "kind": kind, "items": len(members)}
        row["metrics"] = _slice_metrics(members, others, draws=draws, seed=seed)
        rows.append(row)
    _adjust(rows, primary)
    return tuple(rows)


def _slice_metrics(
    members: Sequence[Sample], others: Sequence[Sample], *, draws: int, seed: int
) -> dict[str, dict[str, float]]:
    wanted = (PASS_AT_1, SUITE_SCORE, NLL_PER_TOKEN, EXACT_MATCH, "edit_similarity")
    first, second = result_of("a", members), result_of("b", others)
    kept = [
        EvaluationResult(
            result.name,
            result.samples,
            {name: result.metrics[name] for name in wanted if name in result.metrics},
        )
        for result in (first, second)
    ]
    return {
        name: found.as_json()
        for name, found in compare(*kept, draws=draws, seed=seed, headline=()).metrics.items()
    }


def _adjust(rows: Sequence[dict[str, object]], primary: str) -> None:
    """Give every slice of enough holes Holm's p of the primary metric, and all a verdict."""
    tested = []
    for row in rows:
        row |= {"primary": primary, "verdict": UNCLEAR}
        metrics = row["metrics"]
        is_enough = int(str(row["items"])) >= MIN_SLICE_ITEMS
        if is_enough and isinstance(metrics, dict) and primary in metrics:
            tested.append((row, metrics[primary]))
    adjusted = holm([found["p"] for _, found in tested])
    for (row, found), p in zip(tested, adjusted, strict=True):
        row["p_holm"] = p
        sign = found["low"] > 0 if HIGHER_IS_BETTER[primary] else found["high"] < 0
        excludes_zero = found["low"] > 0 or found["high"] < 0
        if p < SIGNIFICANCE and excludes_zero:
            row["verdict"] = "better" if sign else "worse"


def _parts(a: Sequence[Sample], b: Sequence[Sample]) -> dict[str, dict[str, object]]:
    """Return the metrics of both sides on each part: test, train holes, rewritten probes."""
    found: dict[str, dict[str, object]] = {}
    for part in dict.fromkeys(sample.part for sample in a):
        mine, theirs = _part(a, part), _part(b, part)
        found[part] = {
            "items": len(mine),
            "a": dict(result_of("a", mine).metrics),
            "b": dict(result_of("b", theirs).metrics),
        }
    return found


def _detectable(a: Sequence[Sample], b: Sequence[Sample], primary: str) -> float | None:
    name = primary if primary in BINARY else EXACT_MATCH
    by_item = {sample.item: sample for sample in b}
    pairs = [
        (sample.metrics[name], by_item[sample.item].metrics[name])
        for sample in a
        if name in sample.metrics and name in by_item[sample.item].metrics
    ]
    discordant = sum(first != second for first, second in pairs)
    return detectable_difference(len(pairs), discordant / len(pairs)) if discordant else None


def _example(sample: Sample) -> FimExample:
    return FimExample(sample.prefix or sample.prefix_tail, "", sample.suffix)
