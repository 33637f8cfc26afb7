"""What a run goes on with: every single setting that the user changes is applied or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drawn_settings import as_setting, every_key, other_value
from fim.config import Settings, load_settings, setting_values
from fim.config.resuming import (
    ResumedSettings,
    RunRecord,
    refusal_reason,
    resume_settings,
    said_of,
    spelling,
    why_bound,
)
from fim.errors import ConflictingSettingsError

LISTED_AS_APPLIED = (
    "train.max_steps",
    "train.num_train_epochs",
    "train.max_minutes",
    "train.learning_rate",
    "train.save_steps",
    "train.save_total_limit",
    "train.eval_steps",
    "train.logging_steps",
    "train.report_to",
    "train.early_stopping_metric",
    "train.early_stopping_patience",
    "infer.stop",
    "eval.num_holes",
    "log.level",
)
LISTED_AS_REFUSED = (
    "model.name",
    "model.max_seq_length",
    "data.format",
    "data.anchor_lines",
    "data.dataset_name",
    "data.seed",
    "lora.r",
    "lora.target_modules",
    "corpus.max_files",
    "train.seed",
    "train.per_device_train_batch_size",
    "train.gradient_accumulation_steps",
    "train.packing",
)


def begun(folder: Path, **given: object) -> RunRecord:
    """Return the record of a run in ``runs/one``."""
    arguments: dict[str, object] = {"env": {}, "cwd": folder, **given}
    resolved = load_settings(**arguments)  # type: ignore[arg-type]
    return RunRecord(
        settings=resolved.settings,
        sources=resolved.sources,
        said={key: said for key in resolved.sources if (said := said_of(resolved, key))},
        folder=folder / "runs" / "one",
    )


def resumed(record: RunRecord, folder: Path, **given: object) -> ResumedSettings:
    arguments: dict[str, object] = {"env": {}, "cwd": folder, **given}
    return resume_settings(record, load_settings(**arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["--set", "environment", ".env"])
@pytest.mark.parametrize("key", every_key())
def test_any_setting_that_is_changed_is_applied_and_told_or_refused_by_name(
    tmp_path: Path, key: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = {} if key == "model.load_in_4bit" else {"model.load_in_4bit": False}
    record = begun(tmp_path, overrides=plain)
    own = dict(setting_values(record.settings))[key]
    text = as_setting(other_value(key, own, tmp_path))
    variable = "FIM_" + key.upper().replace(".", "_")
    given: dict[str, object] = {"overrides": plain | {key: text}}
    if source == "environment":
        given = {"overrides": plain, "env": {variable: text}}
    elif source == ".env":
        (tmp_path / ".env").write_text(f"{variable}={text}\n", encoding="utf-8")
        given = {"overrides": plain}
    found = resumed(record, tmp_path, **given)
    (change,) = (*found.changes, *found.refused)
    assert change.key == key
    assert key in str(change)
    assert change.source.startswith(source if source != "--set" else "command line")
    now = dict(setting_values(found.resolved.settings))[key]
    if found.refused:
        assert now == own
        assert refusal_reason(change)
        assert spelling(change)[1].startswith(f"{key}=")
        kept = resumed(record, tmp_path, overrides=plain | {key: as_setting(own)})
        assert (kept.changes, kept.refused) == ((), ())
    else:
        assert now != own
        assert found.resolved.sources[key] == change.source


@pytest.mark.parametrize("key", LISTED_AS_APPLIED)
def test_what_may_change(key: str) -> None:
    assert not why_bound(key)


@pytest.mark.parametrize("key", LISTED_AS_REFUSED)
def test_what_may_not_change(key: str) -> None:
    assert why_bound(key)


def test_a_default_or_a_preset_never_counts(tmp_path: Path) -> None:
    record = begun(tmp_path, preset="cpu", overrides={"train.max_steps": 4, "train.seed": 9})
    assert resumed(record, tmp_path).changes == ()
    with_preset = resumed(record, tmp_path, preset="cpu")
    assert (with_preset.changes, with_preset.refused) == ((), ())


@pytest.mark.parametrize(("began", "now"), [("cpu", "24gb"), (None, "cpu"), ("cpu", "none")])
def test_another_preset_is_refused_by_name(tmp_path: Path, began: str | None, now: str) -> None:
    found = resumed(begun(tmp_path, preset=began), tmp_path, preset=now)
    assert [each.key for each in found.refused] == ["preset"]
    option, own = spelling(found.refused[0])
    assert (option, own) == ("--preset", began or "none")


def test_what_a_file_said_already_is_no_news_and_what_it_says_anew_is(tmp_path: Path) -> None:
    toml = tmp_path / "fim.toml"
    toml.write_text('preset = "cpu"\n[train]\nseed = 3\nmax_steps = 4\n', encoding="utf-8")
    record = begun(tmp_path, overrides={"train.seed": 5}, preset="none")
    found = resumed(record, tmp_path)
    assert (found.changes, found.refused) == ((), ())
    assert [each.key for each in found.outdated] == ["preset", "train.seed"]
    longer = resumed(record, tmp_path, overrides={"train.max_steps": 6})
    assert [str(each) for each in longer.changes] == ["train.max_steps: 4 -> 6 (command line)"]
    second = replace(record, settings=longer.resolved.settings, said=longer.said)
    assert resumed(second, tmp_path).changes == ()
    toml.write_text('preset = "cpu"\n[train]\nseed = 3\nmax_steps = 8\n', encoding="utf-8")
    assert [each.after for each in resumed(second, tmp_path).changes] == [8]


def test_one_place_has_many_spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    record = begun(tmp_path, overrides={"data.path": "data", "model.name": "./tiny"})
    for spelt in ("data/", "./data", str(tmp_path / "data"), "link"):
        found = resumed(record, tmp_path, overrides={"data.path": spelt, "model.name": "tiny/"})
        assert (found.changes, found.refused) == ((), ())
    runs = {"train.output_dir": tmp_path / "runs"}
    assert resumed(record, tmp_path, overrides=runs).refused == ()


def test_a_set_that_the_run_built_is_its_own(tmp_path: Path) -> None:
    record = replace(begun(tmp_path), has_own_data=True)
    own = {"data.path": record.folder / "data"}
    assert resumed(record, tmp_path, overrides=own).refused == ()
    (refused,) = resumed(record, tmp_path, overrides={"data.path": "rows.jsonl"}).refused
    assert refused.key == "data.path"
    assert refusal_reason(refused)


def test_epochs_end_a_run_that_steps_ended(tmp_path: Path) -> None:
    record = begun(tmp_path, env={"FIM_TRAIN_MAX_STEPS": "4"})
    for env in ({}, {"FIM_TRAIN_MAX_STEPS": "4"}):
        found = resumed(record, tmp_path, overrides={"train.num_train_epochs": 3}, env=env)
        assert [(each.key, each.after) for each in found.changes] == [
            ("train.num_train_epochs", 3.0),
            ("train.max_steps", -1),
        ]
        assert found.resolved.settings.train.max_steps == -1
    both = {"train.num_train_epochs": 3, "train.max_steps": 4}
    (refused,) = resumed(record, tmp_path, overrides=both).refused
    assert refused.key == "train.num_train_epochs"
    assert "--set train.max_steps=-1" in refusal_reason(refused)


def test_values_that_are_impossible_on_the_run_are_refused(tmp_path: Path) -> None:
    record = begun(tmp_path, preset="cpu")
    with pytest.raises(ConflictingSettingsError, match=r"infer\.max_new_tokens is 400"):
        resumed(record, tmp_path, overrides={"infer.max_new_tokens": 400})


def test_the_token_is_taken_and_never_shown(tmp_path: Path) -> None:
    found = resumed(begun(tmp_path), tmp_path, env={"FIM_HF_TOKEN": "hf_secret"})
    token = found.resolved.settings.hf.token
    assert token is not None
    assert token.get_secret_value() == "hf_secret"
    assert "hf_secret" not in str([str(each) for each in found.changes]) + repr(found.said)
    assert Settings().hf.token is None


def test_other_data_are_named_beside_what_else_is_refused(tmp_path: Path) -> None:
    record = begun(tmp_path, overrides={"data.path": "a.jsonl"})
    other = {"data.path": "b.jsonl", "model.name": "other"}
    found = resumed(record, tmp_path, overrides=other)
    assert [each.key for each in found.refused] == ["model.name", "data.path"]
    assert [each.key for each in resumed(record, tmp_path, overrides={"data.path": "b"}).changes]
