"""The masking strategies against every golden row: equal masks, or a counted reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakes import ByteTokenizer
from family_tokenizers import FAMILIES, family_view
from fim.config import load_settings
from fim.data import TokenizerView
from fim.formats import resolve_format
from fim.pipeline import make_encoder
from fim.training import CHATML_PATTERNS, HARMONY_PATTERNS, MaskingStrategy
from fim.types import IGNORED_LABEL, FimExample

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "formats"
FILES = sorted(FOLDER.glob("*.txt"))
ROWS_PER_FILE = 3
AGREES = "the mask is equal"
NO_MARKERS = "the format has no chat turns"
ANCHORED = "the answer opens with given lines, which no marker tells from trained ones"
EXAMPLE = FimExample(prefix="x = 1\ny = ", middle="2</think>\n", suffix="\n# <|im_end|>\n")


@dataclass(frozen=True)
class GoldenRow:
    """A row of a golden file."""

    file: str
    ids: tuple[int, ...]
    labels: tuple[int, ...]
    has_anchor: bool


def golden_rows() -> Iterator[GoldenRow]:
    for path in FILES:
        for block in path.read_text(encoding="utf-8").split("\n== "):
            lines = block.splitlines()
            ids = next(line for line in lines if line.startswith("ids  "))
            mask = next(line for line in lines if line.startswith("mask "))[5:]
            numbers = tuple(map(int, ids[5:].split()))
            assert len(numbers) == len(mask)
            yield GoldenRow(
                path.stem,
                numbers,
                tuple(
                    token_id if trained == "#" else IGNORED_LABEL
                    for token_id, trained in zip(numbers, mask, strict=True)
                ),
                any(line.startswith(". anchor") and not line.endswith("''") for line in lines),
            )


def test_chatml_finds_the_mask_of_every_golden_chat_row(
    qwen3_view: TokenizerView, smollm2_view: TokenizerView
) -> None:
    views = {"qwen3": qwen3_view, "smollm2": smollm2_view}
    counts: Counter[str] = Counter()
    for row in golden_rows():
        if not row.file.startswith("chatml"):
            assert not _has_turns(row, views.get(row.file.rsplit("-", 1)[-1]))
            counts[NO_MARKERS] += 1
            continue
        strategy = MaskingStrategy.detect(views[row.file.rsplit("-", 1)[-1]])
        assert strategy.name == CHATML_PATTERNS.name
        found = strategy.apply(row.ids)
        if row.has_anchor:
            assert _is_wider(found, row.labels), row.file
            counts[ANCHORED] += 1
        else:
            assert found == row.labels, row.file
            counts[AGREES] += 1
    assert sum(counts.values()) == ROWS_PER_FILE * len(FILES)
    assert counts[AGREES] == 10
    assert counts[ANCHORED] == 2
    assert counts[NO_MARKERS] == ROWS_PER_FILE * (len(FILES) - 4)


def test_the_fallback_is_the_loss_on_whole_rows() -> None:
    fallback = MaskingStrategy()
    for row in golden_rows():
        assert fallback.apply(row.ids) == row.ids


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("is_masked", [True, False])
def test_response_masking_true_and_false_in_every_format(
    path: Path, is_masked: bool, qwen3_view: TokenizerView, smollm2_view: TokenizerView
) -> None:
    name, anchor_lines, family = _parts(path.stem)
    views = {"qwen3": qwen3_view, "smollm2": smollm2_view}
    view = views[family] if family in views else family_view(family)
    settings = load_settings(
        overrides={"data.enable_response_masking": is_masked}, env={}, cwd=path.parent
    ).settings
    resolved = resolve_format(name, view, anchor_lines=anchor_lines, is_extended=family in FAMILIES)
    encoder = make_encoder(settings, view, resolved_format=resolved, is_training=True)
    row = encoder.encode(EXAMPLE)
    prompt, answer = row.input_ids[: row.prompt_length], row.input_ids[row.prompt_length :]
    assert prompt == encoder.prompt(EXAMPLE).ids
    if is_masked:
        assert row.labels == (IGNORED_LABEL,) * len(prompt) + answer
        assert view.decode(answer) == EXAMPLE.middle + encoder.resolved.format.end_token
    else:
        assert row.labels == row.input_ids
        assert MaskingStrategy().agrees(row)


@pytest.mark.parametrize("middle", ["", "\n    return x\n", "</think>", "<|return|>", "🙂"])
def test_harmony_finds_the_answer_and_its_end(middle: str) -> None:
    names = ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>")
    tokenizer = ByteTokenizer({name: 300 + at for at, name in enumerate(names)})
    start, message, channel, end, finish = (tokenizer.control_token_id(name) for name in names)
    prompt = [start, *tokenizer.encode("user"), message, *tokenizer.encode(EXAMPLE.prefix), end]
    prompt += [start, *tokenizer.encode("assistant"), channel, *tokenizer.encode("final"), message]
    answer = [*tokenizer.encode(middle), finish]
    strategy = MaskingStrategy.detect(tokenizer)
    assert strategy.name == HARMONY_PATTERNS.name
    labels = strategy.apply([*prompt, *answer])  # type: ignore[list-item]
    assert labels == (*(IGNORED_LABEL,) * len(prompt), *answer)


def _parts(stem: str) -> tuple[str, int, str]:
    """Return format, anchor lines and family of a golden file's name."""
    from fim.formats import format_names

    name = max((each for each in format_names() if stem.startswith(each)), key=len)
    rest = stem[len(name) + 1 :]
    if rest.startswith("anchor2-"):
        return name, 2, rest.removeprefix("anchor2-")
    return name, 0, rest


def _has_turns(row: GoldenRow, view: TokenizerView | None) -> bool:
    """Tell whether a row holds the token that opens a turn."""
    opening = view.control_token_id("<|im_start|>") if view is not None else None
    return opening is not None and opening in row.ids


def _is_wider(found: tuple[int, ...], labels: tuple[int, ...]) -> bool:
    """Tell whether a mask holds another one and more before it."""
    start = next(at for at, label in enumerate(labels) if label != IGNORED_LABEL)
    return found[start:] == labels[start:] and any(
        label != IGNORED_LABEL for label in found[:start]
    )
