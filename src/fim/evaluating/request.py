"""What an evaluation is asked for, and what makes two of them the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fim.evaluation.suites import PER_PROBLEM, Suite

if TYPE_CHECKING:
    from fim.config import ResolvedSettings, Settings

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to evaluate.

    Args:
        suite: Name of the suite.
        out: Folder that gets the evaluation.
        data: Built set or file of the suite.
        part: Part of a suite that is read from the hub; its first one without a name.
        adapter: Adapter on the model; None asks the model as it is.
        endpoint: Address of a server in place of a model.
        dialect: How the server is asked.
        endpoint_model: Model name that the server wants.
        endpoint_key: Its bearer token.
        concurrency: Requests at a time.
        limit: Held-out holes at most, chosen by seed; None takes all.
        per_problem: Holes a problem of the multi-line suite; None takes all.
        train_holes: Holes of training files scored beside, for the gap.
        is_probed: Score rewritten twins as well.
        draws: Answers per hole.
        temperature: Randomness; 0 is greedy.
        format_name: Format in place of the adapter's or the settings'.
        stop: Name of a stop rule; ``auto`` has one for left-to-right prompts alone.
        name: What the contestant is called.
        workers: Programs run at a time.
    """

    suite: str
    out: Path
    data: Path | None = None
    part: str | None = None
    adapter: Path | None = None
    endpoint: str | None = None
    dialect: str = "openai"
    endpoint_model: str = ""
    endpoint_key: str = ""
    concurrency: int = 1
    limit: int | None = None
    per_problem: int | None = PER_PROBLEM
    train_holes: int = 0
    is_probed: bool = False
    draws: int = 1
    temperature: float = 0.0
    format_name: str | None = None
    stop: str = AUTO
    name: str | None = None
    workers: int | None = None


def identity_of(
    resolved: ResolvedSettings, request: EvaluationRequest, suite: Suite
) -> dict[str, object]:
    """Return what makes an evaluation the one it is; a folder goes on with an equal one alone."""
    settings = resolved.settings
    return {
        "suite": suite.name,
        "suite_sha256": suite.sha256,
        "items": len(suite.items),
        "rule": suite.rule,
        "name": request.name or _default_name(settings, request),
        "model": request.endpoint_model if request.endpoint else settings.model.name,
        "adapter": request.adapter.name if request.adapter else None,
        "adapter_sha256": hash_adapter(request.adapter) if request.adapter else None,
        "endpoint": request.endpoint,
        "dialect": request.dialect if request.endpoint else None,
        "format": request.format_name or ("adapter's" if request.adapter else settings.data.format),
        **_anchoring(settings, request),
        "stop": request.stop,
        "served_stop": settings.infer.stop,
        "draws": request.draws,
        "temperature": request.temperature,
        "token_healing": settings.infer.token_healing,
        "max_new_tokens": settings.eval.max_new_tokens if is_limit_given(resolved) else AUTO,
    }


def _anchoring(settings: Settings, request: EvaluationRequest) -> dict[str, object]:
    """Return the anchor lines where settings decide them: not for an adapter's own format."""
    is_own = request.endpoint or (request.adapter and not request.format_name)
    return {} if is_own else {"anchor_lines": settings.data.anchor_lines}


def hash_adapter(adapter: Path) -> str:
    """Return the SHA-256 over an adapter's weights and configuration."""
    digest = hashlib.sha256()
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        path = adapter / name
        if path.is_file():
            digest.update(name.encode("ascii") + path.read_bytes())
    return digest.hexdigest()


def _default_name(settings: Settings, request: EvaluationRequest) -> str:
    if request.endpoint:
        return request.endpoint_model or request.dialect
    model = settings.model.name.rstrip("/").rpartition("/")[2]
    if request.adapter is not None:
        return f"{model} tuned"
    form = f", {request.format_name}" if request.format_name else ""
    return f"{model} base{form}"


def is_limit_given(resolved: ResolvedSettings) -> bool:
    """Tell whether the user set the longest answer."""
    return resolved.is_given("eval.max_new_tokens")
