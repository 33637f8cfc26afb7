from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

from fim.config import EMBEDDED_MODEL_NAME
from fim.errors import ModelNotFoundError
from fim.model.source import (
    CONFIG_FILES,
    MODEL_FILES,
    WORD_FILES,
    check_folder,
    find_folder,
    find_on_hub,
    kind_of,
    parameters_of,
    wanted_files,
)

ConnectError = type("ConnectError", (Exception,), {"__module__": "httpx2"})


class FakeHub:
    """Answer model_info with a commit or an exception, and remember how it was asked."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []

    def __call__(self, *, token: str | None) -> FakeHub:
        self.asked.append(("token", token))
        return self

    def model_info(self, name: str, *, revision: str | None, timeout: float) -> SimpleNamespace:
        self.asked.append((name, revision, timeout))
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(sha=self.answer)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeHub]:
    def make(answer: str | Exception, *, cached: bool = False) -> FakeHub:
        hub = FakeHub(answer)
        monkeypatch.setattr(huggingface_hub, "HfApi", hub)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(
            huggingface_hub,
            "try_to_load_from_cache",
            lambda *_, **__: "/x/config.json" if cached else None,
        )
        return hub

    return make


def test_kinds_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "model").mkdir(parents=True)
    kinds = {
        EMBEDDED_MODEL_NAME: "embedded",
        "unsloth/Qwen3-8B-bnb-4bit": "hub",
        "gpt2": "hub",
        "org/model": "folder",
        "./missing": "folder",
        "/no/such": "folder",
        "~/models/x": "folder",
        "a/b/c": "folder",
    }
    assert {name: kind_of(name) for name in kinds} == kinds
    with pytest.raises(ModelNotFoundError, match="no embedded model") as caught:
        kind_of("embedded/SmolLM3")
    assert EMBEDDED_MODEL_NAME in caught.value.hint


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("unsloth/Qwen3-8B-bnb-4bit", 8_000_000_000),
        ("Qwen/Qwen2.5-Coder-0.5B", 500_000_000),
        ("Qwen/Qwen3-30B-A3B", 30_000_000_000),
        ("embedded/SmolLM2-135M-Instruct", 135_000_000),
        ("google/gemma-2b-it", 2_000_000_000),
        ("org/phi-4", None),
        ("org/model-4bit", None),
    ],
)
def test_parameters_told_by_the_name(name: str, parameters: int | None) -> None:
    assert parameters_of(name) == parameters


def test_parameters_told_by_the_weights(tmp_path: Path) -> None:
    assert parameters_of(str(tmp_path)) is None
    (tmp_path / "model.safetensors").write_bytes(b"x" * 4_000)
    assert parameters_of(str(tmp_path)) == 2_000


def test_folder_must_be_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        find_folder(str(tmp_path / "no"), needs=("config.json",))
    with pytest.raises(ModelNotFoundError, match=r"no config\.json") as caught:
        find_folder(str(tmp_path), needs=("config.json",))
    assert "safetensors" in caught.value.hint
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError) as caught:
        find_folder(str(tmp_path), needs=("config.json",))
    assert "--adapter" in caught.value.hint
    (tmp_path / "config.json").write_text("{}")
    source = find_folder(str(tmp_path), needs=("config.json",))
    assert (source.kind, source.location) == ("folder", str(tmp_path))


def test_files_that_a_model_needs() -> None:
    names = [
        "README.md",
        "config.json",
        "consolidated.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "merges.txt",
        "onnx/config.json",
        "pytorch_model.bin",
        "tokenizer.json",
        "chat_template.jinja",
        "model.gguf",
    ]
    assert wanted_files(names, CONFIG_FILES) == ["config.json"]
    weights = {"model-00001-of-00002.safetensors"}
    words = set(wanted_files(names, WORD_FILES))
    assert words == {
        "config.json",
        "model.safetensors.index.json",
        "merges.txt",
        "tokenizer.json",
        "chat_template.jinja",
    }
    assert set(wanted_files(names, MODEL_FILES)) == words | weights
    assert (
        wanted_files(["config.json", "pytorch_model.bin"], MODEL_FILES)[-1] == "pytorch_model.bin"
    )


def test_unknown_name_on_the_hub(serve: Callable[..., FakeHub]) -> None:
    serve(HFValidationError("Repo id must be good"))
    with pytest.raises(ModelNotFoundError, match=r"at revision 'v1'.*must be good") as caught:
        find_on_hub("a b", revision="v1", token=None, needs=CONFIG_FILES)
    assert "FIM_HF_TOKEN" in caught.value.hint


@pytest.mark.parametrize(
    "error",
    [ConnectError("no route"), OSError("no route"), OfflineModeIsEnabled("no route")],
)
def test_unreachable_hub_falls_back_to_the_cache(
    serve: Callable[..., FakeHub], error: Exception
) -> None:
    serve(error, cached=True)
    source = find_on_hub("org/model", revision=None, token=None, needs=CONFIG_FILES)
    assert (source.location, source.revision) == ("/x", "x")
    serve(error)
    with pytest.raises(ModelNotFoundError, match=r"cannot be reached .no route") as caught:
        find_on_hub("org/model", revision=None, token=None, needs=CONFIG_FILES)
    assert "FIM_PRESET=cpu" in caught.value.hint


def test_hub_that_is_switched_off_is_not_asked(
    serve: Callable[..., FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = serve("abc")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE"):
        find_on_hub("org/model", revision=None, token=None, needs=CONFIG_FILES)
    assert hub.asked == []


def test_defects_are_not_taken_for_a_network(serve: Callable[..., FakeHub]) -> None:
    serve(KeyError("a defect"))
    with pytest.raises(KeyError):
        find_on_hub("org/model", revision=None, token=None, needs=CONFIG_FILES)


def parts(folder: Path, *names: str) -> Path:
    """Write empty files of a model's parts."""
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"{}")
    return folder


@pytest.mark.parametrize(
    ("names", "told", "hint"),
    [
        (("tokenizer.json",), r"no config\.json.*tokenizer \(tokenizer.json\) alone", "config"),
        (("model.safetensors",), r"no config\.json.*weights \(model.safetensors\) alone", "config"),
        (("config.json", "tokenizer.json"), r"weights of .*holds no \*\.safetensors", "--include"),
        (("config.json", "adapter_model.safetensors"), r"weights of ", "--include"),
        (("config.json", "a.gguf", "tokenizer.json"), r"weights of ", "GGUF"),
        (("config.json", "model.safetensors"), r"no tokenizer\.json", "tokenizer_config.json"),
        (("x.gguf",), r"no config\.json", "GGUF"),
    ],
)
def test_a_folder_that_lacks_a_part_says_which(
    tmp_path: Path, names: tuple[str, ...], told: str, hint: str
) -> None:
    folder = parts(tmp_path / "a model", *names)
    with pytest.raises(ModelNotFoundError, match=told) as caught:
        check_folder(str(folder))
    assert hint in caught.value.hint


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    check_folder(str(parts(tmp_path / "m", "config.json", "vocab.json", "pytorch_model.bin")))


@pytest.mark.parametrize("name", ["./x.gguf", "x.gguf", "X.GGUF"])
def test_a_file_is_named_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"GGUF\x03\x00")
    assert kind_of(name) == "folder"
    with pytest.raises(ModelNotFoundError, match="is a GGUF file, and fim loads") as caught:
        check_folder(name)
    assert "--model" in caught.value.hint
    Path(name).write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match="and is none"):
        check_folder(name)
    Path("model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelNotFoundError, match="a file and no model folder") as caught:
        check_folder("model.safetensors")
    assert caught.value.hint.endswith("--model .")


def test_a_file_does_not_hide_a_name_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gpt2").write_text("notes")
    assert kind_of("gpt2") == "hub"


def test_a_run_leads_to_what_it_has(tmp_path: Path) -> None:
    run = parts(tmp_path / "run", "STATUS", "config.json")
    with pytest.raises(ModelNotFoundError, match="is a run of fim") as caught:
        check_folder(str(run))
    assert "trained nothing yet" in caught.value.hint
    (run / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    (run / "checkpoints" / "checkpoint-2" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError) as caught:
        check_folder(str(run))
    assert f"--adapter {run}/checkpoints/checkpoint-2" in caught.value.hint
    parts(run / "model", "config.json", "tokenizer.json", "model.safetensors")
    check_folder(str(run))
    assert find_folder(str(run), needs=CONFIG_FILES).location == str(run / "model")
