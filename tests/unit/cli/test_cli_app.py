"""The command line as a whole: start-up, help, exit codes, errors, and its frozen surface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Protocol, cast

import pytest
import typer
from typer.testing import CliRunner

from fim.cli.app import app, main, make_app, report_unexpected
from fim.cli.command import Session, command
from fim.errors import DataError, EvaluationError, FimError, InterruptedRunError
from fim.logger import close_logging

SHARED = {"--preset", "--set", "--json", "--quiet", "-q", "--verbose", "-v", "--debug"}
HELP = {"--help", "-h"}
START_UP_SECONDS = 0.4


class Parameter(Protocol):
    """The part of a command's parameter that the tests read."""

    opts: list[str]
    secondary_opts: list[str]
    param_type_name: str
    required: bool


class Command(Protocol):
    """The part of a command that the tests read."""

    params: list[Parameter]
    epilog: str | None
    help: str | None
    hidden: bool


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FIM_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _closed_log() -> object:
    yield
    close_logging()


def commands(node: object, path: str = "fim") -> dict[str, Command]:
    """Return every command with its full name."""
    children = getattr(node, "commands", None)
    if children is None:
        return {path: cast("Command", node)}
    return {
        name: leaf
        for verb, child in children.items()
        for name, leaf in commands(child, f"{path} {verb}").items()
    }


COMMANDS = commands(typer.main.get_command(make_app()))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_shared_options_help_and_an_example(name: str) -> None:
    leaf = COMMANDS[name]
    options = {option for item in leaf.params for option in item.opts}
    assert options >= SHARED
    assert leaf.help
    assert leaf.epilog is not None
    assert name in leaf.epilog.removeprefix("Examples:")


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("fim config show", set()),
        ("fim config explain", {"key"}),
        ("fim config check", set()),
        ("fim doctor", set()),
    ],
)
def test_frozen_options(name: str, own: set[str]) -> None:
    options = {option for item in COMMANDS[name].params for option in item.opts}
    assert options == SHARED | own


def test_frozen_root_options() -> None:
    root = cast("Command", typer.main.get_command(app))
    options = {option for item in root.params for option in item.opts}
    assert options == {"--version", "--install-completion", "--show-completion"}


@pytest.mark.parametrize("name", ["fim", "fim config", *COMMANDS])
def test_help_is_plain_ascii_text(name: str) -> None:
    result = CliRunner().invoke(app, [*name.split()[1:], "--help"], env={"TERM": "dumb"})
    assert result.exit_code == 0
    words = result.stdout.translate(dict.fromkeys(range(9472, 9728)))
    assert words.isascii()


def run_module(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from fim.cli.app import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **env},
    )


def test_help_answers_fast_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.process_time()\n"
        "from fim.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = ('torch', 'transformers', 'trl', 'peft', 'datasets', 'pyarrow', 'pydantic')\n"
        "sys.stderr.write(repr([name for name in heavy if name in sys.modules]))\n"
        "sys.stderr.write(f'|{time.process_time() - start}')\n"
    )
    fastest = 9.0
    for _ in range(3):
        start = time.perf_counter()
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        loaded, _, seconds = result.stderr.partition("|")
        assert loaded == "[]"
        fastest = min(fastest, float(seconds), time.perf_counter() - start)
    assert fastest < START_UP_SECONDS


def test_help_survives_a_terminal_without_utf8() -> None:
    result = run_module("config", "show", "--help", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert result.returncode == 0
    assert result.stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["config", "check"], 0),
        ([], 2),
        (["config"], 2),
        (["confg"], 2),
        (["config", "explain"], 2),
        (["config", "show", "--bogus"], 2),
        (["config", "explain", "train.lerning_rate"], 2),
        (["config", "show", "--set", "train.seed"], 2),
        (["config", "show", "--preset", "cpuu"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_process_leaves_with_the_exit_code_and_three_part_error() -> None:
    result = run_module("config", "show", FIM_TRIAN_SEED="1")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "error: FIM_TRIAN_SEED (environment) is not a setting, so its value would be ignored\n"
        "hint: did you mean FIM_TRAIN_SEED?\n"
    )


def test_main_runs_given_arguments(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capfd.readouterr().out.startswith("fim ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "show", "--json", "--bogus"], "No such option: --bogus"),
        (["config", "explain", "--json"], "Missing argument 'KEY'."),
        (["confg", "--json"], "No such command 'confg'. Did you mean 'config'?"),
    ],
)
def test_a_wrong_command_line_is_an_object_with_json(
    capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["kind"] == "Config"
    assert error["message"].startswith(message)
    assert set(error) == {"kind", "message", "hint", "context"}


def test_json_answer_of_main(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["config", "check", "--json"])
    assert stop.value.code == 0
    assert json.loads(capfd.readouterr().out) == {"ok": True, "problems": []}


FAILURES: dict[str, BaseException] = {
    "data": DataError("no rows", hint="fim data check"),
    "evaluation": EvaluationError("too low"),
    "interrupted": InterruptedRunError("stopped", hint="fim train --resume last"),
    "ctrl-c": KeyboardInterrupt(),
    "bug": RuntimeError("a bug"),
}


def failing_app() -> typer.Typer:
    """Return a command line whose one command fails as asked."""
    made = typer.Typer()

    def fail(session: Session, how: Annotated[str, typer.Argument()]) -> None:
        """Fail."""
        session.output.say(f"failing with {session.options.preset}")
        raise FAILURES[how]

    command(made, "fail", examples=("fim fail data",), is_hidden=True)(fail)
    return made


@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ("data", 3, "error: no rows\nhint: fim data check\n"),
        ("evaluation", 6, "error: too low\n"),
        ("interrupted", 130, "error: stopped\nhint: fim train --resume last\n"),
        ("ctrl-c", 130, "warning: interrupted; nothing more was done\n"),
    ],
)
def test_failures_become_messages_and_exit_codes(how: str, code: int, told: str) -> None:
    result = CliRunner().invoke(failing_app(), [how, "--preset", "cpu"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"failing with cpu\n{told}"


def test_a_failure_with_json_is_one_object() -> None:
    result = CliRunner().invoke(failing_app(), ["data", "--json", "-q"])
    assert result.exit_code == 3
    assert json.loads(result.stdout) == cast("FimError", FAILURES["data"]).as_json()
    assert result.stderr == ""


@pytest.mark.parametrize(("flag", "env"), [(["--debug"], {}), ([], {"FIM_DEBUG": "1"})])
def test_debug_shows_the_traceback(flag: list[str], env: dict[str, str]) -> None:
    result = CliRunner().invoke(failing_app(), ["data", *flag], env=env)
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: no rows\nhint: fim data check\n")


def test_a_bug_is_not_swallowed() -> None:
    result = CliRunner().invoke(failing_app(), ["bug"])
    assert isinstance(result.exception, RuntimeError)
    assert result.exit_code == 1


def test_a_bug_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    error = RuntimeError("a bug")
    report_unexpected(["train"], RuntimeError, error, None)
    assert capfd.readouterr().err == (
        "error: unexpected RuntimeError: a bug\n"
        "hint: run again with --debug and report it: fim train --debug\n"
    )
    report_unexpected(["train", "--debug"], RuntimeError, error, None)
    assert capfd.readouterr().err == (
        "RuntimeError: a bug\nerror: unexpected RuntimeError: a bug\n"
    )
    report_unexpected(["train", "--json"], RuntimeError, error, None)
    assert json.loads(capfd.readouterr().out)["error"]["kind"] == "Fim"


def test_a_bug_ends_the_process_with_one_and_without_traceback() -> None:
    code = (
        "import fim.cli.config_commands as commands\n"
        "def broken(session): raise RuntimeError('a bug')\n"
        "commands.check = broken\n"
        "from fim.cli.app import main; main(['config', 'check'])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: unexpected RuntimeError: a bug\n")


@pytest.mark.parametrize("flag", [[], ["--json"]])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_deleted_working_folder_is_told_by_every_command(
    name: str, flag: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone folder"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    needed = [item for item in COMMANDS[name].params if item.required]
    given = [
        word
        for item in needed
        for word in (["x"] if item.param_type_name == "argument" else [item.opts[0], "x"])
    ]
    result = CliRunner().invoke(app, [*name.split()[1:], *given, *flag])
    assert result.exit_code == 2
    told = json.loads(result.stdout)["error"]["message"] if flag else result.stderr
    assert f"the working folder {gone} is gone" in told
    assert flag or len(result.stderr.splitlines()) == 2
    assert CliRunner().invoke(app, [*name.split()[1:], "--help"]).exit_code == 0
    assert CliRunner().invoke(app, ["--version"]).exit_code == 0


def test_a_bug_in_a_deleted_working_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    error = RuntimeError("a bug")
    report_unexpected(["data", "build", "my code", "--", "x"], RuntimeError, error, None)
    assert capfd.readouterr().err == (
        "error: unexpected RuntimeError: a bug\n"
        "hint: run again with --debug and report it: fim data build 'my code' --debug -- x\n"
    )


def test_a_wrong_command_line_is_one_sentence_and_its_help(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["config", "show", "--b\x1b[31m"])
    assert stop.value.code == 2
    assert capfd.readouterr().err == (
        "error: No such option: --b\\x1b[31m\nhint: fim config show --help\n"
    )


def test_shell_completion_is_there() -> None:
    result = CliRunner().invoke(
        app,
        [],
        prog_name="fim",
        env={"_FIM_COMPLETE": "complete_bash", "COMP_WORDS": "fim conf", "COMP_CWORD": "1"},
    )
    assert result.stdout.strip() == "config"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fim config explain train.learn", "train.learning_rate"),
        ("fim config show --preset 24", "24gb"),
    ],
)
def test_completion_offers_keys_and_presets(words: str, offered: str) -> None:
    result = CliRunner().invoke(
        app,
        [],
        prog_name="fim",
        env={
            "_FIM_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
    )
    assert result.stdout.strip() == offered
