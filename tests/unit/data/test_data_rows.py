from __future__ import annotations

from decimal import Decimal

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
    if name == "suffix" and is_null:
        assert isinstance(problem, ParsedRow)
        return
    assert isinstance(problem, RowProblem)
    assert problem.reason == f"missing_{name}"
    assert (f"{name} is null" if is_null else f"no {name}") in problem.detail


def test_a_missing_part_tells_the_fields_seen() -> None:
    problem = parse_row({"text": "x", "label": 1})
    assert isinstance(problem, RowProblem)
    assert "text, label" in problem.detail


@pytest.mark.parametrize("change", [{"middle": 3}, {"prefix": b"x"}, {"suffix": ["x"]}])
def test_a_wrong_type_is_named(change: dict[str, object]) -> None:
    problem = parse_row(ROW | change)
    assert isinstance(problem, RowProblem)
    assert problem.reason == "wrong_type"
    assert next(iter(change)) in problem.detail


@pytest.mark.parametrize("empty", [None, float("nan")])
def test_a_null_suffix_is_empty_and_counted(empty: object) -> None:
    parsed = parse_row(ROW | {"suffix": empty})
    assert isinstance(parsed, ParsedRow)
    assert parsed.example.suffix == ""
    assert parsed.remarks == ("field_defaulted: suffix",)


ODD: list[object] = [3, 1.5, {"name": "x"}, ["x"], ["x", "y"], b"\xff\xfe", "\ud800", True, ()]


@pytest.mark.parametrize("name", ["lang", "language", "path", "repo", "span_kind"])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_an_odd_label_is_left_out_and_counted(name: str, value: object) -> None:
    parsed = parse_row(ROW | {name: value})
    assert isinstance(parsed, ParsedRow)
    assert parsed.remarks == (f"field_ignored: {name}",)
    bare = parse_row(ROW)
    assert isinstance(bare, ParsedRow)
    assert parsed.example == bare.example


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (1.0, "1"), (1.5, "1.5"), (True, "True"), (b"ab", "ab"), (Decimal(3), "3")],
)
@pytest.mark.parametrize("name", ["id", "document_id"])
def test_an_id_of_one_piece_is_text(name: str, value: object, text: str) -> None:
    parsed = parse_row(ROW | {name: value})
    assert isinstance(parsed, ParsedRow)
    assert getattr(parsed.example, name) == text
    assert parsed.remarks == ()


def test_an_id_that_is_none_is_the_default_one_and_a_list_is_counted() -> None:
    gap = parse_row(ROW | {"id": float("nan")}, default_id="row-1")
    listed = parse_row(ROW | {"id": [1]}, default_id="row-1")
    assert isinstance(gap, ParsedRow)
    assert isinstance(listed, ParsedRow)
    assert (gap.example.id, gap.remarks) == ("row-1", ())
    assert (listed.example.id, listed.remarks) == ("row-1", ("field_ignored: id",))


def test_utf8_bytes_of_a_label_are_text() -> None:
    parsed = parse_row(ROW | {"path": "ä.py".encode()})
    assert isinstance(parsed, ParsedRow)
    assert (parsed.example.path, parsed.remarks) == ("ä.py", ())


@pytest.mark.parametrize(
    ("value", "file_side", "side"),
    [
        ("train", "", "train"),
        (" Training ", "held_out", "train"),
        ("held_out", "train", "held_out"),
        *((word, "", "held_out") for word in ("test", "VALID", "dev", "fold 3", 0, True, ["a"])),
        (None, "held_out", "held_out"),
        ("", "train", "train"),
        (None, "", ""),
    ],
)
def test_the_row_says_its_side_before_its_file_does(
    value: object, file_side: str, side: str
) -> None:
    parsed = parse_row(ROW | {"split": value}, file_side=file_side)
    assert isinstance(parsed, ParsedRow)
    assert parsed.example.split == side
    assert parsed.remarks == ()


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
