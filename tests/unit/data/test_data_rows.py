from __future__ import annotations

import pytest

from fim.data.languages import normalize_language
from fim.data.rows import ParsedRow, RowProblem, parse_row

ROW: dict[str, object] = {"prefix": "a", "middle": "b", "suffix": "c"}


def test_the_texts_are_taken_as_they_are() -> None:
    parsed = parse_row({"prefix": " \r\n", "middle": "\n\tx ", "suffix": "\ufeff"})
    assert isinstance(parsed, ParsedRow)
    example = parsed.example
    assert (example.prefix, example.middle, example.suffix) == (" \r\n", "\n\tx ", "\ufeff")


def test_an_empty_middle_is_an_answer() -> None:
    parsed = parse_row(ROW | {"middle": ""})
    assert isinstance(parsed, ParsedRow)
    assert parsed.example.middle == ""


def test_names_are_read() -> None:
    parsed = parse_row(
        ROW
        | {
            "lang": "ts",
            "path": "x.ts",
            "repo": "r",
            "id": 7,
            "document_id": "d",
            "span_kind": "call",
            "split": "train",
        }
    )
    assert isinstance(parsed, ParsedRow)
    example = parsed.example
    assert (example.language, example.path, example.repo, example.id) == (
        "TypeScript",
        "x.ts",
        "r",
        "7",
    )
    assert (example.document_id, example.span_kind, example.split) == ("d", "call", "train")


def test_without_names_there_is_the_default_id() -> None:
    parsed = parse_row(ROW | {"language": None}, default_id="row-3")
    assert isinstance(parsed, ParsedRow)
    assert (parsed.example.id, parsed.example.language, parsed.example.path) == ("row-3", "", None)


@pytest.mark.parametrize("name", ["prefix", "middle", "suffix"])
@pytest.mark.parametrize("is_null", [True, False])
def test_a_missing_part_is_named(name: str, *, is_null: bool) -> None:
    row = {key: value for key, value in ROW.items() if key != name}
    problem = parse_row(row | ({name: None} if is_null else {}))
    assert isinstance(problem, RowProblem)
    assert problem.reason == f"missing_{name}"


def test_a_missing_part_tells_the_fields_seen() -> None:
    problem = parse_row({"text": "x", "label": 1})
    assert isinstance(problem, RowProblem)
    assert "text, label" in problem.detail


@pytest.mark.parametrize(
    "change", [{"middle": 3}, {"prefix": b"x"}, {"suffix": ["x"]}, {"lang": 3}, {"id": 1.5}]
)
def test_a_wrong_type_is_named(change: dict[str, object]) -> None:
    problem = parse_row(ROW | change)
    assert isinstance(problem, RowProblem)
    assert problem.reason == "wrong_type"
    assert next(iter(change)) in problem.detail


def test_a_lone_surrogate_is_broken_utf8() -> None:
    problem = parse_row(ROW | {"middle": "\ud800"})
    assert isinstance(problem, RowProblem)
    assert problem.reason == "broken_utf8"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("py", "Python"),
        (" PYTHON ", "Python"),
        (".tsx", "TypeScript"),
        ("C++", "C++"),
        ("cpp", "C++"),
        ("golang", "Go"),
        ("Brainfuck", "Brainfuck"),
        ("", ""),
    ],
)
def test_languages_have_one_spelling(given: str, expected: str) -> None:
    assert normalize_language(given) == expected
