"""The examples for several GPUs, checked as far as a machine without one allows."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from fim.cli.app import make_app
from fim.config import load_settings

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "multi-gpu"
FILES = sorted(FOLDER.iterdir())


@pytest.mark.parametrize(
    ("name", "kind"), [("fsdp2.yaml", "FSDP"), ("deepspeed_zero3.yaml", "DEEPSPEED")]
)
def test_accelerate_reads_the_configuration(name: str, kind: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(FOLDER / name))
    assert config.distributed_type == kind
    assert config.num_processes == 4
    options = launch_command_parser()._option_string_actions
    sections = {**(config.fsdp_config or {}), **(config.deepspeed_config or {})}
    assert sections
    for key in sections:
        assert f"--{key}" in options, key


def test_the_layer_that_fsdp_wraps_exists() -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from transformers.models.qwen3 import modeling_qwen3

    config = load_config_from_file(str(FOLDER / "fsdp2.yaml"))
    assert hasattr(modeling_qwen3, config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"])


def test_bash_and_torchrun_take_the_script() -> None:
    script = FOLDER / "train_slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True, capture_output=True)
    from torch.distributed.run import get_args_parser

    given = set(re.findall(r"--[a-z-]+(?==)", _torchrun(script)))
    known = {name.replace("_", "-") for name in get_args_parser()._option_string_actions}
    assert given
    assert given <= known


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_options_and_settings_exist(path: Path) -> None:
    root = typer.main.get_command(make_app())
    train = root.commands["train"]  # type: ignore[attr-defined]
    known = {option for parameter in train.params for option in parameter.opts}
    for words in _train_arguments(path.read_text(encoding="utf-8")):
        assert {word for word in words if word.startswith("--")} <= known
        assignments = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
        preset = words[words.index("--preset") + 1]
        values = dict(each.split("=", 1) for each in assignments)
        resolved = load_settings(overrides=values, preset=preset, env={}, cwd=Path("/"))
        assert resolved.settings.model.backend == "transformers"
        assert not resolved.settings.model.load_in_4bit


def test_the_page_says_that_nothing_was_run() -> None:
    assert "None of these files was run on a GPU" in (FOLDER / "README.md").read_text("utf-8")


def _torchrun(script: Path) -> str:
    text = script.read_text("utf-8").replace("\\\n", " ")
    return text[text.index("torchrun") : text.index("scripts/train.py")]


def _train_arguments(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        _, door, arguments = line.partition("scripts/train.py ")
        if door:
            yield shlex.split(arguments)
