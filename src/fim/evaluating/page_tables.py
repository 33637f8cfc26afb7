"""The tables and facts of an evaluation page: floors, pairs, parts, lengths, leaks, versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.evaluation.anchors import anchors_for
from fim.evaluation.comparing import MIN_DIFFERENT_OUTPUTS, has_one_adapter
from fim.evaluation.leaks import UNKNOWN
from fim.evaluation.metrics import EDIT_SIMILARITY_FORMULA
from fim.evaluation.scoring import percentiles, rates_of
from fim.reporting.data import Fact
from fim.reporting.eval_data import EvalTable, eval_display
from fim.reporting.eval_page import format_p
from fim.reporting.figures import format_difference, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.evaluation.comparing import RunComparison
    from fim.evaluation.samples import Sample

_PART_NAMES = {
    "test": "held-out holes",
    "train": "holes of training files",
    "probe": "held-out, rewritten",
    "train probe": "training files, rewritten",
}


def page_tables(
    found: RunComparison,
    facts: Mapping[str, object],
    tested: Sequence[Sample],
    answers: Mapping[str, Sample],
) -> tuple[EvalTable, ...]:
    """Return the tables that stand beside the figures; empty ones are left out."""
    others = [answers[sample.item] for sample in tested]
    tables = [_parity_table(found), _floor_table(found), _pair_table(found)]
    tables += [_rate_table(tested, others), _pass_table(found)]
    tables += [_part_table(found), _gap_table(found)]
    tables.append(_length_table(found, tested, others))
    tables.append(_anchor_table(str(mapping(facts.get("identity")).get("suite", ""))))
    return tuple(table for table in tables if table.rows)


def _floor_table(found: RunComparison) -> EvalTable:
    names = ("exact_match", "first_line_match", "edit_similarity")
    rows = [
        (name, *(format_value(values.get(key), eval_display(key).unit) for key in names))
        for name, values in found.floors.items()
    ]
    return EvalTable(
        "Floors: answers without a model",
        ("Answer", *(f">{eval_display(key).label}" for key in names)),
        tuple(rows),
        "The best constant is the most frequent truth of these very holes.",
    )


def _pair_table(found: RunComparison) -> EvalTable:
    rows = [
        (
            eval_display(name).label,
            f"{int(pairs['only_a']):,}",
            f"{int(pairs['only_b']):,}",
            format_p(pairs["p"]),
        )
        for name, pairs in found.mcnemar.items()
    ]
    note = ""
    if found.detectable is not None:
        note = (
            f"With this many holes and this share of disagreement, a difference of "
            f"{100 * found.detectable:.1f} points is found with 80 % power. "
        )
    note += f"{format_value(found.identical_outputs, 'share')} of all answers are identical."
    return EvalTable(
        "Where the two disagree (exact McNemar)",
        ("Metric", ">only A right", ">only B right", ">p"),
        tuple(rows),
        note,
    )


def _parity_table(found: RunComparison) -> EvalTable:
    parity = found.parity
    if parity.threshold is None:
        return EvalTable("", (), ())
    prompts = parity.identical_prompts
    rows = (
        ("Identical answers", format_value(parity.identical, "share")),
        ("Asked for", format_value(parity.threshold, "share")),
        (
            "Prompts with equal ids",
            "not told" if prompts is None else format_value(prompts, "share"),
        ),
        ("Answers that ended for the same reason", format_value(parity.identical_stops, "share")),
        ("Exact match, B minus A", f"{100 * parity.exact_match_difference:+.1f} points"),
    )
    is_met = parity.identical >= parity.threshold
    note = "B answers as A does." if is_met else "B is not A: it misses what was asked for."
    if parity.different:
        note += f" Answered differently, for example: {', '.join(parity.different)}."
    return EvalTable("Export parity", ("Figure", ">value"), rows, note)


def _rate_table(a: Sequence[Sample], b: Sequence[Sample]) -> EvalTable:
    one, two = rates_of(a), rates_of(b)
    rows = tuple(
        (eval_display(name).label, _rate_text(one[name]), _rate_text(two[name]))
        for name in one
        if name in two
    )
    note = "Each side alone: they may overlap where the pairs above still tell a difference."
    heads = ("Rate", ">A, 95 % interval", ">B, 95 % interval")
    return EvalTable("Rates of each side (Wilson)", heads, rows, note)


def _rate_text(rate: Mapping[str, float]) -> str:
    shown = [f"{100 * rate[key]:.1f}" for key in ("rate", "low", "high")]
    return f"{shown[0]} % ({shown[1]} to {shown[2]})"


def _pass_table(found: RunComparison) -> EvalTable:
    one, two = found.pass_at_k["a"], found.pass_at_k["b"]
    names = sorted({*one, *two}, key=int)
    if len(names) < 2:  # noqa: PLR2004
        return EvalTable("", (), ())
    rows = tuple(
        (f"pass@{k}", *(format_value(side.get(k), "share") for side in (one, two))) for k in names
    )
    note = "1 - C(n - c, k) / C(n, k), mean over holes; n answers were drawn for each."
    return EvalTable("Several answers per hole", ("k", ">A", ">B"), rows, note)


def _gap_table(found: RunComparison) -> EvalTable:
    names = ("nll_per_token", "edit_similarity", "exact_match", "pass_at_1")
    rows = tuple(
        (f"{side.upper()}, {gap}", *(_gap_text(values, name) for name in names))
        for gap in dict.fromkeys([*found.gaps["a"], *found.gaps["b"]])
        for side in ("a", "b")
        if (values := found.gaps[side].get(gap))
    )
    heads = ("Gap", *(f">{eval_display(name).label}" for name in names))
    note = (
        "A tuned side whose gaps are much wider than the base's has memorised; equal gaps mean "
        "that it has learned. A rewritten hole is held against its own original."
    )
    return EvalTable("The gaps", heads, rows, note)


def _gap_text(values: Mapping[str, float], name: str) -> str:
    unit = eval_display(name).unit
    return format_difference(values[name], unit) if name in values else format_value(None, unit)


def _part_table(found: RunComparison) -> EvalTable:
    if len(found.parts) == 1:
        return EvalTable("", (), ())
    rows = []
    for part, values in found.parts.items():
        for side in ("a", "b"):
            metrics = mapping(values[side])
            rows.append(
                (
                    f"{side.upper()}, {_PART_NAMES.get(part, part)}",
                    f"{int(str(values['items'])):,}",
                    *(
                        format_value(_number(metrics.get(key)), eval_display(key).unit)
                        for key in ("nll_per_token", "edit_similarity", "exact_match", "pass_at_1")
                    ),
                )
            )
    return EvalTable(
        "Memorised or learned?",
        ("Holes", ">number", ">NLL per token", ">Edit similarity", ">Exact match", ">pass@1"),
        tuple(rows),
        "Rewritten files have their locals renamed and their docstrings dropped.",
    )


def _length_table(found: RunComparison, a: Sequence[Sample], b: Sequence[Sample]) -> EvalTable:
    rows = []
    for name, side in ((found.whole.name_a, a), (found.whole.name_b, b)):
        times = percentiles([sample.milliseconds for sample in side])
        mean = sum(sample.num_tokens for sample in side) / len(side)
        cut = sum(sample.stop_reason == "length" for sample in side)
        shown = (f"{times[key]:,.0f}" for key in ("p50", "p90", "p99"))
        rows.append((name, f"{mean:.1f}", f"{cut:,}", *shown))
    heads = ("Side", ">tokens an answer", ">ran into the limit", ">p50 ms", ">p90 ms", ">p99 ms")
    return EvalTable("Length and time", heads, tuple(rows))


def _anchor_table(suite: str) -> EvalTable:
    rows = tuple(
        (anchor.model, f"{anchor.value} %", anchor.metric, anchor.source)
        for anchor in anchors_for(suite)
    )
    heads = ("Model", ">Published", "Metric", "Source")
    note = "Other harnesses, prompts and decoding: read them as neighbours, not as opponents."
    return EvalTable("Published figures", heads, rows, note)


def leak_tables(facts: Mapping[str, object]) -> tuple[EvalTable, ...]:
    """Return the leaks by kind, and some of them."""
    leaks = mapping(facts.get("leaks"))
    counts = mapping(leaks.get("counts"))
    if not counts:
        return ()
    rows = tuple((name.replace("_", " "), f"{number:,}") for name, number in counts.items())
    shown = leaks.get("examples")
    examples = tuple(
        (
            str(example["kind"]).replace("_", " "),
            str(example["where"]),
            str(example["text"]),
        )
        for example in (shown if isinstance(shown, list) else [])
    )
    tables = [EvalTable("", ("Looked for", ">found"), rows)]
    if examples:
        tables.append(EvalTable("Some findings", ("Kind", "Where", "Text"), examples))
    return tuple(tables)


def leak_note(facts_a: Mapping[str, object], facts_b: Mapping[str, object]) -> str:
    """Return what was searched and found, in words."""
    leaks = mapping(facts_b.get("leaks") or facts_a.get("leaks"))
    if not leaks:
        return (
            "Not looked for: no training data were given to this evaluation, so nothing is known "
            "about leaks. What the base saw in its pre-training is unknown in any case."
        )
    searched = f"{leaks['items']:,} held-out holes against {leaks['train_files']:,} training files"
    found = "found: this split leaks" if leaks.get("is_leaking") else "none that voids the split"
    if leaks.get("is_leaking") == UNKNOWN:
        found = (
            "none in these files, but the adapter does not say what it was trained on, so it is "
            "unknown whether it saw these holes"
        )
    elif isinstance(leaks.get("trained_rows"), int):
        searched += f" and the {leaks['trained_rows']:,} rows that the adapter was trained on"
    return (
        f"{searched}: {found}. Shared 13-token runs and true text that stands elsewhere in the "
        "same prompt are told but do not void it. What the base saw in its pre-training is "
        "unknown in any case."
    )


def sandbox_facts(facts: Mapping[str, object]) -> tuple[Fact, ...]:
    """Return the walls around the answers that were run."""
    walls = mapping(facts.get("sandbox"))
    return tuple(
        Fact(name.capitalize(), ", ".join(map(str, value)) or "none")
        if isinstance(value, list)
        else Fact(name.capitalize(), str(value))
        for name, value in walls.items()
    )


def check_facts(
    found_pair: RunComparison, facts_a: Mapping[str, object], facts_b: Mapping[str, object]
) -> tuple[Fact, ...]:
    """Return what somebody needs to check the figures: suite, models, data, versions."""
    one, two = mapping(facts_a.get("identity")), mapping(facts_b.get("identity"))
    asked_a, asked_b = mapping(facts_a.get("asked")), mapping(facts_b.get("asked"))
    gold = mapping(facts_b.get("gold"))
    found = [
        Fact("Suite", str(two.get("suite"))),
        Fact("Hash of the holes", str(two.get("suite_sha256"))),
        Fact("True answers that score", f"{100 * float(str(gold.get('share', 0))):.0f} %"),
        Fact("Edit similarity", EDIT_SIMILARITY_FORMULA),
    ]
    outcomes = mapping(gold.get("outcomes"))
    if outcomes:
        found.append(Fact("True answers when run", _text(outcomes)))
    if has_one_adapter(one, two):
        different = 1 - found_pair.identical_outputs
        least = format_value(MIN_DIFFERENT_OUTPUTS, "share")
        told = f"{format_value(different, 'share')} of answers differ; at least {least} have to"
        found.append(Fact("Does the adapter do anything?", told))
    if facts_b.get("rule_meaning"):
        found.append(Fact("The suite's own rule", str(facts_b["rule_meaning"])))
    for side, identity, asked in (("A", one, asked_a), ("B", two, asked_b)):
        is_greedy = identity.get("temperature") == 0
        decoding = "greedy" if is_greedy else f"temperature {identity.get('temperature')}"
        decoding += ", token healing" if identity.get("token_healing") else ""
        found += [
            Fact(f"{side}, model", str(identity.get("model"))),
            Fact(f"{side}, adapter", str(identity.get("adapter_sha256") or "none")),
            Fact(f"{side}, format", _format_text(asked, identity)),
            Fact(
                f"{side}, decoding",
                f"{decoding}, at most {asked.get('max_new_tokens', '?')} tokens, stop rule "
                f"{asked.get('stop', '?')}",
            ),
        ]
    for name, value in mapping(facts_b.get("suite_facts")).items():
        found.append(Fact(f"Data, {name.replace('_', ' ')}", _text(value)))
    environment = mapping(facts_b.get("environment"))
    for name, value in environment.items():
        found.append(Fact(name.replace("_", " ").capitalize(), _text(value)))
    return tuple(found)


def _format_text(asked: Mapping[str, object], identity: Mapping[str, object]) -> str:
    record = mapping(asked.get("format_record"))
    if not record:
        return str(identity.get("dialect") or identity.get("format"))
    return f"{record.get('name')} {record.get('version', '')}".strip()


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or "none"
    return str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def mapping(value: object) -> dict[str, object]:
    """Return a JSON object as a dictionary; anything else as an empty one."""
    return dict(value) if isinstance(value, dict) else {}
