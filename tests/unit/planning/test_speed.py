"""Time is told where it was measured, and nowhere else."""

from __future__ import annotations

import os
import sys

import pytest

from fim.config import EMBEDDED_MODEL_NAME
from fim.planning import Place, estimate_seconds
from fim.planning.offline import offline
from fim.planning.speed import MEASURED_RATES

CPU = Place(
    device="cpu",
    dtype="bfloat16",
    backend="transformers",
    is_quantised=False,
    is_eager=False,
    optimizer="adamw_torch",
)


def test_a_measured_rate_gives_seconds() -> None:
    rate = MEASURED_RATES[0].tokens_per_second
    found = estimate_seconds(10 * rate, model=EMBEDDED_MODEL_NAME, place=CPU, budget_seconds=None)
    assert found.seconds == pytest.approx(10)
    assert "measured" in found.basis


def test_the_time_budget_ends_training() -> None:
    rate = MEASURED_RATES[0].tokens_per_second
    found = estimate_seconds(1000 * rate, model=EMBEDDED_MODEL_NAME, place=CPU, budget_seconds=60)
    assert found.seconds == 60
    assert found.basis.startswith("train.max_minutes")


def test_what_nobody_measured_is_unknown() -> None:
    found = estimate_seconds(1000, model="unsloth/Qwen3-8B", place=CPU, budget_seconds=None)
    assert found.seconds is None
    assert found.basis.startswith("unknown")


def test_offline_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    with offline():
        assert constants.is_offline_mode()
        assert os.environ["PIP_NO_INDEX"] == "1"
    assert not constants.is_offline_mode()
    assert "PIP_NO_INDEX" not in os.environ
    assert "huggingface_hub.constants" in sys.modules
