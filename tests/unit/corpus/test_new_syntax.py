"""Recent syntax of every language with a grammar: understood or not, the file gives holes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fim.config import CorpusSettings
from fim.corpus.documents import Document
from fim.corpus.hashing import content_hash
from fim.corpus.languages import LANGUAGES
from fim.corpus.study import analyse
from fim.corpus.syntax import Grammars

GRAMMARS = Grammars()
SETTINGS = CorpusSettings()
CONSTRAINTS = Path(__file__).resolve().parents[3] / "constraints"
SNIPPETS = Path(__file__).with_name("new_syntax.txt").read_text(encoding="utf-8")
CASES: dict[tuple[str, str], str] = {
    (match["name"], match["title"]): match["text"]
    for match in re.finditer(
        r"^=== (?P<name>\S+): (?P<title>.*)\n(?P<text>(?:(?!=== ).*\n)+)", SNIPPETS, re.MULTILINE
    )
}
WITH_GRAMMAR = tuple(language for language in LANGUAGES if language.grammar)
NOT_UNDERSTOOD = frozenset(
    {
        ("Python", "default type parameter"),
        ("JavaScript", "decorator"),
        ("TypeScript", "typeof import"),
        ("TypeScript", "variance"),
        ("Java", "module import"),
        ("Java", "flexible constructor"),
        ("Go", "new of a value"),
        ("Rust", "unsafe extern"),
        ("C", "embed"),
        ("C", "typed enum"),
        ("C", "auto and typeof"),
        ("C", "defer"),
        ("C++", "modules"),
        ("C++", "deducing this"),
        ("C++", "if consteval"),
        ("C++", "contracts"),
        ("C++", "reflection"),
        ("C#", "extension block"),
        ("Kotlin", "context parameters"),
        ("Kotlin", "when guard"),
        ("Kotlin", "explicit backing field"),
        ("Kotlin", "multi dollar string"),
        ("Bash", "value substitution"),
    }
)


def has_error(name: str, text: str) -> bool:
    tree = GRAMMARS.parse(text, name)
    assert tree is not None
    return tree.has_error


def test_every_language_with_a_grammar_has_recent_syntax() -> None:
    assert {name for name, _ in CASES} == {language.name for language in WITH_GRAMMAR}


def test_what_the_pinned_grammars_do_not_understand_is_known() -> None:
    assert {case for case, text in CASES.items() if has_error(case[0], text)} == NOT_UNDERSTOOD


@pytest.mark.parametrize(("name", "title"), CASES)
def test_a_file_of_recent_syntax_gives_holes(name: str, title: str) -> None:
    text = CASES[name, title] * (1 if name == "Astro" else 6)
    document = Document("app", "a", name, text, content_hash(text))
    found = analyse(document, GRAMMARS, SETTINGS)
    assert found["spans"]
    assert all(0 <= start <= end <= len(text) for start, end, _ in found["spans"])


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_every_grammar_is_pinned(device: str) -> None:
    lines = (CONSTRAINTS / f"{device}.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    assert {language.grammar.replace("_", "-") for language in WITH_GRAMMAR} <= pinned
