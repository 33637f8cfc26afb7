"""Scripts that read an input and write an output: judged by what they write, by nothing else."""

from __future__ import annotations

import pytest

from fim.errors import EvaluationError
from fim.evaluation.sandbox import Limits, Outcome, Program, Sandbox, Walls, find_walls
from fim.evaluation.sandbox.inside.comparison import outputs_match
from fim.evaluation.suites import Check

CHECK = Check(cases=(("2 3\r\n", ("5",)), ("1 1\n", ("3", "2"))))
READ = "a, b = map(int, input().split())\n"
LIMITS = Limits(script_seconds=1.0)
SCRIPTS = {
    "right": (READ + "print(a + b)\n", True, ""),
    "right by arguments of the command line": (
        "import fileinput\na, b = map(int, next(iter(fileinput.input())).split())\nprint(a + b)\n",
        True,
        "",
    ),
    "right in a thread": (
        READ + "import threading\nthreading.Thread(target=lambda: print(a + b)).start()\n",
        True,
        "",
    ),
    "right, then exit": (READ + "print(a + b)\nimport sys\nsys.exit()\n", True, ""),
    "wrong": (READ + "print(a * b)\n", False, "wrong output on input 1"),
    "wrong later": ("print(5)\n", False, "wrong output on input 2"),
    "exit zero early": ("raise SystemExit(0)\n" + READ, False, "wrong output on input 1"),
    "error after the right output": (READ + "print(a + b)\n1 / 0\n", False, "exit code 1"),
    "killed": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", False, "killed"),
    "endless": ("while True:\n    pass\n", False, "timeout"),
    "daemon that holds the output": (
        READ + "print(a + b)\nimport os, time\nif not os.fork():\n    time.sleep(60)\n",
        False,
        "timeout",
    ),
    "huge output": ("while True:\n    print('x' * 10**6)\n", False, "killed"),
    "looks for the answers": (
        "import gc, os\n"
        "for fd in range(3, 64):\n    try: print(os.read(fd, 4096))\n    except OSError: pass\n"
        "for found in gc.get_objects():\n"
        "    if isinstance(found, dict) and 'outputs' in found: print(found['outputs'][0][0])\n",
        False,
        "wrong output on input 1",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name: str) -> None:
    source, has_passed, reason = SCRIPTS[name]
    outcome = Sandbox(LIMITS).run(Program(source, CHECK))
    assert outcome.has_passed is has_passed, outcome
    assert outcome.reason.startswith(reason)


def test_a_server_that_ended_is_started_again() -> None:
    forged = "import os\nos.kill(os.getppid(), 9)\nos.close(1)\n"
    programs = [Program(SCRIPTS["right"][0], CHECK), Program(forged, CHECK)] * 3
    outcomes = Sandbox(LIMITS).run_many(programs, workers=1)
    assert [outcome.has_passed for outcome in outcomes] == [True, False] * 3


LEAVE = (
    "import ctypes, os, sys, builtins\n"
    "for path in ('left', '/tmp/left', '/left', '/dev/shm/left'):\n"
    "    try: open(path, 'w').write('5')\n    except OSError: pass\n"
    "libc = ctypes.CDLL(None)\nlibc.shmget(4242, 4096, 0o1666)\n"
    "sys.modules['left'] = builtins.left = 5\nos.environ['LEFT'] = '5'\nprint(5)\n"
)
FIND = (
    "import builtins, ctypes, os, sys\n"
    "found = [os.path.exists(path) for path in ('left', '/tmp/left', '/left', '/dev/shm/left')]\n"
    "found += [ctypes.CDLL(None).shmget(4242, 0, 0) != -1, 'left' in sys.modules]\n"
    "found += [hasattr(builtins, 'left'), 'LEFT' in os.environ]\nprint(sum(found))\n"
)


def test_nothing_passes_from_one_program_to_the_next() -> None:
    if not find_walls().has_namespaces:
        pytest.skip("this machine allows no namespaces")
    leaves = Program(LEAVE, Check(cases=(("", ("5",)),)))
    finds = Program(FIND, Check(cases=(("", ("0",)),)))
    outcomes = Sandbox(LIMITS).run_many([leaves, finds, leaves, finds], workers=1)
    assert [outcome.has_passed for outcome in outcomes] == [True] * 4, outcomes


def test_a_sandbox_that_does_not_start_is_told() -> None:
    sandbox = Sandbox(LIMITS, Walls(prefix=("false",)))
    with pytest.raises(EvaluationError, match="did not start with false") as caught:
        sandbox.run(Program("", CHECK))
    assert "fim doctor" in caught.value.hint


def test_an_early_end_of_the_output_is_no_verdict() -> None:
    outcome = Sandbox(LIMITS).run(Program("", Check(cases=(("", ("",)),))))
    assert outcome == Outcome(has_passed=True)


@pytest.mark.parametrize(
    ("output", "wanted", "equal"),
    [
        ("a \n b\n", "a\nb", True),
        ("a b", "a\nb", True),
        ("YES no", "yes NO", True),
        ("Maybe", "maybe", False),
        ("0.30000000000000004", "0.3", True),
        ("0.3001", "0.3", False),
        ("1e3", "1000", True),
        ("nan", "nan", True),
        ("1", "one", False),
        ("1 2", "1", False),
        ("", "", True),
    ],
)
def test_outputs_are_compared_as_published(output: str, wanted: str, equal: bool) -> None:
    assert outputs_match(output, wanted) is equal
