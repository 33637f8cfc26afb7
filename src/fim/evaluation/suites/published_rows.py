"""Rows of published suites, each in the schema that it is published in, as holes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fim.data import normalize_language
from fim.evaluation.suites.base import Check, SuiteItem
from fim.types import ContextItem, FimExample

Row = Mapping[str, object]
PYTHON = "Python"
SAFIM_HOLE = "{{completion}}"


def openai_item(row: Row, _number: int) -> SuiteItem:
    """Read a row of OpenAI's HumanEval-Infilling."""
    name, prompt = str(row["task_id"]), str(row["prompt"])
    problem = "/".join(name.split("/")[1:3])
    example = make_example(row["prompt"], row["canonical_solution"], row["suffix"], PYTHON, name)
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


def santacoder_item(row: Row, number: int) -> SuiteItem:
    """Read a row of SantaCoder-FIM; the newlines around its holes are missing in the file."""
    language = normalize_language(str(row.get("language", "py")))
    name = str(row.get("name", f"{number:06d}"))
    prefix, suffix = f"{row['prompt']}\n", f"\n{row['suffix']}"
    item = f"{language}/{name}/{number}"
    example = make_example(prefix, row["canonical_solution"], suffix, language, item)
    return SuiteItem(example, "single line", name)


def cceval_item(row: Row, number: int) -> SuiteItem:
    """Read a row of CrossCodeEval, with its retrieved chunks where it has some."""
    metadata = row["metadata"]
    facts = metadata if isinstance(metadata, dict) else {}
    name = str(facts.get("task_id", f"{number:06d}"))
    given = row.get("crossfile_context") or {}
    chunks = given.get("list", []) if isinstance(given, dict) else []
    context = tuple(
        ContextItem(str(chunk["retrieved_chunk"]), str(chunk.get("filename", "")) or None)
        for chunk in chunks
    )
    language = _language_of(name, str(facts.get("file", "")))
    texts = (row["prompt"], row["groundtruth"], row["right_context"])
    example = make_example(*texts, language, name, context)
    return SuiteItem(example, "rest of line", str(facts.get("repository", name)))


def repobench_item(row: Row, number: int) -> SuiteItem:
    """Read a row of RepoBench 1.1, which has no text after the hole."""
    given = row.get("context") or []
    chunks = given if isinstance(given, list) else []
    context = tuple(ContextItem(str(c["snippet"]), str(c["path"])) for c in chunks)
    prefix = f"{row['import_statement']}\n{row['cropped_code']}\n"
    name = f"{row['repo_name']}/{row['file_path']}/{number}"
    language = _language_of(str(row["file_path"]))
    example = make_example(prefix, row["next_line"], "", language, name, context)
    return SuiteItem(example, "next line, left context only", str(row["repo_name"]))


def safim_item(row: Row, _number: int) -> SuiteItem | str:
    """Read a row of SAFIM; one with tests in another language than Python is left out, told why."""
    before, hole, after = str(row["eval_prompt"]).partition(SAFIM_HOLE)
    if not hole:
        raise KeyError(SAFIM_HOLE)
    language, name = normalize_language(str(row["lang"])), str(row["task_id"])
    given = row.get("unit_tests") or []
    tests = json.loads(given) if isinstance(given, str) else given
    if tests and language != PYTHON:
        return f"tests in {language}, which are not run"
    example = make_example(before, row["ground_truth"], after, language, name)
    if not isinstance(tests, list) or not tests:
        return SuiteItem(example, "API call", name)
    cases = tuple((str(test["input"]), tuple(map(str, test["output"]))) for test in tests)
    kind = "control expression" if "control" in name else "block"
    return SuiteItem(example, kind, name, Check(cases=cases))


def execrepobench_item(row: Row, number: int) -> SuiteItem:
    """Read a row of ExecRepoBench; its repositories and their environments are not in it."""
    name = str(row.get("id", f"{row.get('repo_name', 'repository')}/{number}"))
    shown = row.get("context_code") or []
    context = tuple(ContextItem(str(code), str(path)) for path, code in shown)  # type: ignore[attr-defined]
    texts = (row["prefix_code"], row["middle_code"], row["suffix_code"])
    example = make_example(*texts, PYTHON, name, context)
    kind = str(row.get("fill_type", "hole"))
    return SuiteItem(example, kind, str(row.get("repo_name", name)))


def make_example(
    prefix: object,
    middle: object,
    suffix: object,
    language: str,
    name: str,
    context: tuple[ContextItem, ...] = (),
) -> FimExample:
    """Return the hole of a row.

    Raises:
        TypeError: A text is none.
    """
    if not all(isinstance(text, str) for text in (prefix, middle, suffix)):
        raise TypeError("prefix, middle and suffix have to be text")
    return FimExample(
        str(prefix), str(middle), str(suffix), context=context, language=language, id=name
    )


def _language_of(*names: str) -> str:
    endings = {"py": PYTHON, "java": "Java", "ts": "TypeScript", "cs": "C#", "js": "JavaScript"}
    endings |= {"python": PYTHON, "typescript": "TypeScript", "csharp": "C#"}
    for name in names:
        for part in (name.rpartition(".")[2].lower(), name.partition("/")[0].lower()):
            if part in endings:
                return endings[part]
        for word in ("csharp", "typescript", "java", "python"):
            if word in name.lower():
                return endings[word]
    return PYTHON
