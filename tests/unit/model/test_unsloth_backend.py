from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import fim
from fim.config import HfSettings, LoraSettings, ModelSettings
from fim.errors import (
    ConflictingSettingsError,
    FimError,
    ModelError,
    ModelNotFoundError,
    NotEnoughMemoryError,
    SetupError,
)
from fim.model import Hardware, ModelLoader, loader, requirements, unsloth_backend
from fim.model.source import ModelSource

GPU = Hardware("cuda", name="H200", has_bfloat16=True)
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class FakeModel(torch.nn.Module):
    """A layer of every projection, an embedding and a head."""

    is_loaded_in_4bit = True
    device = torch.device("cpu")
    config = SimpleNamespace(model_type="qwen3")

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens, self.lm_head = torch.nn.Embedding(8, 2), torch.nn.Linear(2, 8)
        for name in PROJECTIONS:
            self.add_module(name, torch.nn.Linear(2, 2))

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embed_tokens

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.lm_head


class FakeFastLanguageModel:
    """Record the keyword arguments of unsloth's API."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.model = FakeModel()
        self.failure: Exception | None = None

    def from_pretrained(self, **arguments: object) -> tuple[object, object]:
        self.calls.append(("from_pretrained", arguments))
        if self.failure is not None:
            raise self.failure
        return self.model, "a tokenizer of unsloth's own"

    def get_peft_model(self, model: object, **arguments: object) -> object:
        assert model is self.model
        if self.failure is not None:
            raise self.failure
        self.calls.append(("get_peft_model", arguments))
        return "adapted"

    def for_training(self, model: object) -> object:
        self.calls.append(("for_training", {"model": model}))
        return model

    def for_inference(self, model: object) -> object:
        self.calls.append(("for_inference", {"model": model}))
        return model


@pytest.fixture(autouse=True)
def _no_unsloth_stays() -> Iterator[None]:
    yield
    sys.modules.pop("unsloth", None)


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
    source = ModelSource("unsloth/Qwen3-8B-bnb-4bit", "hub", "/cache/snapshots/abc", "abc")
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
    loaded = make_loader(monkeypatch).load(is_training=True)
    assert fast.calls == [
        (
            "from_pretrained",
            {
                "model_name": "/cache/snapshots/abc",
                "max_seq_length": 2048,
                "dtype": torch.bfloat16,
                "load_in_4bit": True,
                "full_finetuning": False,
                "use_gradient_checkpointing": "unsloth",
                "use_exact_model_name": True,
                "local_files_only": True,
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
    trained = made.for_training(made.load(is_training=True))
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
    trained = made.for_training(made.load(is_training=True))
    assert fast.calls[0][1]["full_finetuning"] is True
    assert [name for name, _ in fast.calls] == ["from_pretrained"]
    assert trained.is_full


def test_only_training_goes_through_unsloth(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        loader.transformers_backend,
        "load_model",
        lambda *_, **__: seen.append("ours") or fast.model,
    )
    loaded = make_loader(monkeypatch).load()
    assert loaded.backend == "transformers"
    assert seen == ["ours"]
    assert fast.calls == []


def test_control_tokens_need_the_other_backend(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_loader(monkeypatch, train_control_tokens=True)
    with pytest.raises(ConflictingSettingsError) as caught:
        made.for_training(made.load(is_training=True), control_token_ids=[1])
    assert "FIM_MODEL_BACKEND=transformers" in caught.value.hint
    assert len(fast.calls) == 1


def test_added_tokens_need_the_other_backend(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = ModelSource(name="m", kind="folder", location=str(tmp_path))
    with pytest.raises(ConflictingSettingsError, match=r"model\.add_tokens") as caught:
        unsloth_backend.load(
            source, ModelSettings(add_tokens=True), LoraSettings(), dtype="bfloat16", seed=1
        )
    assert "FIM_MODEL_BACKEND=transformers" in caught.value.hint
    assert not fast.calls


@pytest.mark.parametrize(
    ("failure", "error", "told"),
    [
        (OSError("no such repository"), ModelNotFoundError, "no such repository"),
        (RuntimeError("Unsloth: Both failed"), ModelError, "Both failed"),
        (ValueError("unknown architecture"), ModelError, "unknown architecture"),
        (NotImplementedError("not on this card"), ModelError, "not on this card"),
        (KeyError("qwen9"), ModelError, "qwen9"),
        (torch.OutOfMemoryError("CUDA out of memory"), NotEnoughMemoryError, "does not fit"),
        (RuntimeError("CUDA error: out of memory"), NotEnoughMemoryError, "does not fit"),
    ],
)
def test_a_load_that_fails_says_why(
    fast: FakeFastLanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    error: type[FimError],
    told: str,
) -> None:
    fast.failure = failure
    with pytest.raises(error, match=told) as caught:
        make_loader(monkeypatch).load(is_training=True)
    assert caught.value.exit_code == 4
    assert caught.value.hint


def test_matrices_that_find_no_place_say_why(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_loader(monkeypatch, target_modules=["q_proj"])
    loaded = made.load(is_training=True)
    fast.failure = ValueError("Target modules {'w_nothing'} not found")
    with pytest.raises(ModelError, match="w_nothing") as caught:
        made.for_training(loaded)
    assert "FIM_MODEL_BACKEND=transformers" in caught.value.hint


@pytest.mark.parametrize(
    "failure", ["ImportError('no kernel image')", "NotImplementedError('no accelerator')"]
)
def test_an_unsloth_that_cannot_be_imported_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: str
) -> None:
    for name in ("unsloth", "trl", "peft", "transformers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "unsloth.py").write_text(f"raise {failure}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SetupError, match=r"cannot be imported: no (kernel|acc)") as caught:
        unsloth_backend.import_unsloth()
    assert "FIM_MODEL_BACKEND=transformers" in caught.value.hint


def test_unpatched_trainer_is_refused(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    trl: Any = sys.modules["trl"]
    trl.SFTTrainer = type("SFTTrainer", (), {"__module__": "trl.trainer.sft_trainer"})
    made = make_loader(monkeypatch)
    with pytest.raises(SetupError, match="was not patched"):
        made.for_training(made.load(is_training=True))
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
    (tmp_path / "unsloth.py").write_text(
        "import os\n"
        "os.environ |= {'HF_XET': '1', 'UNSLOTH_OWN': '1', 'HOME': '/elsewhere'}\n"
        "del os.environ['PATH']\n"
        "FOUND = dict(os.environ)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FIM_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("UNSLOTH_OWN", "UNSLOTH_DISABLE_STATISTICS", "UNSLOTH_COMPILE_LOCATION"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    before = dict(os.environ)
    found = unsloth_backend.import_unsloth().FOUND
    assert found["UNSLOTH_DISABLE_STATISTICS"] == "1"
    assert found["UNSLOTH_COMPILE_LOCATION"] == str(tmp_path / "cache" / "unsloth")
    changed = {name for name in os.environ | before if os.environ.get(name) != before.get(name)}
    assert changed == {"UNSLOTH_OWN", "UNSLOTH_DISABLE_STATISTICS", "UNSLOTH_COMPILE_LOCATION"}


def test_generated_code_finds_another_place_where_the_cache_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIM_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert unsloth_backend._code_folder().is_dir()


def test_check_imports_unsloth_first(
    fast: FakeFastLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    made = make_loader(monkeypatch)
    monkeypatch.setattr(unsloth_backend, "import_unsloth", lambda: seen.append("unsloth"))
    made.check(is_training=False)
    assert seen == []
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
