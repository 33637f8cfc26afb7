from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import fim
from fim.config import HfSettings, LoraSettings, ModelSettings
from fim.errors import ConflictingSettingsError, ModelNotFoundError, SetupError
from fim.model import Hardware, LoadedModel, ModelLoader, loader, requirements, unsloth_backend
from fim.model.source import ModelSource

GPU = Hardware("cuda", name="H200", has_bfloat16=True)
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class FakeFastLanguageModel:
    """Record the keyword arguments of unsloth's API."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.model = SimpleNamespace(device=torch.device("cpu"), eval=lambda: None)
        self.failure: Exception | None = None

    def from_pretrained(self, **arguments: object) -> tuple[object, object]:
        self.calls.append(("from_pretrained", arguments))
        if self.failure is not None:
            raise self.failure
        return self.model, "a tokenizer of unsloth's own"

    def get_peft_model(self, model: object, **arguments: object) -> object:
        assert model is self.model
        self.calls.append(("get_peft_model", arguments))
        return "adapted"

    def for_training(self, model: object) -> object:
        self.calls.append(("for_training", {"model": model}))
        return model

    def for_inference(self, model: object) -> object:
        self.calls.append(("for_inference", {"model": model}))
        return model


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> FakeFastLanguageModel:
    fake = FakeFastLanguageModel()
    module: Any = ModuleType("unsloth")
    module.FastLanguageModel = fake
    trl: Any = ModuleType("trl")
    trl.SFTTrainer = type("UnslothSFTTrainer", (), {"__module__": "UnslothSFTTrainer"})
    monkeypatch.setitem(sys.modules, "unsloth", module)
    monkeypatch.setitem(sys.modules, "trl", trl)
    return fake


def make_loader(monkeypatch: pytest.MonkeyPatch, **lora: object) -> ModelLoader:
    source = ModelSource("unsloth/Qwen3-8B-bnb-4bit", "hub", "unsloth/Qwen3-8B-bnb-4bit", "abc")
    monkeypatch.setattr(loader, "check_requirements", lambda *_, **__: None)
    monkeypatch.setattr(loader, "find_on_hub", lambda *_, **__: source)
    monkeypatch.setattr(
        loader.transformers_backend, "load_tokenizer", lambda *_, **__: "our tokenizer"
    )
    return ModelLoader(
        model=ModelSettings(backend="unsloth"),
        lora=LoraSettings.model_validate(lora),
        hf=HfSettings.model_validate({"token": "secret"}),
        hardware=GPU,
        seed=11,
    )


def test_exact_arguments_of_loading(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = make_loader(monkeypatch).load()
    assert fast.calls == [
        (
            "from_pretrained",
            {
                "model_name": "unsloth/Qwen3-8B-bnb-4bit",
                "max_seq_length": 2048,
                "dtype": torch.bfloat16,
                "load_in_4bit": True,
                "full_finetuning": False,
                "token": "secret",
                "revision": "abc",
                "use_exact_model_name": True,
                "trust_remote_code": False,
                "random_state": 11,
            },
        )
    ]
    assert loaded.backend == "unsloth"
    assert loaded.tokenizer == "our tokenizer"
    assert loaded.revision == "abc"
    assert loaded.is_quantised


@pytest.mark.parametrize("is_on", [True, False])
def test_exact_arguments_of_lora(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch, *, is_on: bool
) -> None:
    made = make_loader(monkeypatch, gradient_checkpointing=is_on, use_rslora=is_on, use_dora=is_on)
    trained = made.for_training(made.load())
    assert trained.model == "adapted"
    assert fast.calls[1] == (
        "get_peft_model",
        {
            "r": 16,
            "target_modules": PROJECTIONS,
            "lora_alpha": 16,
            "lora_dropout": 0.0,
            "bias": "none",
            "use_rslora": is_on,
            "use_dora": is_on,
            "use_gradient_checkpointing": "unsloth" if is_on else False,
            "random_state": 11,
            "max_seq_length": 2048,
        },
    )


def test_full_fine_tuning_is_passed_on_and_gets_no_adapter(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_loader(monkeypatch)
    made._model = ModelSettings(backend="unsloth", full_finetuning=True, load_in_4bit=False)
    trained = made.for_training(made.load())
    assert fast.calls[0][1]["full_finetuning"] is True
    assert [name for name, _ in fast.calls] == ["from_pretrained"]
    assert trained.is_full


def test_a_model_generates_during_training_and_goes_back(fast: FakeFastLanguageModel) -> None:
    from fim.training.generating import ready_to_generate

    model = torch.nn.Linear(1, 1)
    model.config = SimpleNamespace(_attn_implementation="sdpa")  # type: ignore[assignment]
    loaded = LoadedModel(model, "t", "unsloth", "bfloat16", "cpu", "m")  # type: ignore[arg-type]
    with ready_to_generate(loaded, attention="sdpa"):
        assert fast.calls == [("for_inference", {"model": model})]
    assert fast.calls[-1] == ("for_training", {"model": model})


def test_adapter_is_put_in_fast_generation(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_loader(monkeypatch)
    adapted = LoadedModel(fast.model, "t", "unsloth", "bfloat16", "cuda", "m")  # type: ignore[arg-type]
    monkeypatch.setattr(loader, "attach_adapter", lambda *_: adapted)
    assert made.with_adapter(made.load(), Path("adapter")).model is fast.model
    assert fast.calls[-1] == ("for_inference", {"model": fast.model})


def test_control_tokens_need_the_other_backend(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_loader(monkeypatch, train_control_tokens=True)
    with pytest.raises(ConflictingSettingsError) as caught:
        made.for_training(made.load(), control_token_ids=[1])
    assert "FIM_MODEL_BACKEND=transformers" in caught.value.hint
    assert len(fast.calls) == 1


def test_added_tokens_need_the_other_backend(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = ModelSource(name="m", kind="folder", location=str(tmp_path))
    with pytest.raises(ConflictingSettingsError, match=r"model\.add_tokens") as caught:
        unsloth_backend.load(
            source, ModelSettings(add_tokens=True), dtype="bfloat16", token=None, seed=1
        )
    assert "FIM_MODEL_BACKEND=transformers" in caught.value.hint
    assert not fast.calls


def test_unreadable_model(fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    fast.failure = OSError("no such repository")
    with pytest.raises(ModelNotFoundError, match="no such repository"):
        make_loader(monkeypatch).load()


def test_unpatched_trainer_is_refused(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    trl: Any = sys.modules["trl"]
    trl.SFTTrainer = type("SFTTrainer", (), {"__module__": "trl.trainer.sft_trainer"})
    made = make_loader(monkeypatch)
    with pytest.raises(SetupError, match="was not patched"):
        made.for_training(made.load())
    assert len(fast.calls) == 1


def test_late_import_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "unsloth", raising=False)
    for name in ("trl", "transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.delitem(sys.modules, "peft", raising=False)
    with pytest.raises(SetupError, match="trl, transformers was imported before") as caught:
        unsloth_backend.import_unsloth()
    assert "check()" in caught.value.hint


def test_first_import_comes_before_the_patched_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("unsloth", "trl", "peft", "transformers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "unsloth.py").write_text("FastLanguageModel = 'real'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert unsloth_backend.import_unsloth().FastLanguageModel == "real"


def test_check_imports_unsloth_first(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    made = make_loader(monkeypatch)
    monkeypatch.setattr(unsloth_backend, "import_unsloth", lambda: seen.append("unsloth"))
    made.check()
    assert seen == ["unsloth"]
    assert fast.calls == []


def test_only_one_module_imports_unsloth() -> None:
    importers = []
    for path in sorted(Path(fim.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[object] = []
            if isinstance(node, ast.Import):
                names = [item.name for item in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                names = [item.value for item in node.args if isinstance(item, ast.Constant)]
            if any(str(name).split(".", maxsplit=1)[0] == "unsloth" for name in names):
                importers.append(path.name)
    assert importers == ["unsloth_backend.py"]


def test_floor_of_the_version() -> None:
    assert requirements.MINIMUM_VERSION == "2026.10.7"
