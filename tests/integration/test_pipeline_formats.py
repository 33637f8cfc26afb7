"""Mixtures and added tokens through the whole path, on small random models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from family_tokenizers import byte_level
from fim.adapters import settings_for_adapter, write_adapter_settings
from fim.config import load_settings
from fim.errors import FormatUnsupportedError
from fim.formats import read_record
from fim.formats.sentinel_families import ADDED_FAMILY
from fim.pipeline import make_completer, run_training
from fim.types import FimExample


@pytest.fixture(scope="module")
def bare_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a 2-layer random Llama over bytes, without any control token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bare") / "bare-llama"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=256,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            tie_word_embeddings=False,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=byte_level()).save_pretrained(folder)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for number in range(40):
            row = {
                "prefix": f"import m{number}\n\n\ndef first_{number}(values):\n    ret",
                "middle": f"urn values[{number}]",
                "suffix": f"\n\n\nx{number} = {number}\n",
                "context_items": [{"content": f"y = {number}\n", "file_path": "y.py"}],
                "lang": "Python",
            }
            stream.write(json.dumps(row) + "\n")
    return path


def environment(model: Path, rows: Path, **more: str) -> dict[str, str]:
    return {
        "FIM_PRESET": "cpu",
        "FIM_MODEL_NAME": str(model),
        "FIM_DATA_PATH": str(rows),
        "FIM_MODEL_DTYPE": "float32",
        "FIM_TRAIN_MAX_STEPS": "2",
        "FIM_INFER_MAX_NEW_TOKENS": "4",
        "FIM_LORA_R": "4",
        **more,
    }


def test_added_tokens_and_a_mixture_go_the_whole_path(
    bare_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mixture = {
        "FIM_DATA_FIM_RATE": "0.8",
        "FIM_DATA_SPM_SHARE": "0.3",
        "FIM_DATA_CONTEXT_FREE_SHARE": "0.3",
        "FIM_DATA_CHARACTER_CUT_SHARE": "0.3",
        "FIM_DATA_EMPTY_MIDDLE_SHARE": "0.1",
    }
    bare = environment(bare_model, rows)
    with pytest.raises(FormatUnsupportedError):
        run_training(load_settings(env=bare, cwd=tmp_path))
    extended = {**bare, **mixture, "FIM_MODEL_ADD_TOKENS": "true"}
    outcome = run_training(load_settings(env=extended, cwd=tmp_path))

    manifest = json.loads(outcome.run.data_manifest.read_text(encoding="utf-8"))
    effects = manifest["encoding"]["mixture"]
    assert effects["fim"] + effects["spm"] + effects["plain"] == manifest["examples"]["train"]
    assert {"recut", "without_context"} <= set(effects)
    adapter = outcome.run.adapter
    assert read_record(adapter).family == ADDED_FAMILY

    later = load_settings(env=bare, cwd=tmp_path)
    assert not later.settings.model.add_tokens
    assert settings_for_adapter(later, adapter).model.add_tokens
    completer = make_completer(later, adapter=adapter)
    (completion,) = completer.complete_batch([FimExample("a = ", "", "\n")])
    prompt = completion.prompt_ids
    assert min(read_record(adapter).token_ids.values()) == 256
    assert {each for each in prompt if each >= 256} <= set(read_record(adapter).token_ids.values())


def test_an_adapter_from_before_the_setting_still_loads(
    bare_model: Path, rows: Path, tmp_path: Path
) -> None:
    resolved = load_settings(env=environment(bare_model, rows), cwd=tmp_path)
    kept = {
        "model": {"name": "m", "revision": None, "max_seq_length": 64},
        "data": {"prefix_share": 0.5},
    }
    (tmp_path / "fim_settings.json").write_text(json.dumps(kept), encoding="utf-8")
    settings = settings_for_adapter(resolved, tmp_path)
    assert settings.model.max_seq_length == 64
    assert settings.model.name == str(bare_model)
    assert settings.data.prefix_share == 0.5


def test_an_adapter_is_asked_with_the_rule_that_it_was_scored_with(
    bare_model: Path, rows: Path, tmp_path: Path
) -> None:
    trained = load_settings(env=environment(bare_model, rows), cwd=tmp_path).settings
    assert trained.infer.stop == "block"
    write_adapter_settings(tmp_path, trained)
    plain = load_settings(env={}, cwd=tmp_path)
    assert plain.settings.infer.stop == "none"
    assert settings_for_adapter(plain, tmp_path).infer.stop == "block"
    own = load_settings(env={"FIM_INFER_STOP": "dedent"}, cwd=tmp_path)
    assert settings_for_adapter(own, tmp_path).infer.stop == "dedent"
