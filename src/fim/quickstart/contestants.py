"""Who answers the held-out holes: trivial floors, the base in each form, the tuned model."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fim.config import InferSettings, Settings
from fim.data import TokenizerView
from fim.evaluation import EMPTY, PREVIOUS_LINE, Contestant, EvaluationResult, evaluate
from fim.formats import resolve_format
from fim.model import merge_adapter
from fim.pipeline import Prepared, make_encoder
from fim.quickstart.sizing import CHAT_SHARE, PILOT_HOLES, spread

if TYPE_CHECKING:
    from fim.model import LoadedModel
    from fim.types import Progress

LEFT_TO_RIGHT = "left-to-right"
CHAT = "chatml"
BASE_PREFIX = "base, "
TUNED = "tuned"
PILOT = "speed of this machine"
DESCRIPTIONS = {
    EMPTY.name: "inserts nothing",
    PREVIOUS_LINE.name: "repeats the last filled line above the cursor",
    f"{BASE_PREFIX}{LEFT_TO_RIGHT}": "goes on from the prefix; ended by the same rule as tuned",
    f"{BASE_PREFIX}{CHAT}": "is asked by chat, its Markdown fence removed; one hole of six",
    TUNED: "is asked as it was trained; its answer ends with the cursor's line or block",
}


def seconds_per_hole(base: LoadedModel, prepared: Prepared, *, progress: Progress | None) -> float:
    """Return how long the untrained model takes for a hole, tried on a few."""
    few = spread(prepared.examples.held_out, PILOT_HOLES)
    pilot = replace(_base_form(LEFT_TO_RIGHT, base, prepared.settings), name=PILOT)
    evaluate(pilot, few[:1])
    began = time.monotonic()
    evaluate(pilot, few, progress)
    return (time.monotonic() - began) / len(few)


def score_base(
    base: LoadedModel, prepared: Prepared, *, progress: Progress | None
) -> tuple[EvaluationResult, ...]:
    """Score the trivial floors and the untrained model in each form it can be asked in.

    By chat the model is asked a few holes only: it is slow, and no match for left to right.
    """
    settings, holes = prepared.settings, prepared.examples.held_out
    floors = [evaluate(Contestant(floor.name, floor), holes) for floor in (EMPTY, PREVIOUS_LINE)]
    few = spread(holes, max(1, round(len(holes) * CHAT_SHARE)))
    forms = [
        evaluate(_base_form(name, base, settings), asked, progress)
        for name, asked in ((LEFT_TO_RIGHT, holes), (CHAT, few))
    ]
    return (*floors, *forms)


def _base_form(name: str, base: LoadedModel, settings: Settings) -> Contestant:
    """Return the untrained model as it is asked in a format."""
    from fim.inference import REMOVE_FENCE, CodeCompleter, stop_rule

    view = TokenizerView(base.tokenizer)
    completer = CodeCompleter(
        model=base.model,
        encoder=make_encoder(settings, view, resolved_format=resolve_format(name, view)),
        settings=_infer(settings),
        control_ids=view.control_ids,
        is_frozen=True,
    )
    contestant = Contestant(f"{BASE_PREFIX}{name}", completer, completer)
    if name == CHAT:
        return replace(contestant, clean=REMOVE_FENCE)
    return replace(contestant, stop=stop_rule(settings.infer.stop))


def score_tuned(
    adapted: LoadedModel, prepared: Prepared, *, progress: Progress | None
) -> EvaluationResult:
    """Score the tuned model as it will be served.

    The rule of ``infer.stop`` ends answers afterwards, so that the stop rate is the model's own.
    """
    from fim.inference import CodeCompleter, ended_by, stop_rule

    merged = merge_adapter(adapted)
    completer = CodeCompleter(
        model=merged.model,
        encoder=prepared.encoder,
        settings=_infer(prepared.settings),
        control_ids=TokenizerView(merged.tokenizer).control_ids,
    )
    clean = ended_by(stop_rule(prepared.settings.infer.stop))
    contestant = Contestant(TUNED, completer, completer, clean=clean)
    return evaluate(contestant, prepared.examples.held_out, progress)


def kind_of(name: str) -> str:
    """Return ``tuned``, ``base`` or ``floor`` for a contestant's name."""
    if name == TUNED:
        return "tuned"
    return "base" if name.startswith(BASE_PREFIX) else "floor"


def _infer(settings: Settings) -> InferSettings:
    return settings.infer.model_copy(
        update={
            "max_new_tokens": settings.eval.max_new_tokens,
            "batch_size": settings.eval.batch_size,
            "temperature": 0.0,
        }
    )
