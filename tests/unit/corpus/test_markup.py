"""Holes of files that mix markup with scripts."""

from __future__ import annotations

import re

import pytest

from fim.corpus.markup import read_markup
from fim.corpus.spans import sample_spans
from fim.corpus.syntax import Grammars

GRAMMARS = Grammars()
VUE = """<script setup lang="ts">
import { ref } from 'vue'
const count = ref<number>(0)
function add(step: number) {
  if (count.value + step > 10) {
    count.value = Math.min(10, count.value + step)
  }
  return count.value
}
</script>

<template>
  <section class="counter" :class="{ full: count > 9 }">
    <h1>Counted {{ count }} of ten</h1>
    <ul>
      <li v-for="row in rows" :key="row.id">{{ row.title }}</li>
    </ul>
    <button type="button" @click="() => add(1)">Add one more</button>
    <img src="a.png" alt="The number of things">
  </section>
</template>

<style scoped>
.counter { color: red; margin: 0 auto; }
.counter h1 { font-size: 2rem; }
</style>
"""
SVELTE = """<script lang="ts">
  let { rows = [] }: { rows?: Row[] } = $props();
  const total = $derived(rows.reduce((sum, row) => sum + row.size, 0));
</script>

<h1>All of {total}</h1>
{#each rows as row (row.id)}
  <p on:click={() => open(row.id > 3)}>{row.title} has <b>{row.size}</b></p>
{/each}

<style>
  h1 { color: red; }
</style>
"""
ASTRO = """---
import Card from './card.astro';
interface Props { limit?: number }
const { limit = 3 } = Astro.props as Props;
const rows = (await load()).filter((row) => row.size > limit);
---
<main>
  <h1>Rows above {limit}</h1>
  {rows.map((row) => <Card title={row.title} />)}
</main>
"""
FILES = {"Vue": VUE, "Svelte": SVELTE, "Astro": ASTRO}
SECTION_TAG = re.compile(r"</?(?:script|style|template)\b|^---", re.MULTILINE)


def middles(name: str) -> list[tuple[str, int, str]]:
    text = FILES[name]
    tree = GRAMMARS.parse(text, name)
    assert tree is not None
    return [
        (span.kind, span.start, text[span.start : span.end])
        for seed in range(300)
        for span in sample_spans(text, tree, seed=str(seed), max_holes=4, max_middle_chars=256)
    ]


def tags_in(text: str) -> list[str]:
    return re.findall(r"</?[a-zA-Z][\w.]*(?=[\s>/])", text)


@pytest.mark.parametrize("name", FILES)
def test_scripts_are_cut_by_their_grammar_and_no_hole_crosses_a_section(name: str) -> None:
    text = FILES[name]
    found = middles(name)
    assert {kind for kind, _, _ in found if kind.startswith("syntax")}
    scripts = read_markup(text, has_front_matter=name == "Astro").scripts
    for kind, start, middle in found:
        assert not SECTION_TAG.search(middle), middle
        inside = [begin <= start and start + len(middle) <= end for begin, end in scripts]
        assert any(inside) or not kind.startswith("syntax")


@pytest.mark.parametrize("name", FILES)
def test_markup_holes_hold_whole_elements_or_stay_inside_a_tag(name: str) -> None:
    text = FILES[name]
    scripts = read_markup(text, has_front_matter=name == "Astro").scripts
    outside = [
        middle
        for _, start, middle in middles(name)
        if not any(begin <= start < end for begin, end in scripts)
    ]
    assert outside
    for middle in outside:
        names = tags_in(middle)
        opened = [tag for tag in names if not tag.startswith(("</", "<img", "<Card"))]
        assert len(opened) == sum(tag.startswith("</") for tag in names), middle


def test_other_scripts_are_no_code() -> None:
    text = '<script type="application/json">{"a": 1}</script><script>run(1)</script>'
    markup = read_markup(text, has_front_matter=False)
    assert [text[start:end] for start, end in markup.scripts] == ["run(1)"]


@pytest.mark.parametrize("text", ["", "<", "<a", "<script>", "<script>x", "a < b", "<a b='", "</"])
def test_broken_markup_does_no_harm(text: str) -> None:
    tree = GRAMMARS.parse(text, "Vue")
    assert tree is not None
    assert tree.error_share() <= 1
    assert tree.spans_at(0) == () or text.startswith("<script>")


def test_two_scripts_are_two_pieces() -> None:
    text = "<script>\nlet a = run(1)\n</script>\n<script setup>\nlet b = run(2)\n</script>\n"
    tree = GRAMMARS.parse(text, "Vue")
    assert tree is not None
    assert len(tree.roots) == 2
    found = {text[s.start : s.end] for at in range(len(text)) for s in tree.spans_at(at)}
    assert {"run(1)", "run(2)"} <= found
    assert not any("script" in piece for piece in found)


@pytest.mark.parametrize("piece", ["<a {", "<!--", "<a '", "<script>", "<a>"])
def test_broken_markup_costs_no_time(piece: str) -> None:
    text = piece * 50_000
    assert len(read_markup(text, has_front_matter=True).tags) <= 50_000
