"""Published suites read from local files in the schemas they are published in."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.data import normalize_language
from fim.errors import InvalidExampleError, SourceNotFoundError
from fim.evaluation.code_metrics import PASS_AT_1
from fim.evaluation.suites.base import Check, Suite, SuiteItem, choose_by_seed
from fim.types import ContextItem, FimExample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SUITE_SCORE = "suite_score"
_SAFIM_HOLE = "{{completion}}"


@dataclass(frozen=True, slots=True)
class FileSuite:
    """How a published file becomes holes.

    Args:
        name: Name on the command line.
        title: Name for people, with the metric.
        read: Makes an item of one row; a ``KeyError`` means another schema.
        rule: Scoring rule; empty where answers are executed.
        fields: Field names that the schema has, for the error.
    """

    name: str
    title: str
    read: Callable[[Mapping[str, object], int], SuiteItem]
    rule: str
    fields: str


def load_file_suite(name: str, path: Path, *, limit: int | None, seed: int) -> Suite:
    """Read a published suite.

    Args:
        name: One of ``FILE_SUITES``.
        path: A JSONL, optionally gzipped, a JSON list, or a parquet file.
        limit: Holes at most, chosen by seed; None takes all.
        seed: Seed of the choice.

    Raises:
        SourceNotFoundError: The file is missing or unreadable.
        InvalidExampleError: Its rows have another schema, or there are none.
    """
    kind = FILE_SUITES[name]
    items: list[SuiteItem] = []
    names: set[str] = set()
    for number, row in enumerate(read_any(path)):
        try:
            items.append(_named_once(kind.read(row, number), number, names))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidExampleError(
                f"row {number} of {path} is not of the suite {name} ({type(error).__name__}: "
                f"{error}), so nothing was scored",
                hint=f"the published rows have: {kind.fields}",
            ) from error
    if not items:
        raise InvalidExampleError(
            f"{path} holds no rows, so there is nothing to score",
            hint=f"the published rows have: {kind.fields}",
        )
    chosen = tuple(items) if limit is None else choose_by_seed(items, limit, seed)
    return Suite(
        name,
        kind.title,
        chosen,
        primary=SUITE_SCORE if kind.rule else PASS_AT_1,
        rule=kind.rule,
        is_left_to_right=name == "repobench",
        facts={"source": path.name, "rows": len(items), "seed": seed},
    )


def _named_once(item: SuiteItem, number: int, names: set[str]) -> SuiteItem:
    """Give an item whose name was seen before its row's number as well."""
    name = item.example.id
    if name in names:
        item = replace(item, example=replace(item.example, id=f"{name}#{number}"))
    names.add(item.example.id)
    return item


def read_any(path: Path) -> Iterator[Mapping[str, object]]:
    """Yield the rows of a JSONL, JSON list or parquet file.

    Raises:
        SourceNotFoundError: The file is missing or unreadable.
    """
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            yield from parquet.read_table(path).to_pylist()
            return
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        rows = json.loads(text) if text.lstrip()[:1] == b"[" else None
        yield from rows if rows is not None else map(json.loads, filter(None, text.splitlines()))
    except (OSError, ValueError) as error:
        raise SourceNotFoundError(
            f"{path} cannot be read as a suite: {error}",
            hint="give the published file with --data: JSONL, gzipped JSONL, JSON or parquet",
        ) from error


def _openai(row: Mapping[str, object], _number: int) -> SuiteItem:
    name = str(row["task_id"])
    problem = "/".join(name.split("/")[1:3])
    example = _example(row["prompt"], row["canonical_solution"], row["suffix"], "Python", name)
    prompt = str(row["prompt"])
    check = Check(_helpers(prompt), str(row["test"]), str(row["entry_point"]))
    return SuiteItem(example, "random span", problem, check)


def _helpers(prompt: str) -> str:
    """Return the longest run of whole lines of a prompt that is valid Python."""
    lines = prompt.splitlines(keepends=True)
    for count in range(len(lines), 0, -1):
        text = "".join(lines[:count])
        try:
            compile(text, "prompt.py", "exec")
        except (SyntaxError, ValueError):
            continue
        return text
    return ""


def _santacoder(row: Mapping[str, object], number: int) -> SuiteItem:
    language = normalize_language(str(row.get("language", "py")))
    name = str(row.get("name", f"{number:06d}"))
    prefix, suffix = f"{row['prompt']}\n", f"\n{row['suffix']}"
    item = f"{language}/{name}/{number}"
    example = _example(prefix, row["canonical_solution"], suffix, language, item)
    return SuiteItem(example, "single line", name)


def _cceval(row: Mapping[str, object], number: int) -> SuiteItem:
    metadata = row["metadata"]
    facts = metadata if isinstance(metadata, dict) else {}
    name = str(facts.get("task_id", f"{number:06d}"))
    given = row.get("crossfile_context") or {}
    chunks = given.get("list", []) if isinstance(given, dict) else []
    context = tuple(
        ContextItem(str(chunk["retrieved_chunk"]), str(chunk.get("filename", "")) or None)
        for chunk in chunks
    )
    example = _example(
        row["prompt"],
        row["groundtruth"],
        row["right_context"],
        _language_of(name, str(facts.get("file", ""))),
        name,
        context,
    )
    return SuiteItem(example, "rest of line", str(facts.get("repository", name)))


def _repobench(row: Mapping[str, object], number: int) -> SuiteItem:
    given = row.get("context") or []
    chunks = given if isinstance(given, list) else []
    context = tuple(ContextItem(str(c["snippet"]), str(c["path"])) for c in chunks)
    prefix = f"{row['import_statement']}\n{row['cropped_code']}\n"
    name = f"{row['repo_name']}/{row['file_path']}/{number}"
    example = _example(prefix, row["next_line"], "", _language_of(str(row["file_path"])), name)
    item = FimExample(example.prefix, example.middle, "", context, example.language, id=name)
    return SuiteItem(item, "next line, left context only", str(row["repo_name"]))


def _safim(row: Mapping[str, object], _number: int) -> SuiteItem:
    prompt = str(row["eval_prompt"])
    if _SAFIM_HOLE not in prompt:
        raise KeyError(_SAFIM_HOLE)
    before, after = prompt.split(_SAFIM_HOLE, 1)
    language = normalize_language(str(row["lang"]))
    name = str(row["task_id"])
    example = _example(before, row["ground_truth"], after, language, name)
    return SuiteItem(example, str(row.get("task", "API call")), name)


def _execrepobench(row: Mapping[str, object], number: int) -> SuiteItem:
    name = str(row.get("id", f"{row.get('repo_name', 'repository')}/{number}"))
    shown = row.get("context_code") or []
    context = tuple(ContextItem(str(code), str(path)) for path, code in shown)  # type: ignore[attr-defined]
    example = _example(
        row["prefix_code"], row["middle_code"], row["suffix_code"], "Python", name, context
    )
    kind = str(row.get("fill_type", "hole"))
    return SuiteItem(example, kind, str(row.get("repo_name", name)))


def _example(
    prefix: object,
    middle: object,
    suffix: object,
    language: str,
    name: str,
    context: tuple[ContextItem, ...] = (),
) -> FimExample:
    if not all(isinstance(text, str) for text in (prefix, middle, suffix)):
        raise TypeError("prefix, middle and suffix have to be text")
    return FimExample(
        str(prefix), str(middle), str(suffix), context=context, language=language, id=name
    )


def _language_of(*names: str) -> str:
    endings = {"py": "Python", "java": "Java", "ts": "TypeScript", "cs": "C#", "js": "JavaScript"}
    endings |= {"python": "Python", "typescript": "TypeScript", "csharp": "C#"}
    for name in names:
        for part in (name.rpartition(".")[2].lower(), name.partition("/")[0].lower()):
            if part in endings:
                return endings[part]
        for word in ("csharp", "typescript", "java", "python"):
            if word in name.lower():
                return endings[word]
    return "Python"


FILE_SUITES = {
    suite.name: suite
    for suite in (
        FileSuite(
            "humaneval-random-span",
            "HumanEval-Infilling random span (OpenAI), pass@1",
            _openai,
            "",
            "task_id, prompt, canonical_solution, suffix, test, entry_point",
        ),
        FileSuite(
            "humaneval-random-span-light",
            "HumanEval-Infilling random span light (OpenAI), pass@1",
            _openai,
            "",
            "task_id, prompt, canonical_solution, suffix, test, entry_point",
        ),
        FileSuite(
            "santacoder-fim",
            "SantaCoder-FIM (single-line MultiPL-HumanEval), exact match",
            _santacoder,
            "santacoder_exact_match",
            "name, language, prompt, suffix, canonical_solution",
        ),
        FileSuite(
            "cceval",
            "CrossCodeEval, exact match",
            _cceval,
            "cceval_exact_match",
            "prompt, right_context, groundtruth, metadata, crossfile_context",
        ),
        FileSuite(
            "repobench",
            "RepoBench 1.1, exact match; left context only, not fill-in-the-middle",
            _repobench,
            "repobench_exact_match",
            "repo_name, file_path, context, import_statement, cropped_code, next_line",
        ),
        FileSuite(
            "safim",
            "SAFIM, match of the API call (its tests are not run)",
            _safim,
            "safim_api_match",
            "task_id, lang, eval_prompt, ground_truth",
        ),
        FileSuite(
            "execrepobench",
            "ExecRepoBench, edit similarity (its tests are not run)",
            _execrepobench,
            "execrepobench_edit_similarity",
            "repo_name, prefix_code, middle_code, suffix_code, context_code, fill_type",
        ),
    )
}
