"""Encoding against `datasets.map` with the plain recipe's formatting and tokenisation.

Both turn the same holes into ids of the embedded model's tokenizer, in one process, one after the
other in every round; the figures are medians over the rounds. Ours validates, budgets, masks and
checks that every middle comes back; the recipe renders a chat text, tokenises and cuts it right.

    python benchmarks/encode.py --json FILE [--small]
"""

from __future__ import annotations

import argparse
import json
import random
import runpy
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import describe_machine, package_versions

from fim.config import load_settings
from fim.corpus import stdlib_root
from fim.data import ExampleEncoder, TokenizerView, encode_examples
from fim.pipeline import make_encoder, make_loader
from fim.types import ContextItem, FimExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RECIPE = Path(__file__).resolve().parents[1] / "archive" / "fill-in-the-middle-fine-tune.py"
SEED = 3407
HOLES_PER_FILE = 8
MIDDLE_CHARS = (5, 200)
CONTEXT_CHARS = 600
LENGTHS = (288, 2048)


def build_holes(num_holes: int, *, window_chars: int | None) -> list[FimExample]:
    """Return holes of standard-library files.

    Args:
        num_holes: How many.
        window_chars: Characters kept on each side, as in the published data set; None for all.
    """
    generator = random.Random(SEED)
    texts = [path.read_text("utf-8") for path in sorted(stdlib_root().glob("*.py"))]
    texts = [text for text in texts if len(text) > 4 * MIDDLE_CHARS[1]]
    holes = []
    while len(holes) < num_holes:
        for at, text in enumerate(texts):
            for _ in range(HOLES_PER_FILE):
                start = generator.randrange(len(text) - MIDDLE_CHARS[1])
                end = start + generator.randint(*MIDDLE_CHARS)
                other = texts[at - 1]
                far = generator.randrange(max(1, len(other) - CONTEXT_CHARS))
                first = 0 if window_chars is None else max(0, start - window_chars)
                last = None if window_chars is None else end + window_chars
                holes.append(
                    FimExample(
                        prefix=text[first:start],
                        middle=text[start:end],
                        suffix=text[end:last],
                        context=(ContextItem(other[far : far + CONTEXT_CHARS], path="other.py"),),
                        language="Python",
                        id=f"{at}:{start}",
                    )
                )
    generator.shuffle(holes)
    return holes[:num_holes]


def recipe_pass(
    holes: Sequence[FimExample], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Callable[[], int]:
    """Return the recipe's pass: a text per row, tokenised in batches and cut on the right."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    chat_text = runpy.run_path(str(RECIPE))["chat_text"]
    raw = Dataset.from_list(
        [
            {
                "prefix": hole.prefix,
                "middle": hole.middle,
                "suffix": hole.suffix,
                "context_items": [item.text for item in hole.context],
                "lang": hole.language,
            }
            for hole in holes
        ]
    )

    def encode(batch: dict[str, list[Any]]) -> dict[str, list[list[int]]]:
        names = list(batch)
        rows = [
            dict(zip(names, values, strict=True)) for values in zip(*batch.values(), strict=True)
        ]
        texts = [chat_text(row, tokenizer) for row in rows]
        found = tokenizer(texts, truncation=True, max_length=max_length, add_special_tokens=False)
        return {"input_ids": found["input_ids"]}

    def run() -> int:
        made = raw.map(
            encode,
            batched=True,
            remove_columns=raw.column_names,
            load_from_cache_file=False,
            keep_in_memory=True,
        )
        return len(made)

    return run


def measure(passes: dict[str, Callable[[], int]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return median wall and processor seconds of each pass, rounds interleaved."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in passes}
    for each in passes.values():
        each()
    for _ in range(rounds):
        for name, each in passes.items():
            wall, cpu = time.perf_counter(), time.process_time()
            each()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (statistics.median(w for w, _ in found), statistics.median(c for _, c in found))
        for name, found in seconds.items()
    }


def compare(
    holes: Sequence[FimExample],
    encoder: ExampleEncoder,
    tokenizer: PreTrainedTokenizerBase,
    rounds: int,
    source: str,
) -> list[dict[str, object]]:
    """Return a row of figures for each contestant."""
    ours = encode_examples(holes, encoder)
    passes = {
        "fim": lambda: len(encode_examples(holes, encoder).rows),
        "datasets.map": recipe_pass(holes, tokenizer, encoder.max_seq_length),
    }
    found = measure(passes, rounds)
    return [
        {
            "contestant": name,
            "source": source,
            "max_length": encoder.max_seq_length,
            "holes": len(holes),
            "rounds": rounds,
            "chars": sum(len(h.prefix) + len(h.middle) + len(h.suffix) for h in holes),
            "examples_per_second": len(holes) / wall,
            "examples_per_processor_second": len(holes) / cpu,
            "rows": len(ours.rows) if name == "fim" else len(holes),
        }
        for name, (wall, cpu) in found.items()
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    num_holes, rounds = (40, 1) if given.small else (300, 3)
    rows, ratios = [], {}
    for source, window_chars in (("whole files", None), ("2,000 characters a side", 2000)):
        holes = build_holes(num_holes, window_chars=window_chars)
        for max_length in LENGTHS:
            settings = load_settings(
                preset="cpu",
                overrides={"model.max_seq_length": max_length},
            ).settings
            tokenizer = make_loader(settings).tokenizer()
            encoder = make_encoder(settings, TokenizerView(tokenizer), is_training=True)
            pair = compare(holes, encoder, tokenizer, rounds, source)
            rows += pair
            for figure in ("examples_per_second", "examples_per_processor_second"):
                ratios[f"{source}, {max_length} tokens: {figure}"] = float(
                    pair[0][figure]  # type: ignore[arg-type]
                ) / float(pair[1][figure])  # type: ignore[arg-type]
    answer = {
        "machine": describe_machine(),
        "versions": package_versions(),
        "rows": rows,
        "ratios": ratios,
    }
    given.json.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        sys.stdout.write(
            f"{row['contestant']:<14}{row['source']:<26}{row['max_length']:>6}"
            f"{row['examples_per_second']:>12.1f}/s{row['examples_per_processor_second']:>12.1f}"
            " per processor second\n"
        )
    for name, ratio in ratios.items():
        sys.stdout.write(f"{name}: {ratio:.2f} times\n")


if __name__ == "__main__":
    main()
