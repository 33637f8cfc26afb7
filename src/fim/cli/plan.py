"""What ``fim train --dry-run`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fim.cli.command import Session
    from fim.config import ResolvedSettings
    from fim.planning import TrainingPlan

_UNKNOWN = "unknown"


def show_plan(
    session: Session, resolved: ResolvedSettings, *, out: Path | None, resume: str | None
) -> None:
    """Answer with what a training run would do.

    Raises:
        FimError: Anything that would stop the run before its model is loaded.
    """
    from fim.planning import plan_training

    plan = plan_training(resolved, out=out, resume=resume, progress=session.progress)
    if session.output.is_json:
        session.output.write_json(plan.as_json())
        return
    session.output.table(("dry run", "nothing was trained"), tuple(_lines(plan)))


def _lines(plan: TrainingPlan) -> Iterator[tuple[str, str]]:
    place, packing = plan.place, plan.packing
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in plan.dropped.items())
    share = plan.supervised_tokens / plan.tokens
    yield "model", f"{plan.model}, {place.backend}, {place.dtype} on {place.device}"
    held_out = plan.sides.get("held_out", plan.held_out)
    yield "examples", f"{plan.examples:,}, held out {held_out:,}; dropped: {dropped or 'none'}"
    yield "", f"held out {plan.sides.get('rule', 'by the build')}"
    yield "tokens", f"{plan.tokens:,}, trained {plan.supervised_tokens:,} ({share:.1%})"
    yield "steps", f"{plan.steps:,} of {plan.rows_per_step:,} examples"
    if plan.resumed is not None:
        yield from (("changed", str(change)) for change in plan.resumed.changed)
        yield from (("resumed", line) for line in plan.resumed.news)
    yield "packing", f"{packing['packing']}, {packing['token_gain']} times fewer ids"
    yield "", str(packing["reason"])
    yield "memory", _memory(plan)
    seconds = plan.time.seconds
    yield "time", _UNKNOWN if seconds is None else f"{seconds / 60:.1f} minutes of steps"
    yield "", plan.time.basis
    yield "run folder", plan.run_folder
    yield "uploads", ", ".join(plan.uploads) or "nothing"


def _memory(plan: TrainingPlan) -> str:
    if plan.memory is None:
        return f"{_UNKNOWN}: this architecture is not understood"
    parts = ", ".join(
        f"{name.removesuffix('_mib')} {mib:,}" for name, mib in plan.memory.as_json().items()
    )
    return f"about {plan.memory.total_mib:,.0f} MiB ({parts})"
