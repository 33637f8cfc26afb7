"""Every language of the table: recognised, parsed, and cut at its own syntax."""

from __future__ import annotations

import importlib.util

import pytest

from fim.corpus import spans as spans_module
from fim.corpus.languages import LANGUAGES, language_of, may_have_shebang
from fim.corpus.spans import sample_spans
from fim.corpus.syntax import Grammars

GRAMMARS = Grammars()
SNIPPETS: dict[str, str] = {
    "Python": (
        "class Store:\n    def save(self, key, value):\n        if key in self.cache:\n"
        "            self.write(key, value)\n        return value\n"
    ),
    "JavaScript": (
        "export class Store {\n  save(key, value) {\n    if (this.cache.has(key)) {\n"
        "      this.write(key, value);\n    }\n    return value;\n  }\n}\n"
    ),
    "TypeScript": (
        "export class Store<T> {\n  save(key: string, value: T): T {\n"
        "    if (this.cache.has(key)) {\n      this.write(key, value);\n    }\n"
        "    return value;\n  }\n}\n"
    ),
    "TSX": (
        "export function Row({ key, value }: Props) {\n  if (isOpen(key)) {\n"
        "    this.write(key, value);\n  }\n  return <td onClick={save}>{value}</td>;\n}\n"
    ),
    "Java": (
        "class Store {\n  int save(String key, int value) {\n    if (cache.has(key)) {\n"
        "      this.write(key, value);\n    }\n    return value;\n  }\n}\n"
    ),
    "Go": (
        "package store\n\nfunc (s *Store) Save(key string, value int) int {\n"
        "\tif s.has(key) {\n\t\ts.write(key, value)\n\t}\n\treturn value\n}\n"
    ),
    "Rust": (
        "impl Store {\n    fn save(&mut self, key: &str, value: u32) -> u32 {\n"
        "        if self.has(key) {\n            self.write(key, value);\n        }\n"
        "        value\n    }\n}\n"
    ),
    "C": (
        "int save(struct store *s, int key, int value) {\n    if (has(s, key)) {\n"
        "        store_write(key, value);\n    }\n    return value;\n}\n"
    ),
    "C++": (
        "int Store::save(const Key& key, int value) {\n    if (cache.has(key)) {\n"
        "        this->write(key, value);\n    }\n    return value;\n}\n"
    ),
    "C#": (
        "class Store {\n  int Save(string key, int value) {\n    if (cache.Has(key)) {\n"
        "      this.write(key, value);\n    }\n    return value;\n  }\n}\n"
    ),
    "Ruby": (
        "class Store\n  def save(key, value)\n    if cache.has(key)\n"
        "      writer.write(key, value)\n    end\n    value\n  end\nend\n"
    ),
    "PHP": (
        "<?php\nclass Store {\n  function save($key, $value) {\n    if ($this->has($key)) {\n"
        "      $this->write(key, value);\n    }\n    return $value;\n  }\n}\n"
    ),
    "Kotlin": (
        "class Store {\n  fun save(key: String, value: Int): Int {\n    if (cache.has(key)) {\n"
        "      this.write(key, value)\n    }\n    return value\n  }\n}\n"
    ),
    "Bash": (
        'save() {\n  local key="$1"\n  if [[ -n "$key" ]]; then\n    write key value\n  fi\n'
        '  for name in "$@"; do\n    write key "$name"\n  done\n}\n'
    ),
}
SCRIPT = (
    "  function save(key: string, value: number) {\n    if (cache.has(key)) {\n"
    "      write(key, value)\n    }\n    return value\n  }\n"
)
SNIPPETS |= {
    "Vue": f'<script setup lang="ts">\n{SCRIPT}</script>\n<template>{{{{ a }}}}</template>\n',
    "Svelte": f'<p>{{value}}</p>\n<script lang="ts">\n{SCRIPT}</script>\n',
    "Astro": f"---\n{SCRIPT}---\n<p>{{value}}</p>\n",
    "HTML": f"<!doctype html>\n<html><body><script>\n{SCRIPT}</script></body></html>\n",
}
WITH_GRAMMAR = {language.name: language for language in LANGUAGES if language.grammar}


def pieces(name: str) -> set[tuple[str, str]]:
    text = SNIPPETS[name]
    tree = GRAMMARS.parse(text, name)
    assert tree is not None
    found = {span for place in range(len(text)) for span in tree.spans_at(place)}
    return {(span.kind, text[span.start : span.end].strip()) for span in found}


def test_the_table_names_the_languages_that_have_a_snippet() -> None:
    assert set(WITH_GRAMMAR) == set(SNIPPETS)


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_base_install_parses_the_language(name: str) -> None:
    assert importlib.util.find_spec(WITH_GRAMMAR[name].grammar) is not None
    tree = GRAMMARS.parse(SNIPPETS[name], name)
    assert tree is not None
    assert not tree.has_error
    assert tree.error_share() == 0


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_spans_are_syntax_of_the_language(name: str) -> None:
    found = pieces(name)
    calls = {text for kind, text in found if kind == "call"}
    conditions = {text for kind, text in found if kind == "condition"}
    assert any(text.endswith(("write(key, value)", "write key value")) for text in calls)
    assert conditions
    assert any(kind == "block" and "write" in text for kind, text in found)
    assert any(kind == "statement" and "write" in text for kind, text in found)
    assert name == "Bash" or ("arguments", "key, value") in found


@pytest.mark.parametrize("name", SNIPPETS)
def test_holes_are_syntactic_and_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "MIN_VISIBLE_CHARS", 0)
    text = SNIPPETS[name]
    tree = GRAMMARS.parse(text, name)
    spans = [
        span
        for seed in range(80)
        for span in sample_spans(text, tree, seed=str(seed), max_holes=1, max_middle_chars=200)
    ]
    syntax = {
        (span.kind.removeprefix("syntax:"), text[span.start : span.end].strip())
        for span in spans
        if span.kind.startswith("syntax:")
    }
    assert len({kind for kind, _ in syntax}) >= 3
    assert syntax <= pieces(name)
    assert all(0 <= span.start <= span.end <= len(text) for span in spans)


def test_a_language_without_grammar_is_cut_by_lines() -> None:
    text = SNIPPETS["Ruby"] * 8
    assert GRAMMARS.parse(text, "Elixir") is None
    spans = sample_spans(text, None, seed="s", max_holes=5, max_middle_chars=200)
    assert spans
    assert not any(span.kind.startswith("syntax") for span in spans)


def test_broken_text_has_a_share_of_errors() -> None:
    tree = GRAMMARS.parse("}}} ((( ]]] this is ) no ( python ; at all }{ \n" * 20, "Python")
    assert tree is not None
    assert tree.has_error
    assert tree.error_share() > 0.3


@pytest.mark.parametrize(
    ("path", "first_line", "name"),
    [
        ("bin/run", "#!/usr/bin/env python3\n", "Python"),
        ("bin/run", "#!/usr/bin/python3.12 -u\r\n", "Python"),
        ("run", "#! /usr/bin/env -S FLAG=1 node --no-warnings\n", "JavaScript"),
        ("run", "#!/bin/sh", "Bash"),
        ("run", "#!/usr/local/bin/bash -e\n", "Bash"),
        ("hook", "#!/usr/bin/ruby\n", "Ruby"),
        ("hook", "#!/usr/bin/env -S deno run\n", "TypeScript"),
        ("hook", "#!/usr/bin/unknown\n", None),
        ("README", "plain text\n", None),
        ("notes.txt", "#!/bin/sh\n", None),
        ("main.py", "#!/bin/sh\n", "Python"),
    ],
)
def test_the_first_line_names_the_language(path: str, first_line: str, name: str | None) -> None:
    language = language_of(path, first_line)
    assert (language.name if language else None) == name
    assert may_have_shebang(path) == ("." not in path)
