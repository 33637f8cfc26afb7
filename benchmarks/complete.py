"""Completing on the CPU: what a keystroke waits for, against the library's ``generate``.

    python benchmarks/complete.py --json FILE [--small] [--adapter DIR] [--dtype bfloat16|float32]

Every contestant completes the same held-out holes of Python's standard library, one by one, in one
process, each round beginning with another contestant: ``generate`` as it is, with a static cache
and with its own prompt lookup, and ours with and without drafts. All stop at the same tokens. Then
the same holes are completed in a batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import describe_machine, package_versions

PLAIN = "transformers generate"
OURS = "fim"
MOST_TOKENS = 64
SHORTEST_LINE = 13
CALLS_UNTIL_FIRST_TOKEN = 2

Contestant = Callable[[Sequence[int], Callable[[], None]], list[int]]


@dataclass
class Tally:
    """What one contestant did."""

    first_ms: list[float] = field(default_factory=list)
    whole_ms: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    answers: list[list[int]] = field(default_factory=list)

    def row(self, name: str, expected: Sequence[Sequence[int]]) -> dict[str, object]:
        """Return a line of the table."""
        tokens = sum(len(ids) + 1 for ids in self.answers)
        seconds = sum(self.whole_ms) / 1000
        same = [found == wanted for found, wanted in zip(self.answers, expected, strict=True)]
        return {
            "name": name,
            "completions": len(self.answers),
            "first_token_ms_p50": statistics.median(self.first_ms),
            "completion_ms_p50": statistics.median(self.whole_ms),
            "completion_ms_p95": sorted(self.whole_ms)[int(0.95 * (len(self.whole_ms) - 1))],
            "tokens_per_second": tokens / seconds,
            "tokens_per_processor_second": tokens / self.cpu_seconds,
            "share_identical": sum(same) / len(same),
        }


@dataclass(frozen=True)
class Bench:
    """The model, the prompts and what ends an answer."""

    model: Any
    prompts: Sequence[Sequence[int]]
    stop_ids: tuple[int, ...]
    pad_id: int
    fast: Any

    def generate(self, prompt: Sequence[int], seen: Callable[[], None], **how: object) -> list[int]:
        """Complete by the library."""
        import torch
        from transformers.generation.streamers import BaseStreamer

        class FirstToken(BaseStreamer):
            """Tells of everything that comes; the prompt comes first."""

            def __init__(self) -> None:
                self.calls = 0

            def put(self, value: object) -> None:
                """Take ids."""
                del value
                self.calls += 1
                if self.calls == CALLS_UNTIL_FIRST_TOKEN:
                    seen()

            def end(self) -> None:
                """Take the end."""

        ids = torch.tensor([list(prompt)])
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=MOST_TOKENS,
                do_sample=False,
                eos_token_id=list(self.stop_ids),
                pad_token_id=self.pad_id,
                streamer=None if "prompt_lookup_num_tokens" in how else FirstToken(),
                **how,
            )
        answer: list[int] = output[0, len(prompt) :].tolist()
        return [each for each in answer if each not in self.stop_ids]

    def stream(
        self, prompt: Sequence[int], seen: Callable[[], None], *, is_fast: bool
    ) -> list[int]:
        """Complete by fim."""
        from fim.inference import GenerationOptions, TokenStream

        tokens = TokenStream(
            self.model,
            prompt,
            options=GenerationOptions(max_new_tokens=MOST_TOKENS),
            stop_ids=self.stop_ids,
            pad_id=self.pad_id,
            fast=self.fast if is_fast else None,
        )
        answer = []
        for token_id in tokens:
            if not answer:
                seen()
            answer.append(token_id)
        return answer


def main() -> None:
    """Run the benchmark."""
    options = _options()
    bench, facts = _bench(options)
    rows = _single(bench, _contestants(bench, is_small=options.small), rounds=options.rounds)
    batch = _batch(bench, size=16)
    by_name = {str(row["name"]): row for row in rows}
    ours, plain = by_name[OURS], by_name[PLAIN]
    best = min(
        (row for name, row in by_name.items() if name.startswith(PLAIN)),
        key=lambda row: float(str(row["completion_ms_p50"])),
    )
    result = {
        "machine": describe_machine(),
        "versions": package_versions(),
        "facts": facts,
        "rows": rows,
        "batch": batch,
        "ratios": {
            "tokens_per_second": _ratio(ours, plain, "tokens_per_second"),
            "tokens_per_processor_second": _ratio(ours, plain, "tokens_per_processor_second"),
            "tokens_per_second_to_best_generate": _ratio(ours, best, "tokens_per_second"),
            "completion_ms_p50": _ratio(plain, ours, "completion_ms_p50"),
            "first_token_ms_p50": _ratio(plain, ours, "first_token_ms_p50"),
        },
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in (*rows, batch):
        print({key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()})
    print(json.dumps({**facts, **result["ratios"]}, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--small", action="store_true", help="4 holes, two contestants")
    parser.add_argument("--holes", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--adapter", type=Path, help="a quickstart's adapter, merged")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), help="the machine's own")
    options = parser.parse_args()
    if options.small:
        options.holes, options.rounds = 4, 1
    return options


def _bench(options: argparse.Namespace) -> tuple[Bench, dict[str, object]]:
    from fim.adapters import settings_for_adapter
    from fim.config import load_settings
    from fim.data import TokenizerView
    from fim.formats import read_record, resolve_format, resolve_record
    from fim.inference.fast import fast_form
    from fim.model.hardware import choose_dtype, detect_hardware
    from fim.pipeline import make_encoder, make_loader

    dtype = choose_dtype(options.dtype, detect_hardware()).name
    resolved = load_settings(preset="cpu", env={}, overrides={"model.dtype": dtype})
    settings = resolved.settings
    if options.adapter is not None:
        settings = settings_for_adapter(resolved, options.adapter)
    loader = make_loader(settings)
    loaded = loader.load()
    view = TokenizerView(loaded.tokenizer)
    wanted = resolve_format("left-to-right", view)
    if options.adapter is not None:
        loaded = loader.with_adapter(loaded, options.adapter)
        wanted = resolve_record(read_record(options.adapter), view)
    encoder = make_encoder(settings, view, resolved_format=wanted)
    model = loaded.model.eval()
    began = time.perf_counter()
    fast = fast_form(model)
    fuse_seconds = time.perf_counter() - began
    prompts = [encoder.prompt(hole).ids for hole in _holes(options.holes)]
    size = sum(weight.nbytes for weight in model.parameters())
    bandwidth = _bytes_per_second()
    facts: dict[str, object] = {
        "dtype": dtype,
        "adapter": str(options.adapter is not None),
        "prompt_tokens": sum(map(len, prompts)) / len(prompts),
        "fuse_seconds": fuse_seconds,
        "weight_mb": size / 1e6,
        "read_gb_per_second": bandwidth / 1e9,
        "floor_ms_per_reading": size / bandwidth * 1000,
    }
    resolved_format = encoder.resolved
    return Bench(model, prompts, resolved_format.stop_ids, resolved_format.pad_id, fast), facts


def _holes(num_holes: int) -> list[Any]:
    """Return holes at every seventh line of some files, cut at half of the line."""
    from fim.types import FimExample

    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for path in sorted(root.glob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for number in range(40, len(lines) - 20, 70):
            line = lines[number]
            if len(line.strip()) >= SHORTEST_LINE:
                cut = len(line) // 2
                before = "".join(lines[:number]) + line[:cut]
                found.append(FimExample(before, line[cut:], "".join(lines[number + 1 :])))
    return found[:: max(1, len(found) // num_holes)][:num_holes]


def _contestants(bench: Bench, *, is_small: bool) -> dict[str, Contestant]:
    found = {
        PLAIN: bench.generate,
        OURS: lambda prompt, seen: bench.stream(prompt, seen, is_fast=True),
    }
    if is_small:
        return found
    return {
        **found,
        f"{PLAIN}, static cache": lambda prompt, seen: bench.generate(
            prompt, seen, cache_implementation="static", disable_compile=True
        ),
        f"{PLAIN}, prompt lookup": lambda prompt, seen: bench.generate(
            prompt, seen, prompt_lookup_num_tokens=7
        ),
        "fim, library's layers": lambda prompt, seen: bench.stream(prompt, seen, is_fast=False),
    }


def _single(
    bench: Bench, contestants: dict[str, Contestant], *, rounds: int
) -> list[dict[str, object]]:
    tallies = {name: Tally() for name in contestants}
    names = list(contestants)
    for complete in contestants.values():
        complete(bench.prompts[0], lambda: None)
    for turn in range(rounds):
        for number, prompt in enumerate(bench.prompts):
            start = (turn + number) % len(names)
            for name in names[start:] + names[:start]:
                _time(tallies[name], contestants[name], prompt)
    expected = tallies[PLAIN].answers
    return [tally.row(name, expected) for name, tally in tallies.items()]


def _time(tally: Tally, complete: Contestant, prompt: Sequence[int]) -> None:
    first: list[float] = []
    cpu, began = time.process_time(), time.perf_counter()
    answer = complete(prompt, lambda: first.append(time.perf_counter()))
    ended = time.perf_counter()
    tally.cpu_seconds += time.process_time() - cpu
    tally.first_ms.append(((first[0] if first else ended) - began) * 1000)
    tally.whole_ms.append((ended - began) * 1000)
    tally.answers.append(answer)


def _batch(bench: Bench, *, size: int) -> dict[str, object]:
    from fim.inference import GenerationOptions, generate_batch

    began = time.perf_counter()
    generate_batch(
        bench.model,
        bench.prompts,
        options=GenerationOptions(max_new_tokens=MOST_TOKENS),
        stop_ids=bench.stop_ids,
        pad_id=bench.pad_id,
        batch_size=size,
        fast=bench.fast,
    )
    seconds = time.perf_counter() - began
    return {"name": "fim, batches", "size": size, "holes_per_second": len(bench.prompts) / seconds}


def _bytes_per_second() -> float:
    """Return how fast memory that does not fit in a cache of a core is read."""
    import torch

    data = torch.ones(64 * 2**20)
    rates = []
    for _ in range(8):
        began = time.perf_counter()
        data.sum()
        rates.append(data.nbytes / (time.perf_counter() - began))
    return max(rates)


def _ratio(one: dict[str, object], other: dict[str, object], key: str) -> float:
    return float(str(one[key])) / float(str(other[key]))


if __name__ == "__main__":
    main()
