"""Models through the real hub client from a hub on localhost; what is kept and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_hub import COMMIT, READ_ONLY_TOKEN, TOKEN, HubState, fake_hub
from fim.config import HfSettings, LoraSettings, ModelSettings
from fim.errors import ModelNotFoundError
from fim.model import ModelLoader
from model_toys import CPU, write_toy_model

NAME = "org/tiny"
USELESS = ("README.md", "consolidated.safetensors", "pytorch_model.bin", "onnx/model.onnx")

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubState]:
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "FIM_HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = write_toy_model(tmp_path / "tiny")
    with fake_hub() as state:
        monkeypatch.setattr(constants, "ENDPOINT", state.endpoint)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            state.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        state.files[NAME] = {path.name: path.read_bytes() for path in folder.iterdir()}
        state.files[NAME] |= dict.fromkeys(USELESS, b"useless")
        yield state


def loader(token: str | None = TOKEN) -> ModelLoader:
    return ModelLoader(
        model=ModelSettings(name=NAME, load_in_4bit=False, dtype="float32"),
        lora=LoraSettings(),
        hf=HfSettings.model_validate({"token": token}),
        hardware=CPU,
    )


def fetched(hub: HubState) -> set[str]:
    return {line.rsplit("/", 1)[-1] for line in hub.requests if line.startswith("GET /org")}


def test_the_libraries_get_a_folder_and_no_token(
    hub: HubState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    seen: list[dict[str, object]] = []
    for name in ("AutoTokenizer", "AutoModelForCausalLM"):
        kind = getattr(transformers, name)
        original = kind.from_pretrained

        def load(place: str, *, original: object = original, **given: object) -> object:
            seen.append({"place": place, **given})
            return original(place, **given)  # type: ignore[operator]

        monkeypatch.setattr(kind, "from_pretrained", load)
    assert loader().tokenizer()("t5")["input_ids"] == [5]
    assert not any(name.endswith(".safetensors") for name in fetched(hub))
    loaded = loader().load()
    assert (loaded.name, loaded.revision) == (NAME, COMMIT)
    assert loaded.model.config.name_or_path == NAME
    assert fetched(hub) == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for each in seen:
        assert Path(str(each["place"])).parts[-2:] == ("snapshots", COMMIT)
        assert each["local_files_only"] is True
        assert "token" not in each
    for path in (tmp_path / "cache").rglob("*"):
        assert not (path.is_file() and TOKEN.encode() in path.read_bytes())


def test_what_was_fetched_is_enough_without_the_hub(
    hub: HubState, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    first = loader().load().model.state_dict()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    again = loader(None).load()
    assert again.revision == COMMIT
    assert all((again.model.state_dict()[name] == value).all() for name, value in first.items())
    assert len(hub.requests) == before


@pytest.mark.parametrize("token", [None, "hf_expired", READ_ONLY_TOKEN])
def test_a_private_model_needs_a_token_that_may_read_it(hub: HubState, token: str | None) -> None:
    with pytest.raises(ModelNotFoundError, match="that this token may read") as caught:
        loader(token).load()
    assert "FIM_HF_TOKEN" in caught.value.hint


def test_a_half_fetched_model_names_the_command(
    hub: HubState, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    loader().tokenizer()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="weights of org/tiny cannot be read") as caught:
        loader().load()
    assert caught.value.hint == "Fetch what is missing: hf download org/tiny"
    assert json.dumps(caught.value.as_json())
