"""The sources one by one: what each reads, and every way in which it can be broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim.config.files import read_env_file
from fim.config.problems import closest, did_you_mean
from fim.config.settings import known_settings
from fim.config.sources import (
    env_file_layer,
    override_layer,
    preset_layer,
    toml_layer,
    variable_layer,
)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("FIM_TRIAN_LEARNING_RATE", "FIM_TRAIN_LEARNING_RATE"),
        ("FIM_TRAIN_LEARNIG_RATE", "FIM_TRAIN_LEARNING_RATE"),
        ("FIM_MODELNAME", "FIM_MODEL_NAME"),
        ("FIM_LORA_LORA_ALPHA", "FIM_LORA_ALPHA"),
        ("FIM_TRAIN_DROPOUT", "FIM_LORA_DROPOUT"),
        ("FIM_PRESETT", "FIM_PRESET"),
        ("FIM_NOPROGRESS", "FIM_NO_PROGRESS"),
        ("FIM_TRAIN_train_seed", "FIM_TRAIN_SEED"),
    ],
)
def test_misspelt_variables_get_a_suggestion(name: str, suggestion: str) -> None:
    layer = variable_layer("environment", {name: "1"})
    assert [problem.hint for problem in layer.problems] == [f"did you mean {suggestion}?"]


def test_a_variable_like_nothing_gets_the_listing() -> None:
    layer = variable_layer("environment", {"FIM_XYZZY_QQQQ": "1"})
    assert layer.problems[0].hint == "`fim config show` lists every setting"


def test_a_misspelt_variable_is_a_problem_even_when_empty() -> None:
    assert variable_layer("environment", {"FIM_TRIAN_SEED": ""}).problems


def test_a_whole_section_is_not_a_variable() -> None:
    layer = variable_layer("environment", {"FIM_TRAIN": '{"seed": 1}'})
    assert layer.values == {}
    assert layer.problems[0].key == "FIM_TRAIN"


def test_variables_of_others_and_switches_are_fine() -> None:
    names = ("HF_TOKEN", "PATH", "FIM_NO_PROGRESS", "FIM_CACHE_DIR", "FIM_DEBUG", "FIM_PRESET")
    assert variable_layer("environment", dict.fromkeys(names, "1")).problems == ()


def test_env_file_is_read_like_a_shell_reads_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbf# a comment\r\n"
        b"export FIM_TRAIN_SEED=1  # why\r\n"
        b"FIM_DATA_PATH='a b.jsonl'\r\n"
        b'FIM_TRAIN_OUTPUT_DIR="${BASE}/${HOME_NAME:-mine}"\r\n'
        b"FIM_LOG_LEVEL\r\n"
        b"HF_TOKEN=hf_x\r\n"
    )
    layer = env_file_layer(tmp_path, {"BASE": "/data"})
    assert layer.problems == ()
    assert layer.values == {
        "train.seed": "1",
        "data.path": "a b.jsonl",
        "train.output_dir": "/data/mine",
    }
    assert layer.origin("train.seed") == ".env"


def test_env_file_lines_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FIM_TRAIN_SEED=1\n=oops\nA='x\n", encoding="utf-8")
    layer = env_file_layer(tmp_path, {})
    assert [problem.message for problem in layer.problems] == [
        ".env: line 2 is not NAME=VALUE, so its settings cannot be used",
        ".env: line 3 is not NAME=VALUE, so its settings cannot be used",
    ]
    assert layer.values == {"train.seed": "1"}


def test_env_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=1\nB=\xff\n")
    variables, problems = read_env_file(tmp_path, {})
    assert variables == {}
    assert problems[0].message == (
        ".env: line 2 is not UTF-8: byte 0xff, so its settings cannot be used"
    )


def test_an_environment_folder_called_dot_env_is_no_source(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert env_file_layer(tmp_path, {}).problems == ()


def test_toml_is_read_by_section(tmp_path: Path) -> None:
    (tmp_path / "fim.toml").write_text(
        '\ufeffpreset = "cpu"\ntrain.seed = 5\n[lora]\nr = 8\ntarget_modules = ["q_proj"]\n[hf]\n',
        encoding="utf-8",
    )
    layer = toml_layer(tmp_path)
    assert layer.problems == ()
    assert layer.preset == "cpu"
    assert layer.values == {"train.seed": 5, "lora.r": 8, "lora.target_modules": ["q_proj"]}
    assert layer.origin("lora.r") == "fim.toml"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "[train]\nseed = 1\nseed 2\n",
            "fim.toml: line 3 is not TOML: Expected '=' after a key in a key/value pair, "
            "so its settings cannot be used",
            "correct the line; fim.toml.example shows every setting",
        ),
        (
            "[train]\nseed = [1,\n2",
            "fim.toml: line 3 is not TOML: Unclosed array, so its settings cannot be used",
            "correct the line; fim.toml.example shows every setting",
        ),
        (
            "train = 5\n",
            "fim.toml: train is a section, not a value, so its settings cannot be used",
            "write it as [train]",
        ),
        (
            "learning_rate = 1\n",
            "learning_rate (fim.toml) is not a setting, so its value would be ignored",
            "did you mean train.learning_rate?",
        ),
        (
            "[trian]\nseed = 1\n",
            "trian.seed (fim.toml) is not a setting, so its value would be ignored",
            "did you mean train.seed?",
        ),
        (
            "[trian]\n",
            "trian (fim.toml) is not a setting, so its value would be ignored",
            "did you mean train?",
        ),
        (
            "[train.more]\nseed = 1\n",
            "train.more (fim.toml) is not a setting, so its value would be ignored",
            "did you mean train.seed?",
        ),
    ],
)
def test_golden_toml_problems(tmp_path: Path, text: str, message: str, hint: str) -> None:
    (tmp_path / "fim.toml").write_text(text, encoding="utf-8")
    (problem,) = toml_layer(tmp_path).problems
    assert problem.message == message
    assert problem.hint == hint or text.startswith("[train.more]")


def test_toml_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "fim.toml").write_bytes(b"[train]\n\n# caf\xe9\n")
    (problem,) = toml_layer(tmp_path).problems
    assert problem.message == (
        "fim.toml: line 3 is not UTF-8: byte 0xe9, so its settings cannot be used"
    )
    assert problem.hint == "save the file as UTF-8"


def test_toml_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "fim.toml").mkdir()
    (problem,) = toml_layer(tmp_path).problems
    assert problem.message == (
        "fim.toml: cannot be read: Is a directory, so its settings cannot be used"
    )


def test_toml_preset_of_another_type_is_told_as_written(tmp_path: Path) -> None:
    (tmp_path / "fim.toml").write_text("preset = 8\n", encoding="utf-8")
    assert toml_layer(tmp_path).preset == "8"


def test_overrides_with_unknown_keys() -> None:
    layer = override_layer({"train.lerning_rate": 1, "train.seed": 2, "data.path": None})
    assert layer.values == {"train.seed": 2}
    assert [problem.hint for problem in layer.problems] == ["did you mean train.learning_rate?"]


def test_unknown_preset_without_a_close_one() -> None:
    (problem,) = preset_layer("zzzz", "command line").problems
    assert problem.hint == "take `cpu` on a machine without an accelerator"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train.seeds", "train.seed"),
        ("model.stream", "infer.stream"),
        ("TRAIN.SEED", "train.seed"),
        ("qqqqqqqqqq", None),
    ],
)
def test_closest_name(name: str, expected: str | None) -> None:
    assert closest(name, known_settings()) == expected


def test_hint_without_a_close_name() -> None:
    assert did_you_mean("qqqqqq", ["train.seed"], "look it up") == "look it up"
