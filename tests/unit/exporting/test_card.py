from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fim.errors import RunFolderError
from fim.exporting import CardData, CardMetric, CardSource, render_card, write_card

CARD = CardData(
    title="SmolLM2-135M for your code",
    base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
    base_licence="Apache-2.0",
    licence="Apache-2.0",
    run_id="20261122-1430-smollm2-3f9a",
    created="2026-11-22",
    format_name="psm",
    format_facts={"version": "1", "anchor lines": "4", "end token": "<|end|>"},
    prompt="<PRE>def f(x):\n    ```doc```\n<SUF>\n<MID>    return ",
    languages=("Python",),
    sources=(
        CardSource("Python standard library", "PSF-2.0", 512, 1280, "9f2c" * 16),
        CardSource("my | code"),
    ),
    metrics=(
        CardMetric(
            "nll_per_token", "Gold NLL per token", 2.318, 1.742, -0.576, -0.681, -0.472, False
        ),
        CardMetric("exact_match", "Exact match", 0.05, 0.115, 0.065, -0.01, 0.115),
        CardMetric("edit_similarity", "Edit similarity", 0.5, 0.4, -0.1, -0.2, -0.05),
    ),
    num_items=1200,
    num_clusters=57,
    base_form="left-to-right, first line",
    settings={"train.learning_rate": "0.0005"},
    figures={"steps": "80"},
    limits=("Only Python was measured.",),
    versions={"torch": "2.13.0"},
    commands=("fim complete --adapter runs/latest --prefix 'x = '",),
    tags=("smollm2", "fim"),
)


def header(text: str) -> dict[str, object]:
    _, block, _ = text.split("---\n", 2)
    value = yaml.safe_load(block)
    assert isinstance(value, dict)
    return value


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_front_matter_is_what_a_hub_reads() -> None:
    values = header(render_card(CARD))

    assert values["library_name"] == "peft"
    assert values["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert values["base_model_relation"] == "adapter"
    assert values["license"] == "apache-2.0"
    assert values["pipeline_tag"] == "text-generation"
    assert values["tags"] == [
        "code",
        "code-completion",
        "fill-in-the-middle",
        "fim",
        "lora",
        "smollm2",
    ]


def test_front_matter_holds_the_results() -> None:
    index = header(render_card(CARD))["model-index"]

    assert index == [
        {
            "name": "SmolLM2-135M for your code",
            "results": [
                {
                    "task": {"type": "text-generation", "name": "Fill in the middle"},
                    "dataset": {
                        "type": "held-out-holes",
                        "name": "Held-out holes of the training corpus",
                    },
                    "metrics": [
                        {"type": "nll_per_token", "name": "Gold NLL per token", "value": 1.742},
                        {"type": "exact_match", "name": "Exact match", "value": 0.115},
                        {"type": "edit_similarity", "name": "Edit similarity", "value": 0.4},
                    ],
                }
            ],
        }
    ]


def test_the_hub_library_accepts_the_card() -> None:
    hub = pytest.importorskip("huggingface_hub")

    data = hub.ModelCard(render_card(CARD)).data

    assert data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert len(data.eval_results) == 3


def test_metrics_carry_intervals_and_honest_verdicts() -> None:
    text = render_card(CARD)

    assert "1,200 held-out holes from 57 files that training never saw" in text
    assert "| 2.318 | 1.742 | -0.576 | -0.681 to -0.472 | better |" in text
    assert "| 0.050 | 0.115 | +0.065 | -0.010 to +0.115 | not enough to tell |" in text
    assert "| 0.500 | 0.400 | -0.100 | -0.200 to -0.050 | worse |" in text


def test_unknown_facts_are_called_unknown() -> None:
    text = render_card(CARD)

    assert "| Python standard library | PSF-2.0 | 512 | 1,280 | `9f2c9f2c9f2c9f2c` |" in text
    assert "| my \\| code | unknown | – | – | – |" in text


def test_prompt_is_fenced_beyond_its_own_fences() -> None:
    assert "````text\n<PRE>def f(x):\n    ```doc```\n<SUF>" in render_card(CARD)
    assert "`````text\n````\nx\n````\n`````" in render_card(replace(CARD, prompt="````\nx\n````\n"))


def test_a_bare_card_says_what_is_not_known() -> None:
    bare = CardData("t", "org/base", "run", "today", "chatml")
    text = render_card(bare)
    values = header(text)

    assert "was not evaluated" in text
    assert "licence: unknown" in text
    assert "license" not in values
    assert "model-index" not in values
    for absent in ("## Limits", "## Training", "## Versions", "None"):
        assert absent not in text


def test_number_of_holes_may_be_unknown() -> None:
    text = render_card(replace(CARD, num_items=None, num_clusters=None, base_form=""))

    assert "Held-out holes that training never saw; the base in its better form; intervals" in text


@pytest.mark.parametrize(
    "nasty", ['a"b: c\\', "- x\n# y", "\x00\x1b\u2028", "{{ x }}", "é 🙂", "yes", ""]
)
def test_any_text_is_safe_in_the_front_matter(nasty: str) -> None:
    card = replace(CARD, base_model=nasty, title=nasty, tags=(nasty,))

    values = header(render_card(card))

    assert isinstance(values["base_model"], str)
    if nasty.isprintable():
        assert values["base_model"] == nasty


def test_written_atomically(tmp_path: Path) -> None:
    path = write_card(CARD, tmp_path / "adapter" / "README.md")

    assert path.read_text(encoding="utf-8") == render_card(CARD)
    assert names_in(path.parent) == ["README.md"]


@pytest.mark.parametrize("place", ["file/README.md", "folder"])
def test_unwritable_place_is_an_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()

    with pytest.raises(RunFolderError, match="Cannot write") as caught:
        write_card(CARD, tmp_path / place)

    assert caught.value.hint
    assert names_in(tmp_path) == ["file", "folder"]
