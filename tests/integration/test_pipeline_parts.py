"""Which base, adapter or model is meant, and whether the parts fit, before anything is trained."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.adapters import SETTINGS_FILE, run_of_checkpoint, settings_for_adapter, trained_folder_of
from fim.cli.app import main
from fim.config import ResolvedSettings, load_settings
from fim.errors import AdapterMismatchError, ConfigError, ModelError, ModelNotFoundError
from fim.pipeline import make_completer, run_training
from model_toys import write_toy_model
from pipeline_toys import environment, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

ASKED = ("def f():\n    ret", "\n")


@pytest.fixture(scope="module")
def place(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a base, rows, and a run that names its base from there."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(tiny_model, folder / "base")
    write_rows(folder / "rows.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_training(settings(folder, FIM_LORA_BIAS="none"), out=folder / "run")
    return folder


def settings(folder: Path, **more: str) -> ResolvedSettings:
    env = environment(Path("base"), Path("rows.jsonl"), **more)
    return load_settings(env=env, cwd=folder)


def bare(folder: Path, **more: str) -> ResolvedSettings:
    env = {"FIM_PRESET": "cpu", "FIM_INFER_MAX_NEW_TOKENS": "8", "FIM_MODEL_DTYPE": "float32"}
    return load_settings(env=env | more, cwd=folder)


def answer(resolved: ResolvedSettings, adapter: Path) -> tuple[int, ...]:
    return make_completer(resolved, adapter=adapter).complete(*ASKED).token_ids


def short_vocabulary(target: Path, tiny_model: Path, rows: int) -> Path:
    """Copy a model and cut its embedding down."""
    import torch
    from transformers import LlamaForCausalLM

    shutil.copytree(tiny_model, target)
    model = LlamaForCausalLM.from_pretrained(target)
    model.resize_token_embeddings(rows)
    with torch.no_grad():
        model.save_pretrained(target)
    return target


@pytest.mark.parametrize("rows", [30_000, 49_000, 49_151])
def test_a_tokenizer_larger_than_the_embedding_is_refused(
    tiny_model: Path, tmp_path: Path, rows: int
) -> None:
    base = short_vocabulary(tmp_path / "base", tiny_model, rows)
    data = write_rows(tmp_path / "rows.jsonl")
    resolved = load_settings(env=environment(base, data), cwd=tmp_path)
    told = rf"up to id 49,151, .* {rows:,} rows"
    with pytest.raises(ModelError, match=told):
        run_training(resolved, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ModelError, match=told):
        make_completer(resolved, is_base_alone=True)


def test_an_added_token_without_a_row_that_no_text_gives_is_no_obstacle(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from model_toys import toy_loader

    folder = write_toy_model(tmp_path / "toy")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    loader = toy_loader(folder)
    loader.check_parts()
    with pytest.raises(ModelError, match=r"up to id 512, .* 512 rows"):
        loader.check_control_ids([512])
    toy_loader(folder, add_tokens=True).check_control_ids([900])


@pytest.mark.parametrize(
    ("names", "error"), [("q_proj,lm_head", ConfigError), ("q_proj,w_none", ModelError)]
)
def test_wrong_targets_leave_no_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, names: str, error: type[Exception]
) -> None:
    monkeypatch.chdir(place)
    resolved = settings(place, FIM_LORA_TARGET_MODULES=names)
    with pytest.raises(error, match=names.rsplit(",", maxsplit=1)[-1]):
        run_training(resolved, out=place / "never")
    assert not (place / "never").exists()


def test_a_run_its_adapter_and_its_last_checkpoint_answer_alike(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    run = Path("run")
    checkpoint = run / "checkpoints" / "checkpoint-4"
    assert trained_folder_of(run).resolve() == (place / "run" / "adapter").resolve()
    assert run_of_checkpoint(run / "adapter") is None
    expected = answer(bare(place), run / "adapter")
    assert answer(bare(place), run) == expected
    assert answer(bare(place), checkpoint) == expected
    stopped = place / "stopped"
    shutil.copytree(run, stopped)
    shutil.rmtree(stopped / "adapter")
    assert answer(bare(place), stopped / "checkpoints" / "checkpoint-4") == expected
    with pytest.raises(ModelNotFoundError, match="left no adapter") as caught:
        make_completer(bare(place), adapter=stopped)
    assert "--adapter" in caught.value.hint
    assert Path(shlex.split(caught.value.hint.split("--adapter ")[1])[0]).is_dir()
    record = json.loads((stopped / "checkpoints/checkpoint-4/fim_checkpoint.json").read_text())
    record["identity"]["format"] = "another"
    (stopped / "checkpoints/checkpoint-4/fim_checkpoint.json").write_text(json.dumps(record))
    with pytest.raises(AdapterMismatchError, match="another form of the format psm"):
        make_completer(bare(place), adapter=stopped / "checkpoints" / "checkpoint-4")


def test_the_base_of_an_adapter_is_found_from_another_folder(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    expected = answer(bare(place), Path("run/adapter"))
    assert settings_for_adapter(bare(place), Path("run/adapter")).model.name == "base"
    monkeypatch.chdir(tmp_path)
    adapter = place / "run" / "adapter"
    stored = json.loads((adapter / SETTINGS_FILE).read_text())["model"]
    assert (stored["name"], stored["base_path"]) == ("base", str((place / "base").resolve()))
    assert answer(bare(tmp_path), adapter) == expected
    assert settings_for_adapter(bare(tmp_path), adapter).model.name == stored["base_path"]


@pytest.mark.parametrize("is_old", [False, True], ids=["with-path", "without-path"])
def test_a_base_that_is_gone_is_told_with_where_its_name_comes_from(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    adapter = tmp_path / "an adapter"
    shutil.copytree(place / "run" / "adapter", adapter)
    for name in (SETTINGS_FILE, "fim_adapter.json"):
        record = json.loads((adapter / name).read_text())
        part = record.get("model", record)
        part["base_path"] = str(tmp_path / "gone")
        part["name" if "name" in part else "base"] = "../models/gone"
        if is_old:
            part.pop("base_path")
        (adapter / name).write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"\.\./models/gone") as caught:
        make_completer(bare(tmp_path), adapter=Path("an adapter"))
    assert f"named by an adapter/{SETTINGS_FILE}" in caught.value.message
    assert (str(tmp_path / "gone") in caught.value.message) is not is_old
    assert "--adapter 'an adapter' --model" in caught.value.hint
    given = bare(tmp_path, FIM_MODEL_NAME=str(place / "base"))
    assert answer(given, Path("an adapter"))


def test_an_adapter_on_a_twin_of_its_base_is_refused(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import LlamaForCausalLM

    twin = tmp_path / "twin"
    shutil.copytree(place / "base", twin)
    model = LlamaForCausalLM.from_pretrained(twin)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.normal_(0, 0.02)
    model.save_pretrained(twin)
    monkeypatch.chdir(place)
    with pytest.raises(AdapterMismatchError, match="the same shape and the weights") as caught:
        make_completer(bare(place, FIM_MODEL_NAME=str(twin)), adapter=Path("run"))
    assert shlex.split(caught.value.hint)[-2:] == ["--model", str((place / "base").resolve())]


def test_a_run_as_a_model_is_answered_with_its_adapter_s_command(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    for line in (["complete", "--model", "run"], ["train", "--model", "run", "--out", "no"]):
        given: Sequence[str] = ("--prefix", "a", "--suffix", "b") if line[0] == "complete" else ()
        with pytest.raises(SystemExit) as stopped:
            main([*line, *given])
        assert stopped.value.code == 4
        told = capsys.readouterr().err
        assert "run is a run of fim and no model" in told
        hint = told.split("hint: ")[1].strip()
        assert hint == "fim complete --adapter run/adapter --prefix TEXT --suffix TEXT"
    assert not (place / "no").exists()


def test_a_run_that_left_a_whole_model_is_a_model(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    resolved = settings(place, FIM_MODEL_FULL_FINETUNING="true", FIM_TRAIN_MAX_STEPS="2")
    run_training(resolved, out=tmp_path / "whole")
    found = [
        make_completer(bare(place, FIM_MODEL_NAME=str(name)), is_base_alone=True).complete(*ASKED)
        for name in (tmp_path / "whole", tmp_path / "whole" / "model")
    ]
    assert found[0].token_ids == found[1].token_ids
