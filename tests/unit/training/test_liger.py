"""Liger's kernels: only where they run, and never its cross-entropy."""

from __future__ import annotations

import importlib.machinery
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from transformers.integrations import liger as transformers_liger

from fim.errors import MissingExtraError
from fim.training import liger
from fim.training.liger import use_liger_kernels

if TYPE_CHECKING:
    from fim.model import LoadedModel


def _loaded(backend: str, device: str) -> LoadedModel:
    return cast("LoadedModel", SimpleNamespace(backend=backend, device=device, model=object()))


@pytest.mark.parametrize(
    ("backend", "device"), [("transformers", "cpu"), ("unsloth", "cuda:0"), ("transformers", "mps")]
)
def test_elsewhere_the_layers_stay_and_the_log_says_so(
    backend: str, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not use_liger_kernels(_loaded(backend, device))
    assert f"{backend} on {device} keeps its own layers" in caplog.text


def test_a_missing_package_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liger, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="liger-kernel is not installed") as caught:
        use_liger_kernels(_loaded("transformers", "cuda:0"))
    assert "pip install liger-kernel" in caught.value.hint


def test_the_head_and_its_loss_stay_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, dict[str, bool]]] = []
    spec = importlib.machinery.ModuleSpec("liger_kernel", None)
    monkeypatch.setattr(liger, "find_spec", lambda _name: spec)
    monkeypatch.setattr(transformers_liger, "apply_liger_kernel", lambda *each: seen.append(each))
    loaded = _loaded("transformers", "cuda:0")
    assert use_liger_kernels(loaded)
    assert [model for model, _ in seen] == [loaded.model]
    kernels = seen[0][1]
    assert {name for name, is_on in kernels.items() if is_on} == {"rope", "rms_norm", "swiglu"}
    assert not kernels["fused_linear_cross_entropy"]
