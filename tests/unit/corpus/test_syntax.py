"""Syntax around a position, in characters."""

from __future__ import annotations

import pytest

from fim.corpus.languages import LANGUAGES, language_named, language_of
from fim.corpus.syntax import Grammars

TEXT = (
    "def f(x):\n"
    '    """Say é."""\n'
    '    if x > "\U0001f600":\n'
    "        return g(x, 1)\n"
    "    y = x.real\n"
)


def spans(text: str, needle: str) -> set[tuple[str, str]]:
    tree = Grammars().parse(text, "Python")
    assert tree is not None
    position = text.index(needle)
    return {(span.kind, text[span.start : span.end]) for span in tree.spans_at(position)}


def test_call_arguments_statement_and_block_around_a_name() -> None:
    found = spans(TEXT, "x, 1")
    assert ("arguments", "x, 1") in found
    assert ("call", "g(x, 1)") in found
    assert ("block", "return g(x, 1)") in found
    assert ("statement", "return g(x, 1)") in found


def test_condition_of_an_if() -> None:
    assert ("condition", 'x > "\U0001f600"') in spans(TEXT, '> "')


def test_a_function_body_starts_after_its_docstring() -> None:
    bodies = {text for kind, text in spans(TEXT, "y = ") if kind == "block"}
    assert bodies == {TEXT[TEXT.index("if x") :].rstrip("\n")}


def test_prose_is_known() -> None:
    tree = Grammars().parse(TEXT, "Python")
    assert tree is not None
    assert tree.is_prose(TEXT.index("Say"))
    assert not tree.is_prose(TEXT.index("g(x"))


def test_broken_syntax_is_not_offered() -> None:
    assert spans("def f(:\n    x = = 3\n", "= 3") == set()


def test_numbers_alone_are_no_expressions() -> None:
    assert spans("x = {1: 123456}\n", "123456") == {
        ("expression", "1: 123456"),
        ("expression", "{1: 123456}"),
        ("statement", "x = {1: 123456}"),
    }


def test_languages_without_an_installed_grammar_are_told() -> None:
    grammars = Grammars()
    assert grammars.parse("x = 1", "Lua") is None
    assert grammars.parse("x = 1", "Klingon") is None
    assert grammars.parse("x = 1", "Python") is not None
    versions = grammars.versions()
    assert versions["Lua"] == "lines"
    assert versions["Python"][0].isdigit()


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b.py", "Python"), ("A.TSX", "TSX"), ("Makefile", "Makefile"), ("x.rs", "Rust")],
)
def test_language_by_file_name(path: str, name: str) -> None:
    language = language_of(path)
    assert language is not None
    assert language.name == name


@pytest.mark.parametrize("path", ["README.md", "noending", ".py/readme", "data.json"])
def test_unknown_languages(path: str) -> None:
    assert language_of(path) is None


def test_no_two_languages_share_an_ending() -> None:
    endings = [ending for language in LANGUAGES for ending in language.endings]
    assert len(endings) == len(set(endings))
    assert language_named("Go") is not None
