"""Golden rows: text, ids and loss mask of every format in every family.

Qwen and SmolLM2 speak through their real tokenizers, the other families through stand-ins that hold
their control tokens.

``UPDATE_GOLDEN=1 pytest tests/integration/test_data_path_golden.py`` writes them anew; a changed
row is a new version of its format.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from family_tokenizers import FAMILIES, family_view
from fim.data import ExampleEncoder, TokenizerView
from fim.formats import build_formats, format_names, resolve_format
from fim.types import IGNORED_LABEL, ContextItem, EncodedExample, FimExample

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "formats"
EXAMPLES = {
    "plain": FimExample(
        prefix="def mean(xs):\n    return ", middle="sum(xs) / len(xs)", suffix="\n"
    ),
    "full": FimExample(
        prefix="# ``` and <|fim_middle|>\nimport math\n\n\ndef area(r):\n    ret",
        middle="urn math.pi * r**2\n</think>\n",
        suffix="\n\nprint(area(2))  # <|im_end|> <file_sep>\n",
        context=(
            ContextItem("TAU = 6.28\n", path="constants.py", score=2.0),
            ContextItem("```md\nfence\n```", score=1.0),
        ),
        language="Python",
        path="shapes.py",
        repo="acme/shapes",
    ),
    "empty": FimExample(prefix="", middle="", suffix=""),
}
ANCHORED = ("chatml-native", "psm", "repo", "infill")
OF_QWEN = [*((name, 0) for name in format_names()), *((name, 2) for name in ANCHORED)]
OF_SMOLLM2 = [(name, 0) for name in ("chatml", "psm", "spm", "spm2", "codestral", "left-to-right")]
OF_FAMILIES = [
    (family, variant.name, anchor_lines)
    for name in format_names()
    for anchor_lines in ((0, 2) if name in ANCHORED else (0,))
    for variant in build_formats(name, anchor_lines=anchor_lines)
    for family in FAMILIES
    if variant.family == family
]


def draw(row: EncodedExample, encoder: ExampleEncoder) -> str:
    """Return a row as text: its record, its segments, its ids and its mask (``#`` is trained)."""
    record = encoder.resolved.record()
    mask = "".join("." if label == IGNORED_LABEL else "#" for label in row.labels)
    lines = [
        f"format {record.name}@{record.version} {record.family} anchor {record.anchor_lines}",
        f"end {record.end_id} stops {list(record.stop_ids)} pad {encoder.resolved.pad_id}",
        f"fingerprint {record.fingerprint}",
        "",
        *(
            f"{'#' if segment.trained else '.'} {segment.kind.value:8} {segment.text!r}"
            for segment in row.segments
        ),
        "",
        "text " + repr(encoder.tokenizer.decode(row.input_ids)),
        "ids  " + " ".join(map(str, row.input_ids)),
        "mask " + mask,
    ]
    return "\n".join(lines) + "\n"


def check(view: TokenizerView, family: str, name: str, anchor_lines: int) -> None:
    resolved = resolve_format(name, view, anchor_lines=anchor_lines, is_extended=family in FAMILIES)
    encoder = ExampleEncoder(resolved, view, max_seq_length=1024)
    drawn = "\n".join(
        f"== {title}\n{draw(encoder.encode(example), encoder)}"
        for title, example in EXAMPLES.items()
    )
    path = FOLDER / f"{name}{f'-anchor{anchor_lines}' if anchor_lines else ''}-{family}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(drawn, encoding="utf-8")
    assert drawn == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "anchor_lines"), OF_QWEN)
def test_golden_rows_of_qwen(qwen3_view: TokenizerView, name: str, anchor_lines: int) -> None:
    check(qwen3_view, "qwen3", name, anchor_lines)


@pytest.mark.parametrize(("name", "anchor_lines"), [*OF_SMOLLM2, ("psm", 2)])
def test_golden_rows_of_smollm2(smollm2_view: TokenizerView, name: str, anchor_lines: int) -> None:
    check(smollm2_view, "smollm2", name, anchor_lines)


@pytest.mark.parametrize(("family", "name", "anchor_lines"), OF_FAMILIES)
def test_golden_rows_of_other_families(family: str, name: str, anchor_lines: int) -> None:
    view = family_view(family)
    check(view, family, name, anchor_lines)


def test_every_golden_file_has_a_test() -> None:
    cases = [
        *(("qwen3", *each) for each in OF_QWEN),
        *(("smollm2", *each) for each in [*OF_SMOLLM2, ("psm", 2)]),
        *OF_FAMILIES,
    ]
    names = {
        f"{name}{f'-anchor{anchor_lines}' if anchor_lines else ''}-{family}.txt"
        for family, name, anchor_lines in cases
    }
    assert names == {path.name for path in FOLDER.iterdir()}
