"""The figures of a few fixed held-out holes, asked exactly as in an evaluation, while a run trains.

Training may not import inference, so it is handed a function that needs nothing.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from fim.data import TokenizerView
from fim.evaluation.metrics import EDIT_SIMILARITY, EXACT_MATCH, NLL_PER_TOKEN, STOP_RATE
from fim.evaluation.runner import Contestant, evaluate
from fim.inference import CodeCompleter
from fim.types import EncodedExample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fim.config import Settings
    from fim.data import ExampleEncoder
    from fim.model import LoadedModel
    from fim.types import FimExample

MEASURED = (NLL_PER_TOKEN, EXACT_MATCH, EDIT_SIMILARITY, STOP_RATE)
NAME = "held-out holes"


def hole_measurement(
    loaded: LoadedModel,
    encoder: ExampleEncoder,
    settings: Settings,
    held_out: Sequence[FimExample],
) -> Callable[[], Mapping[str, float]] | None:
    """Return a function that completes held-out holes greedily and scores them.

    Args:
        loaded: The model that is being trained.
        encoder: Makes the prompts.
        settings: ``train`` says how many holes, ``eval`` how they are asked, ``infer`` the rest.
        held_out: All held-out examples; a seeded sample of those that fit is taken.

    Returns:
        None where no hole is to be completed or none fits.
    """
    holes = sample_holes(
        held_out, encoder, settings.train.eval_generation_holes, seed=settings.eval.seed
    )
    if not holes:
        return None
    greedy = {
        "temperature": 0.0,
        "repetition_penalty": 1.0,
        "max_new_tokens": settings.eval.max_new_tokens,
        "batch_size": settings.eval.batch_size,
    }
    completer = CodeCompleter(
        model=loaded.model,
        encoder=encoder,
        settings=settings.infer.model_copy(update=greedy),
        control_ids=TokenizerView(loaded.tokenizer).control_ids,
    )
    contestant = Contestant(NAME, completer, scorer=completer)

    def measure() -> Mapping[str, float]:
        found = evaluate(contestant, holes).metrics
        return {name: found[name] for name in MEASURED if name in found}

    return measure


def sample_holes(
    held_out: Sequence[FimExample], encoder: ExampleEncoder, num_holes: int, *, seed: int
) -> list[FimExample]:
    """Return a seeded sample of the holes whose row fits the budget.

    Args:
        held_out: The holes.
        encoder: Says whether a hole fits.
        num_holes: How many are wanted; fewer come back where fewer fit.
        seed: Seed of the sample.
    """
    if not num_holes:
        return []
    order = list(range(len(held_out)))
    random.Random(seed).shuffle(order)
    fitting = (
        held_out[at] for at in order if isinstance(encoder.try_encode(held_out[at]), EncodedExample)
    )
    return [example for example, _ in zip(fitting, range(num_holes), strict=False)]
