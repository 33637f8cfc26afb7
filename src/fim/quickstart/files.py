"""What a quickstart writes into its run folder besides the training's own files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from fim.evaluation import HIGHER_IS_BETTER, Sample, write_samples
from fim.quickstart.contestants import DESCRIPTIONS, TUNED, kind_of
from fim.quickstart.outcome import QuickstartOutcome, next_commands

if TYPE_CHECKING:
    from fim.pipeline import Prepared
    from fim.types import FimExample

NOTES = (
    "The base is asked left to right, without the suffix; of five rules to end its answers the one "
    "used for both was the best for it, too. A few holes are asked by chat for comparison.",
    "All are asked with healed prompts: the word at the cursor is spelled again, so that no token "
    "is split there. Without that the base would look much worse than it is.",
    "The likelihood is that of the middle's own tokens, from the start of the token at the cursor; "
    "end tokens are left out, since left to right has none.",
    "Intervals are 95 % paired bootstraps over files. The files are public and the base may have "
    "seen them in pre-training, which helps base and tuned alike.",
    "A small model and a few minutes show the path, not what a large model on a GPU reaches.",
)


def write_evaluation(outcome: QuickstartOutcome, prepared: Prepared) -> None:
    """Write the comparison and every contestant's samples.

    Raises:
        RunFolderError: The file system refused.
    """
    run, settings = outcome.run, prepared.settings
    base_name = outcome.gains["edit_similarity"].base_form
    run.write_json(
        run.comparison,
        {
            "suite": "held-out holes of files that training never saw",
            "items": outcome.num_holes,
            "clusters": outcome.num_files,
            "bootstrap_draws": settings.eval.bootstrap_draws,
            "seed": settings.eval.seed,
            "base": _slug(base_name),
            "tuned": TUNED,
            "metrics": {
                name: {
                    **gain.as_json(),
                    "base_name": gain.base_form,
                    "higher_is_better": HIGHER_IS_BETTER[name],
                }
                for name, gain in outcome.gains.items()
            },
            "contestants": [
                {
                    "name": name,
                    "kind": kind_of(name),
                    "description": DESCRIPTIONS[name],
                    "metrics": dict(result.metrics),
                }
                for name, result in outcome.contestants.items()
            ],
            "verdict": outcome.verdict,
        },
    )
    examples = {example.id: example for example in prepared.examples.held_out}
    for name, result in outcome.contestants.items():
        write_samples(run.eval / f"{_slug(name)}.scored.jsonl", result.samples)
        run.write_jsonl(
            run.eval / f"{_slug(name)}.samples.jsonl",
            (_shown_row(sample, examples[sample.item]) for sample in result.samples),
        )
    run.write_jsonl(run.samples, [asdict(shown) for shown in outcome.shown])


def _shown_row(sample: Sample, example: FimExample) -> dict[str, object]:
    return {
        "item": sample.item,
        "document_id": sample.cluster,
        "path": example.path or "",
        "language": sample.language,
        "kind": sample.kind,
        "prefix": sample.prefix_tail,
        "suffix": sample.suffix_head,
        "gold": sample.gold,
        "output": sample.output_clean,
        "stop_reason": sample.stop_reason,
    }


def summary_of(outcome: QuickstartOutcome, command: str) -> dict[str, object]:
    """Return what the run's summary says besides the training."""
    commands = next_commands(outcome, command)
    return {
        "title": "Base against tuned",
        "stages": [{"name": name, "seconds": seconds} for name, seconds in outcome.stages.items()],
        "seconds": outcome.seconds,
        "peak_memory_mib": outcome.peak_memory_mib,
        "notes": list(NOTES),
        "commands": list(commands),
    }


def _slug(name: str) -> str:
    return "-".join("".join(char if char.isalnum() else " " for char in name).split())
