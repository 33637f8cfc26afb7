"""Uploads through the real hub client to a hub on localhost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_hub import READ_ONLY_TOKEN, TOKEN, HubState, fake_hub
from fim.cli.app import main
from fim.config import ResolvedSettings, load_settings
from fim.errors import HubUploadError
from fim.exporting import planned_upload, push_adapter
from fim.pipeline import run_training
from fim.runs import RunFolder, RunState
from pipeline_toys import SHORT, environment, write_rows, write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, smollm2_tokenizer: object
) -> tuple[dict[str, str], RunFolder]:
    folder = tmp_path_factory.mktemp("hub")
    model = write_tiny_model(folder / "tiny", smollm2_tokenizer)
    variables = environment(model, write_rows(folder / "rows.jsonl"), **SHORT)
    outcome = run_training(load_settings(env=variables, cwd=folder), out=folder / "mine")
    assert outcome.upload is None
    return variables, outcome.run


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubState]:
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "FIM_HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with fake_hub() as state:
        monkeypatch.setattr(constants, "ENDPOINT", state.endpoint)
        yield state


def settings(**env: str) -> ResolvedSettings:
    return load_settings(env={"FIM_HF_TOKEN": TOKEN, **env}, cwd=Path("/"))


def test_an_adapter_with_its_card_goes_to_a_private_repository(
    hub: HubState, trained: tuple[dict[str, str], RunFolder]
) -> None:
    _, run = trained
    done = push_adapter(settings(), run, endpoint=hub.endpoint)
    assert done.repo == "someone/mine"
    assert done.url == f"{hub.endpoint}/someone/mine/commit/abc"
    assert hub.repos["someone/mine"]["visibility"] == "private"
    files = hub.files["someone/mine"]
    assert set(files) == set(done.files)
    weights = "adapter_model.safetensors"
    assert files[weights] == (run.adapter / weights).read_bytes()
    assert files["fim_format.json"] == (run.adapter / "fim_format.json").read_bytes()
    card = files["README.md"].decode()
    assert card.startswith("---\n")
    assert 'library_name: "peft"' in card
    assert 'base_model: "tiny"' in card
    assert "hf download someone/mine --local-dir adapter" in card
    assert TOKEN not in card
    assert any("/info/lfs/objects/batch" in each for each in hub.requests)


def test_a_name_that_is_taken(hub: HubState, trained: tuple[dict[str, str], RunFolder]) -> None:
    _, run = trained
    first = push_adapter(
        settings(FIM_HF_PRIVATE="false"), run, repo="team/x", endpoint=hub.endpoint
    )
    assert hub.repos[first.repo]["visibility"] == "public"
    with pytest.raises(HubUploadError, match="exists already") as caught:
        push_adapter(settings(FIM_HF_REPO="team/x"), run, endpoint=hub.endpoint)
    assert "FIM_HF_REPLACE" in caught.value.hint
    allowed = settings(FIM_HF_REPO="team/x", FIM_HF_REPLACE="true")
    assert push_adapter(allowed, run, endpoint=hub.endpoint).repo == "team/x"


@pytest.mark.parametrize(("token", "status"), [(READ_ONLY_TOKEN, 403), ("hf_wrong", 401)])
def test_a_token_that_is_refused_is_not_shown(
    token: str, status: int, hub: HubState, trained: tuple[dict[str, str], RunFolder]
) -> None:
    _, run = trained
    with pytest.raises(HubUploadError, match=f"refuses this token .*{status}") as caught:
        push_adapter(settings(FIM_HF_TOKEN=token), run, endpoint=hub.endpoint)
    assert token not in json.dumps(caught.value.as_json())
    assert f"fim export hub {run.shown_path}" in caught.value.hint
    assert caught.value.exit_code == 7


def test_no_token_and_a_token_in_a_file(
    hub: HubState,
    trained: tuple[dict[str, str], RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, run = trained
    with pytest.raises(HubUploadError, match="no hub token in the environment"):
        push_adapter(load_settings(env={}, cwd=tmp_path), run, endpoint=hub.endpoint)
    (tmp_path / "fim.toml").write_text('[hf]\ntoken = "hf_written"\n', encoding="utf-8")
    with pytest.raises(HubUploadError, match="where others may read it") as caught:
        push_adapter(load_settings(env={}, cwd=tmp_path), run, endpoint=hub.endpoint)
    assert "hf_written" not in json.dumps(caught.value.as_json())
    (tmp_path / "fim.toml").unlink()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = push_adapter(
        load_settings(env={}, cwd=tmp_path), run, repo="common", endpoint=hub.endpoint
    )
    assert done.repo == "someone/common"


def test_no_network(hub: HubState, trained: tuple[dict[str, str], RunFolder]) -> None:
    _, run = trained
    with pytest.raises(HubUploadError, match="cannot be reached") as caught:
        push_adapter(settings(), run, endpoint="http://127.0.0.1:9")
    assert "HF_ENDPOINT" in caught.value.hint
    assert run.adapter.is_dir()


def test_a_name_that_no_hub_takes(hub: HubState, trained: tuple[dict[str, str], RunFolder]) -> None:
    _, run = trained
    with pytest.raises(HubUploadError, match="does not take"):
        push_adapter(settings(), run, repo="a/b/c", endpoint=hub.endpoint)


def test_a_run_without_an_adapter(tmp_path: Path) -> None:
    run = RunFolder.create_at(tmp_path / "empty")
    with pytest.raises(HubUploadError, match="no adapter to upload"):
        planned_upload(settings(), run)


def test_training_pushes_where_asked(
    hub: HubState, trained: tuple[dict[str, str], RunFolder], tmp_path: Path
) -> None:
    variables, _ = trained
    wanted = {**variables, "FIM_HF_PUSH": "true", "FIM_HF_REPO": "auto"}
    good = load_settings(env={**wanted, "FIM_HF_TOKEN": TOKEN}, cwd=tmp_path)
    outcome = run_training(good, out=tmp_path / "good")
    assert outcome.as_json()["hub"]["repo"] == "someone/auto"  # type: ignore[index]


def test_by_command_line_and_a_failed_push_keeps_the_run(
    hub: HubState,
    trained: tuple[dict[str, str], RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    variables, run = trained
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["export", "hub", str(run.path), "--dry-run", "--json"])
    planned = json.loads(capsys.readouterr().out)
    assert planned["out"] == ""
    assert planned["private"] is True
    assert "adapter_model.safetensors" in planned["files"]
    assert hub.requests == []
    monkeypatch.setenv("FIM_HF_TOKEN", TOKEN)
    with pytest.raises(SystemExit):
        main(["export", "hub", str(run.path), "--repo", "shown", "--public"])
    assert capsys.readouterr().out.strip().endswith("/someone/shown/commit/abc")
    monkeypatch.setenv("FIM_HF_TOKEN", "hf_wrong")
    for name, value in {**variables, "FIM_HF_PUSH": "1", "FIM_HF_REPO": "other"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--out", "again", "--json"])
    assert stopped.value.code == 7
    shown = capsys.readouterr()
    assert json.loads(shown.out)["hub"]["error"]["kind"] == "HubUpload"
    assert TOKEN not in shown.out + shown.err
    assert "hf_wrong" not in shown.out + shown.err
    kept = RunFolder.open(tmp_path / "again")
    assert kept.status.state is RunState.DONE
    assert (kept.adapter / "adapter_model.safetensors").is_file()
    for path in kept.path.rglob("*"):
        assert not path.is_file() or b"hf_wrong" not in path.read_bytes()
