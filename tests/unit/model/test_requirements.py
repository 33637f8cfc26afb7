from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from fim.config import EMBEDDED_MODEL_NAME, ModelSettings
from fim.errors import MissingExtraError, NoAcceleratorError, UnsupportedVersionError
from fim.model import Hardware, check_requirements, choose_backend, requirements

CPU = Hardware("cpu")
GPU = Hardware("cuda", name="H200", has_bfloat16=True)


def settings(**values: object) -> ModelSettings:
    return ModelSettings.model_validate(values)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    versions = {
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "peft": "0.21.2",
        "trl": "1.16.0",
        "bitsandbytes": "0.50.2",
        "gguf": "0.19.0",
    }

    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(requirements, "version", version)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: object() if name in versions else None
    )
    return versions


@pytest.mark.parametrize(
    ("backend", "hardware", "has_unsloth", "chosen"),
    [
        ("auto", GPU, True, "unsloth"),
        ("auto", GPU, False, "transformers"),
        ("auto", CPU, True, "transformers"),
        ("transformers", GPU, True, "transformers"),
        ("unsloth", CPU, False, "unsloth"),
    ],
)
def test_backend(
    installed: dict[str, str], backend: str, hardware: Hardware, has_unsloth: bool, chosen: str
) -> None:
    if has_unsloth:
        installed["unsloth"] = "2026.10.7"
    assert choose_backend(settings(backend=backend), hardware, is_training=True) == chosen
    answering = choose_backend(settings(backend=backend), hardware, is_training=False)
    assert answering == "transformers"


def test_default_model_without_an_accelerator_is_refused_with_the_preset(
    installed: dict[str, str],
) -> None:
    installed.clear()
    with pytest.raises(NoAcceleratorError) as caught:
        check_requirements(settings(), CPU)
    error = caught.value
    assert error.exit_code == 4
    assert "unsloth/Qwen3-8B-bnb-4bit (8.0 billion parameters) in 4 bits" in error.message
    assert "CUDA GPU" in error.message
    assert "Nothing was downloaded" in error.message
    assert "FIM_PRESET=cpu" in error.hint


def test_what_a_cpu_may_load(installed: dict[str, str], tmp_path: Path) -> None:
    for allowed in (
        settings(name=EMBEDDED_MODEL_NAME, load_in_4bit=False),
        settings(name="Qwen/Qwen2.5-Coder-0.5B"),
        settings(name="org/of-unknown-size"),
        settings(name=str(tmp_path)),
        settings(backend="transformers"),
    ):
        check_requirements(allowed, CPU)
    assert installed


def test_gpu_may_load_the_default(installed: dict[str, str]) -> None:
    check_requirements(settings(), GPU)
    installed["unsloth"] = "2026.10.7"
    check_requirements(settings(), GPU)


def test_unsloth_without_a_gpu(installed: dict[str, str]) -> None:
    installed["unsloth"] = "2026.10.7"
    with pytest.raises(NoAcceleratorError, match=r"model\.backend is unsloth") as caught:
        check_requirements(settings(backend="unsloth", name="org/model"), CPU)
    assert "FIM_MODEL_BACKEND=transformers" in caught.value.hint


@pytest.mark.parametrize(
    ("missing", "values", "hint"),
    [
        ("transformers", {}, 'pip install "fim[train]"'),
        ("trl", {}, 'pip install "fim[train]"'),
        ("bitsandbytes", {"load_in_4bit": True}, 'pip install "fim[train]"'),
        ("gguf", {"name": EMBEDDED_MODEL_NAME}, 'pip install "fim[train]"'),
        ("unsloth", {"backend": "unsloth"}, 'pip install "fim[gpu]"'),
    ],
)
def test_missing_packages(
    installed: dict[str, str], missing: str, values: dict[str, object], hint: str
) -> None:
    installed.pop(missing, None)
    with pytest.raises(MissingExtraError, match=missing) as caught:
        check_requirements(settings(**{"name": "org/model", **values}), GPU)
    assert caught.value.hint == hint


def test_inference_needs_no_trainer(installed: dict[str, str]) -> None:
    del installed["trl"]
    check_requirements(settings(name="org/model"), CPU, is_training=False)


@pytest.mark.parametrize("version", ["1.15", "1.15.0", "1.15.3"])
def test_trl_that_cannot_train_on_a_cpu(installed: dict[str, str], version: str) -> None:
    installed["trl"] = version
    small = settings(name="org/model")
    with pytest.raises(UnsupportedVersionError, match=f"trl {version} is installed"):
        check_requirements(small, CPU)
    check_requirements(small, GPU)
    check_requirements(small, CPU, is_training=False)


@pytest.mark.parametrize("version", ["2025.7.2", "2026.9.30", "2026.10.6"])
def test_unsloth_that_the_resolver_slipped_in(installed: dict[str, str], version: str) -> None:
    installed["unsloth"] = version
    with pytest.raises(UnsupportedVersionError, match=r"older than 2026\.10\.7") as caught:
        check_requirements(settings(), GPU)
    assert "constraints/gpu.txt" in caught.value.hint


def test_a_driver_that_is_too_old_is_told(installed: dict[str, str]) -> None:
    old = Hardware("cpu", obstacle="the NVIDIA driver is 550.54, and torch for CUDA 13.0 needs 580")
    for named in (settings(), settings(backend="unsloth")):
        with pytest.raises(NoAcceleratorError, match=r"driver is 550\.54") as caught:
            check_requirements(named, old)
        assert "update the NVIDIA driver" in caught.value.hint


def test_a_large_model_answers_on_a_cpu_only_when_its_backend_is_named(
    installed: dict[str, str],
) -> None:
    with pytest.raises(NoAcceleratorError):
        check_requirements(settings(backend="unsloth"), CPU, is_training=False)
    check_requirements(settings(backend="transformers"), CPU, is_training=False)
