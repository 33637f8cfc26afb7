"""Leaks between held-out holes and training data, counted by kind, with examples."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.dedup import near_duplicate_groups
from fim.corpus.hashing import normalised_hash
from fim.corpus.splits import VerbatimSearch, leak_needle
from fim.evaluation.suites.humaneval import read_problems
from fim.evaluation.trained_rows import hash_document, hash_row, hash_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fim.evaluation.suites import SuiteItem
    from fim.evaluation.trained_rows import TrainedRows
    from fim.types import FimExample

NGRAM_TOKENS = 13
NEAR_DUPLICATE_THRESHOLD = 0.8
MIN_PROMPT_MATCH_CHARS = 20
MIN_PROBLEM_SHARE = 0.3
MAX_SHOWN = 5
SHOWN_CHARS = 100
_TOKENS = re.compile(r"\w+|[^\w\s]")
DECIDING = (
    "same_file",
    "near_duplicate_file",
    "gold_in_training_text",
    "humaneval_in_training",
    "trained_row",
    "trained_text",
)
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What was looked for and found.

    Args:
        counts: Findings by kind; every kind is named.
        examples: Some findings of each kind.
        num_train_files: Training files searched.
        num_items: Held-out holes searched for.
        num_trained_rows: Rows that the adapter was trained on, when their record is there.
        is_record_missing: An adapter is scored that does not say what it was trained on.
    """

    counts: Mapping[str, int]
    examples: tuple[Mapping[str, str], ...]
    num_train_files: int
    num_items: int
    num_trained_rows: int | None = None
    is_record_missing: bool = False

    @property
    def is_leaking(self) -> bool:
        """Whether a kind was found that voids the split; shared phrases alone do not."""
        return any(self.counts.get(name) for name in DECIDING)

    def as_json(self) -> dict[str, object]:
        """Return the report as JSON-ready data."""
        return {
            "is_leaking": self.is_leaking or (UNKNOWN if self.is_record_missing else False),
            "counts": dict(self.counts),
            "examples": [dict(example) for example in self.examples],
            "train_files": self.num_train_files,
            "items": self.num_items,
            "trained_rows": UNKNOWN if self.is_record_missing else self.num_trained_rows,
        }


def find_leaks(
    items: Sequence[SuiteItem],
    train: Sequence[FimExample],
    *,
    trained: TrainedRows | None = None,
    is_adapter: bool = False,
) -> LeakReport:
    """Look for held-out text in training text.

    Args:
        items: The held-out holes.
        train: Training examples; their files are searched whole.
        trained: What the adapter was really trained on, whatever file it is scored on now.
        is_adapter: An adapter is scored; without ``trained`` it is unknown whether it knows them.
    """
    texts = {row.document_id or row.path or row.id: _whole(row) for row in train}
    documents = {item.example.path or item.cluster: _whole(item.example) for item in items}
    findings = {
        "same_file": _same_files(documents, texts),
        "near_duplicate_file": _near_duplicates(documents, texts),
        "gold_in_training_text": _verbatim(items, texts.values()),
        "gold_line_13_gram": _ngrams(items, texts.values()),
        "gold_in_own_prompt": _in_prompt(items),
        "humaneval_in_training": _humaneval(texts) if texts else [],
        **(_trained(items, trained) if trained is not None else {}),
    }
    return LeakReport(
        counts={kind: len(found) for kind, found in findings.items()},
        examples=tuple(
            {"kind": kind, "where": where, "text": text[:SHOWN_CHARS]}
            for kind, found in findings.items()
            for where, text in found[:MAX_SHOWN]
        ),
        num_train_files=len(texts),
        num_items=len(items),
        num_trained_rows=None if trained is None else len(trained.rows),
        is_record_missing=is_adapter and trained is None,
    )


def tokens(text: str) -> list[str]:
    """Return words and single signs."""
    return _TOKENS.findall(text)


def _whole(row: FimExample) -> str:
    return row.prefix + row.middle + row.suffix


def _trained(items: Sequence[SuiteItem], trained: TrainedRows) -> dict[str, list[tuple[str, str]]]:
    """Return the holes that the adapter was trained on: as they are, elsewhere in their text.

    Holes of a document that was trained on, but not in this text, are told and decide nothing.
    """
    found: dict[str, list[tuple[str, str]]] = {
        "trained_row": [],
        "trained_text": [],
        "trained_document": [],
    }
    for item in items:
        told = (item.example.id, item.example.middle)
        if hash_row(item.example) in trained.rows:
            found["trained_row"].append(told)
        elif hash_text(item.example) in trained.texts:
            found["trained_text"].append(told)
        elif hash_document(item.example) in trained.documents:
            found["trained_document"].append(told)
    return found


def _same_files(documents: Mapping[str, str], texts: Mapping[str, str]) -> list[tuple[str, str]]:
    known = {normalised_hash(text): name for name, text in texts.items()}
    return [
        (name, known[normalised_hash(text)])
        for name, text in documents.items()
        if normalised_hash(text) in known
    ]


def _near_duplicates(
    documents: Mapping[str, str], texts: Mapping[str, str]
) -> list[tuple[str, str]]:
    names = [*texts, *documents]
    groups = near_duplicate_groups([*texts.values(), *documents.values()], NEAR_DUPLICATE_THRESHOLD)
    on_train = {group: names[number] for number, group in enumerate(groups[: len(texts)])}
    return [
        (name, on_train[group])
        for name, group in zip(documents, groups[len(texts) :], strict=True)
        if group in on_train
    ]


def _verbatim(items: Sequence[SuiteItem], texts: Iterable[str]) -> list[tuple[str, str]]:
    search = VerbatimSearch(leak_needle(item.example.middle) for item in items)
    for text in texts:
        search.scan(text)
    return [
        (item.example.id, item.example.middle)
        for item in items
        if leak_needle(item.example.middle) in search.found
    ]


def _ngrams(items: Sequence[SuiteItem], texts: Iterable[str]) -> list[tuple[str, str]]:
    wanted = {item.example.id: _grams(tokens(_gold_lines(item.example))) for item in items}
    seen = _seen(set().union(*wanted.values()) if wanted else set(), texts)
    return [
        (item.example.id, item.example.middle) for item in items if wanted[item.example.id] & seen
    ]


def _gold_lines(example: FimExample) -> str:
    before = example.prefix.rpartition("\n")[2]
    after = example.suffix.partition("\n")[0]
    return before + example.middle + after


def _grams(found: Sequence[str]) -> set[tuple[str, ...]]:
    return {
        tuple(found[start : start + NGRAM_TOKENS]) for start in range(len(found) - NGRAM_TOKENS + 1)
    }


def _seen(wanted: set[tuple[str, ...]], texts: Iterable[str]) -> set[tuple[str, ...]]:
    starts = {gram[:2] for gram in wanted}
    found = set()
    for text in texts:
        words = tokens(text)
        for place in range(len(words) - NGRAM_TOKENS + 1):
            if (words[place], words[place + 1]) in starts:
                gram = tuple(words[place : place + NGRAM_TOKENS])
                if gram in wanted:
                    found.add(gram)
    return found


def _in_prompt(items: Sequence[SuiteItem]) -> list[tuple[str, str]]:
    found = []
    for item in items:
        gold = item.example.middle.strip()
        shown: tuple[str, ...] = (item.example.prefix, item.example.suffix)
        shown += tuple(context.text for context in item.example.context)
        if len(gold) >= MIN_PROMPT_MATCH_CHARS and any(gold in text for text in shown):
            found.append((item.example.id, gold))
    return found


def _humaneval(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the problems of HumanEval of which 30 % stand in training text, by 13-token runs."""
    from fim.errors import EvaluationError, MissingExtraError

    try:
        problems = read_problems()
    except (MissingExtraError, EvaluationError):
        return []
    wanted = {
        problem.task_id: _grams(tokens(problem.prompt + problem.canonical_solution))
        for problem in problems
    }
    seen = _seen(set().union(*wanted.values()), texts.values())
    return [
        (problem.task_id, problem.prompt.strip())
        for problem in problems
        if len(wanted[problem.task_id] & seen) >= MIN_PROBLEM_SHARE * len(wanted[problem.task_id])
    ]
