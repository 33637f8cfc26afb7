"""The data card says what a set is made of, and stands whatever the manifest lacks."""

from __future__ import annotations

from fim.corpus.card import render_card

MANIFEST = {
    "config": {"split": "time", "split_commit": "v1", "leak_ngram_tokens": 13},
    "inputs": [{"name": "app|x", "kind": "git", "commit": "abc", "files": 1200}],
    "files": {"seen": 1200, "used": 1190, "dropped": {"lock_file": 10}},
    "holes": {"seen": 50, "used": 50, "dropped": {}},
    "content": {
        "licences": {"MIT": 1190},
        "redacted_files": 2,
        "redacted_secrets": {"github_token": 2, "slack_token": 1},
        "redacted_characters": {"github_token": 1080, "slack_token": 40},
    },
    "context": {"rows": {"with_context": 30}, "items": {"definition": 60}},
    "splits": {"train": {"examples": 45, "languages": {"Go": 45}}, "held_out": {"examples": 5}},
}


def test_the_card_names_sides_sources_licences_secrets_context_and_drops() -> None:
    text = render_card(MANIFEST)
    for told in (
        "| examples | 45 | 5 |",
        "| app\\|x | git | abc | 1,200 |",
        "| MIT | 1,190 |",
        "placeholder: 3, in 2 files, 1,120 characters",
        "| with context | 30 |",
        "| definition | 60 |",
        "| lock file | 10 |",
        "lines added after commit `v1`",
    ):
        assert told in text


def test_an_empty_manifest_gives_a_card() -> None:
    assert render_card({}).startswith("# Fill-in-the-middle data set")
