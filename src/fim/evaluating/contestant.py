"""Who answers: a model with or without an adapter, or a server, and how it is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.adapters import (
    is_whole_model,
    settings_for_adapter,
    trained_folder_of,
    trained_format,
    trained_model,
)
from fim.data import TokenizerView
from fim.errors import ConflictingSettingsError
from fim.evaluating.request import AUTO, EvaluationRequest, is_limit_given
from fim.evaluation.endpoints import Endpoint, dialect_named
from fim.formats import can_anchor, resolve_format
from fim.logger import get_logger
from fim.pipeline import make_encoder, make_loader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fim.config import ResolvedSettings
    from fim.evaluation.suites import Suite, SuiteItem
    from fim.formats import ResolvedFormat
    from fim.inference import CodeCompleter, GoldScore, StopRule
    from fim.types import Completion

LEFT_TO_RIGHT_FORMAT = "left-to-right"
CHARS_PER_TOKEN = 3
SPARE_TOKENS = 8
SPARE_FACTOR = 1.5
FUNCTION_ENDS = ("\ndef ", "\nclass ", "\nif ", "\nprint(", "\n#", "\n@", "\nassert ")
_SHOWN_PROMPT_IDS = 4096
_log = get_logger("evaluating")


@dataclass(frozen=True, slots=True)
class Asked:
    """A contestant ready to answer.

    Args:
        completer: A model or a server.
        stop: Rule that ends its answers.
        max_new_tokens: Longest answer.
        facts: Format and prompts, for reports.
    """

    completer: CodeCompleter | Endpoint
    stop: StopRule
    max_new_tokens: int
    facts: Mapping[str, object]


def make_contestant(resolved: ResolvedSettings, request: EvaluationRequest, suite: Suite) -> Asked:
    """Return the contestant of a request, ready to answer.

    Raises:
        ConflictingSettingsError: An adapter or a format was given for a server.
        SetupError: The model cannot be loaded here.
    """
    if request.endpoint:
        if request.adapter is not None:
            raise ConflictingSettingsError(
                "--adapter and --endpoint are both given, and a server loads its adapters itself",
                hint="leave one of them out",
            )
        if request.format_name is not None:
            raise ConflictingSettingsError(
                f"--format-name {request.format_name} and --endpoint are both given, and a server "
                "makes its prompts itself",
                hint="leave one of them out; --dialect says how a server is asked",
            )
        return _server(resolved, request, suite)
    from fim.inference import CodeCompleter

    settings = resolved.settings
    trained = trained_folder(resolved, request)
    if request.adapter is not None and trained is not None:
        settings = settings_for_adapter(resolved, trained)
    loader = make_loader(settings)
    loader.check(is_training=False)
    loader.check_parts(is_training=False)
    view = TokenizerView(loader.tokenizer())
    wanted = _wanted_format(replace(resolved, settings=settings), request, suite, view, trained)
    encoder = make_encoder(settings, view, resolved_format=wanted)
    loader.check_control_ids(encoder.resolved.token_ids.values())
    loaded = loader.load()
    if trained is not None and not is_whole_model(trained):
        loaded = loader.with_adapter(loaded, trained)
    infer = settings.infer.model_copy(
        update={"batch_size": settings.eval.batch_size, "temperature": request.temperature}
    )
    completer = CodeCompleter(
        model=loaded.model,
        encoder=encoder,
        settings=infer,
        control_ids=view.control_ids,
        is_frozen=True,
    )
    limit = settings.eval.max_new_tokens
    if not is_limit_given(resolved):
        limit = _token_limit([len(view.encode(item.example.middle)) for item in suite.items])
    stop = _stop_rule(request, encoder.resolved.format.name, suite, infer.stop)
    first = encoder.prompt(suite.items[0].example).ids
    facts = {
        "format_record": encoder.resolved.record().as_json(),
        "stop": stop.name,
        "max_new_tokens": limit,
        "first_item": suite.items[0].example.id,
        "first_prompt_ids": list(first[-_SHOWN_PROMPT_IDS:]),
    }
    return Asked(completer, stop, limit, facts)


def ask(
    asked: Asked, request: EvaluationRequest, items: Sequence[SuiteItem]
) -> tuple[list[list[Completion]], Sequence[GoldScore | None]]:
    """Return the answers of every item, and the likelihood of its gold text where there is one.

    Raises:
        OutputError: The server cannot be asked.
        PromptTooLongError: A prompt does not fit.
    """
    from fim.inference import CodeCompleter

    examples = [item.example for item in items]
    completer = asked.completer
    if isinstance(completer, CodeCompleter) and request.draws == 1:
        answers, scores = completer.complete_and_score(
            examples, stop=asked.stop, max_new_tokens=asked.max_new_tokens
        )
        return [[answer] for answer in answers], scores
    repeated = [example for example in examples for _ in range(request.draws)]
    answers = completer.complete_batch(
        repeated, stop=asked.stop, max_new_tokens=asked.max_new_tokens
    )
    starts = range(0, len(answers), request.draws)
    groups = [list(answers[start : start + request.draws]) for start in starts]
    return groups, [None] * len(examples)


def trained_folder(resolved: ResolvedSettings, request: EvaluationRequest) -> Path | None:
    """Return the folder of trained weights that is asked; None for a bare model or a server."""
    if request.endpoint:
        return None
    if request.adapter is None:
        return trained_model(resolved.settings.model.name)
    return trained_folder_of(request.adapter)


def _wanted_format(
    resolved: ResolvedSettings,
    request: EvaluationRequest,
    suite: Suite,
    view: TokenizerView,
    trained: Path | None,
) -> ResolvedFormat | None:
    if request.format_name is not None:
        return _named_format(resolved, request.format_name, trained, view)
    if suite.is_left_to_right:
        return resolve_format(LEFT_TO_RIGHT_FORMAT, view)
    return None if trained is None else trained_format(trained, view)


def _named_format(
    resolved: ResolvedSettings, name: str, trained: Path | None, view: TokenizerView
) -> ResolvedFormat:
    """Return a format in place of the trained one, its anchor lines kept where it can have any.

    They are those that the user set, else those of the trained weights, else the settings'.
    """
    settings = resolved.settings
    num_lines, source = settings.data.anchor_lines, resolved.sources["data.anchor_lines"]
    if not resolved.is_given("data.anchor_lines"):
        if trained is not None:
            num_lines = trained_format(trained, view).format.anchor_lines
            source = str(trained)
        num_lines = num_lines if can_anchor(name) else 0
    _log.info("asked in %s with data.anchor_lines=%d (%s)", name, num_lines, source)
    return resolve_format(name, view, anchor_lines=num_lines, is_extended=settings.model.add_tokens)


def _server(resolved: ResolvedSettings, request: EvaluationRequest, suite: Suite) -> Asked:
    limit = resolved.settings.eval.max_new_tokens
    if not is_limit_given(resolved):
        sizes = [len(item.example.middle) // CHARS_PER_TOKEN for item in suite.items]
        limit = _token_limit(sizes)
    stop = _stop_rule(request, "", suite, resolved.settings.infer.stop)
    server = Endpoint(
        url=request.endpoint or "",
        dialect=dialect_named(request.dialect),
        model=request.endpoint_model,
        max_new_tokens=limit,
        concurrency=request.concurrency,
        key=request.endpoint_key,
    )
    return Asked(server, stop, limit, {"stop": stop.name, "max_new_tokens": limit})


def _stop_rule(request: EvaluationRequest, format_name: str, suite: Suite, served: str) -> StopRule:
    """Return the rule that was asked for, or else the one that fits: as served, where that ends."""
    from fim.inference import FIRST_TEXT_LINE, stop_at, stop_rule

    if request.stop != AUTO:
        return stop_rule(request.stop)
    if suite.is_left_to_right and suite.is_executed:
        return stop_at(*FUNCTION_ENDS)
    is_without_end = format_name == LEFT_TO_RIGHT_FORMAT or suite.is_left_to_right
    return FIRST_TEXT_LINE if is_without_end else stop_rule(served)


def _token_limit(sizes: Sequence[int]) -> int:
    """Return 1.5 times the 99th percentile of the gold lengths, and a few more."""
    ordered = sorted(sizes)
    place = min(len(ordered) - 1, math.ceil(0.99 * len(ordered)) - 1)
    return math.ceil(SPARE_FACTOR * ordered[place]) + SPARE_TOKENS
