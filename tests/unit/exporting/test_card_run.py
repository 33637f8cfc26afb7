from __future__ import annotations

import json
from pathlib import Path

import pytest

from fim.errors import RunFolderError
from fim.exporting import card_from_run, render_card

SUMMARY = {
    "run": "20261122-1430-smollm2-3f9a",
    "created": "2026-11-22T14:38:41+00:00",
    "model": "embedded/SmolLM2-135M-Instruct",
    "format": {
        "name": "psm",
        "version": 1,
        "family": "smollm2",
        "order": "psm",
        "anchor_lines": 4,
        "token_ids": {"<PRE>": 4, "<MID>": 6},
        "end_id": 2,
        "stop_ids": [2, 0],
        "fingerprint": "ab12",
    },
    "training": {"steps": 80, "train_loss": 1.91345, "seconds": 288.72, "peak_memory_mib": 2911.4},
    "notes": ["Only Python was measured."],
    "commands": ["fim complete --prefix TEXT --suffix TEXT"],
}
COMPARISON = {
    "items": 200,
    "clusters": 57,
    "base": "base-left-to-right",
    "metrics": {
        "nll_per_token": {
            "base": 2.3,
            "tuned": 1.7,
            "difference": -0.6,
            "low": -0.7,
            "high": -0.5,
            "base_name": "base, left-to-right",
        },
        "regret": {
            "base": 1.0,
            "tuned": 2.0,
            "difference": 1.0,
            "low": 0.5,
            "high": 1.5,
            "higher_is_better": False,
        },
    },
}
MANIFEST = {
    "source": "the Python standard library",
    "files": {"seen": 1684, "used": 512},
    "examples": {"train": 1280, "held_out": 200},
    "licences": {"the Python standard library": "PSF-2.0"},
    "languages": ["Python"],
    "hashes": {"train": "9f" * 32},
}
CONFIG = {
    "lora": {"r": 16, "target_modules": ["q_proj", "k_proj"]},
    "data": {"enable_response_masking": True},
    "hf": {"token": "hf_must_never_be_shown"},
}
ENVIRONMENT = {"python": "3.11.9", "packages": {"torch": "2.13.0", "unsloth": None}}


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    write(tmp_path / "summary.json", SUMMARY)
    write(tmp_path / "eval" / "comparison.json", COMPARISON)
    write(tmp_path / "data_manifest.json", MANIFEST)
    write(tmp_path / "config.json", CONFIG)
    write(tmp_path / "environment.json", ENVIRONMENT)
    return tmp_path


def test_reads_a_finished_run(run_folder: Path) -> None:
    card = card_from_run(run_folder)

    assert card.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert card.base_licence == "Apache-2.0"
    assert card.title == "SmolLM2-135M-Instruct, tuned to fill in the middle"
    assert card.format_facts["stop ids"] == "2, 0"
    assert card.format_facts["<MID>"] == "6"
    assert card.sources[0].licence == "PSF-2.0"
    assert card.sources[0].num_holes == 1280
    assert card.base_form == "base, left-to-right; base-left-to-right"
    assert [metric.higher_is_better for metric in card.metrics] == [False, False]
    assert card.settings == {
        "lora.r": "16",
        "lora.target_modules": "q_proj, k_proj",
        "data.enable_response_masking": "true",
    }
    assert card.figures["training loss"] == "1.913"
    assert card.figures["peak memory, MiB"] == "2,911"
    assert card.versions == {"python": "3.11.9", "torch": "2.13.0"}


def test_card_of_a_run_tells_no_secret(run_folder: Path) -> None:
    text = render_card(card_from_run(run_folder))

    assert "hf_must_never_be_shown" not in text
    assert "completes Python code between a prefix and a suffix" in text


def test_only_the_summary_is_needed(tmp_path: Path) -> None:
    write(tmp_path / "summary.json", {"run": "r", "created": "now", "model": "org/model"})

    card = card_from_run(tmp_path)

    assert card.base_model == "org/model"
    assert card.base_licence == ""
    assert card.sources == card.metrics == ()
    assert "was not evaluated" in render_card(card)


def test_a_source_without_its_own_licence_gets_those_of_its_parts(run_folder: Path) -> None:
    licences = {"a": "MIT", "b": "Apache-2.0", "c": "MIT"}
    write(run_folder / "data_manifest.json", MANIFEST | {"licences": licences})

    assert card_from_run(run_folder).sources[0].licence == "Apache-2.0, MIT"


def test_missing_summary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"summary\.json is missing"):
        card_from_run(tmp_path)
