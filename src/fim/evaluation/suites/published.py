"""Published suites, from the hub or from local copies, in the schemas they are published in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.errors import InvalidExampleError, SourceNotFoundError
from fim.evaluation.code_metrics import PASS_AT_1
from fim.evaluation.suites.base import Suite, SuiteItem, choose_by_seed
from fim.evaluation.suites.hub import HUB_PARTS, HubPart, file_rows, hub_part, hub_rows
from fim.evaluation.suites.published_rows import (
    cceval_item,
    execrepobench_item,
    openai_item,
    repobench_item,
    safim_item,
    santacoder_item,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SUITE_SCORE = "suite_score"


@dataclass(frozen=True, slots=True)
class FileSuite:
    """How a published file becomes holes.

    Args:
        name: Name on the command line.
        title: Name for people.
        read: Makes an item of one row, or says why the row is left out; a ``KeyError`` means
            another schema.
        rule: Scoring rule of the holes that are not executed.
        fields: Field names that the schema has, for the error.
        refused: Why its tests are not run; empty where they are, or where there are none.
    """

    name: str
    title: str
    read: Callable[[Mapping[str, object], int], SuiteItem | str]
    rule: str
    fields: str
    refused: str = ""


def load_published(
    name: str,
    source: Path | None,
    *,
    part: str | None = None,
    token: str | None = None,
    limit: int | None,
    seed: int,
) -> Suite:
    """Read a published suite.

    Args:
        name: One of ``FILE_SUITES``.
        source: A JSONL, optionally gzipped, a JSON list or a parquet file, or a folder that is a
            copy of the suite's data set; None asks the hub.
        part: Part of the suite on the hub; the first without a name.
        token: Key of the hub.
        limit: Holes at most, chosen by seed; None takes all.
        seed: Seed of the choice.

    Raises:
        InvalidSettingError: The suite has no such part.
        SourceNotFoundError: It cannot be read, or is not on the hub.
        InvalidExampleError: Its rows have another schema, or there are none.
    """
    kind = FILE_SUITES[name]
    rows, facts = _rows(name, source, part, token)
    where = str(facts["source"])
    items, left_out = _items(kind, rows, where)
    are_executed = _are_executed(items, where)
    chosen = tuple(items) if limit is None else choose_by_seed(items, limit, seed)
    facts |= {"rows": len(items) + left_out.total(), "left out": dict(left_out), "seed": seed}
    if kind.refused:
        facts["tests not run"] = f"{len(items)} holes: {kind.refused}"
    return Suite(
        name,
        f"{kind.title}, {'pass@1' if are_executed else RULE_TITLES[kind.rule]}",
        chosen,
        primary=PASS_AT_1 if are_executed else SUITE_SCORE,
        rule="" if are_executed else kind.rule,
        is_left_to_right=name == "repobench",
        facts=facts,
    )


def _rows(
    name: str, source: Path | None, part: str | None, token: str | None
) -> tuple[Iterator[Mapping[str, object]], dict[str, object]]:
    if source is not None and not source.is_dir():
        return file_rows(source), {"source": source.name}
    if name not in HUB_PARTS:
        raise SourceNotFoundError(
            f"the suite {name} is read from its published file, and none was given",
            hint=f"fim eval run --suite {name} --data FILE --out DIR",
        )
    found: HubPart = hub_part(name, part)
    facts: dict[str, object] = {
        "source": found.dataset,
        "part": found.name,
        "split": found.split,
    }
    return hub_rows(found, copy=source, token=token), facts


def _items(
    kind: FileSuite, rows: Iterator[Mapping[str, object]], where: str
) -> tuple[list[SuiteItem], Counter[str]]:
    items: list[SuiteItem] = []
    names: set[str] = set()
    left_out: Counter[str] = Counter()
    for number, row in enumerate(rows):
        try:
            found = kind.read(row, number)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidExampleError(
                f"row {number} of {where} is not of the suite {kind.name} "
                f"({type(error).__name__}: {error}), so nothing was scored",
                hint=f"the published rows have: {kind.fields}",
            ) from error
        if isinstance(found, str):
            left_out[found] += 1
        else:
            items.append(_named_once(found, number, names))
    if not items:
        told = f" but {left_out.total()} that are left out" if left_out else ""
        raise InvalidExampleError(
            f"{where} holds no rows{told}, so there is nothing to score",
            hint=f"the published rows have: {kind.fields}",
        )
    return items, left_out


def _are_executed(items: list[SuiteItem], where: str) -> bool:
    executed = sum(item.check is not None for item in items)
    if executed not in {0, len(items)}:
        raise InvalidExampleError(
            f"{where} mixes {executed} holes with tests and {len(items) - executed} without, so "
            "no one metric fits",
            hint="give one task of the suite at a time",
        )
    return bool(executed)


def _named_once(item: SuiteItem, number: int, names: set[str]) -> SuiteItem:
    """Give an item whose name was seen before its row's number as well."""
    name = item.example.id
    if name in names:
        item = replace(item, example=replace(item.example, id=f"{name}#{number}"))
    names.add(item.example.id)
    return item


RULE_TITLES = {
    "": "pass@1",
    "santacoder_exact_match": "exact match",
    "cceval_exact_match": "exact match",
    "repobench_exact_match": "exact match",
    "safim_api_match": "match of the API call",
    "execrepobench_edit_similarity": "edit similarity",
}
_OPENAI_FIELDS = "task_id, prompt, canonical_solution, suffix, test, entry_point"
FILE_SUITES = {
    suite.name: suite
    for suite in (
        FileSuite(
            "humaneval-random-span",
            "HumanEval-Infilling random span (OpenAI)",
            openai_item,
            "",
            _OPENAI_FIELDS,
        ),
        FileSuite(
            "humaneval-random-span-light",
            "HumanEval-Infilling random span light (OpenAI)",
            openai_item,
            "",
            _OPENAI_FIELDS,
        ),
        FileSuite(
            "santacoder-fim",
            "SantaCoder-FIM (single-line MultiPL-HumanEval)",
            santacoder_item,
            "santacoder_exact_match",
            "name, language, prompt, suffix, canonical_solution",
        ),
        FileSuite(
            "cceval",
            "CrossCodeEval",
            cceval_item,
            "cceval_exact_match",
            "prompt, right_context, groundtruth, metadata, crossfile_context",
        ),
        FileSuite(
            "repobench",
            "RepoBench 1.1 (left context only, not fill-in-the-middle)",
            repobench_item,
            "repobench_exact_match",
            "repo_name, file_path, context, import_statement, cropped_code, next_line",
        ),
        FileSuite(
            "safim",
            "SAFIM",
            safim_item,
            "safim_api_match",
            "task_id, lang, eval_prompt, ground_truth, unit_tests",
        ),
        FileSuite(
            "execrepobench",
            "ExecRepoBench",
            execrepobench_item,
            "execrepobench_edit_similarity",
            "repo_name, prefix_code, middle_code, suffix_code, context_code, fill_type",
            refused="each needs its whole repository in an environment of its own, which the "
            "rows do not hold",
        ),
    )
}
