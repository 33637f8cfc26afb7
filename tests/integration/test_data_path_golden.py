"""Golden rows: text, ids and loss mask of every format with both real tokenizers.

``UPDATE_GOLDEN=1 pytest tests/integration/test_data_path_golden.py`` writes them anew; a changed
row is a new version of its format.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fim.data import ExampleEncoder, TokenizerView
from fim.formats import resolve_format
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
    ),
    "empty": FimExample(prefix="", middle="", suffix=""),
}
FORMATS = [("chatml", 0), ("psm", 0), ("psm", 2), ("left-to-right", 0)]


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


@pytest.mark.parametrize("family", ["qwen3", "smollm2"])
@pytest.mark.parametrize(("name", "anchor_lines"), FORMATS)
def test_golden_rows(
    request: pytest.FixtureRequest, family: str, name: str, anchor_lines: int
) -> None:
    view: TokenizerView = request.getfixturevalue(f"{family}_view")
    resolved = resolve_format(name, view, anchor_lines=anchor_lines)
    encoder = ExampleEncoder(resolved, view, max_seq_length=1024)
    drawn = "\n".join(
        f"== {title}\n{draw(encoder.encode(example), encoder)}"
        for title, example in EXAMPLES.items()
    )
    path = FOLDER / f"{name}{f'-anchor{anchor_lines}' if anchor_lines else ''}-{family}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(drawn, encoding="utf-8")
    assert drawn == path.read_text(encoding="utf-8")
