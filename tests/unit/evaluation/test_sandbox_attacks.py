"""Programs that cheat or do harm: none passes, none hurts, each ends in time."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from fim.evaluation.sandbox import Limits, Outcome, Program, Sandbox, Walls, find_walls
from fim.evaluation.suites import Check

TEST = """
def check(candidate):
    assert candidate(2) == 4
    assert candidate(5) == 25
    assert candidate(-3) == 9
"""
CHECK = Check(prompt="", test=TEST, entry_point="square")
WRONG = "\ndef square(x):\n    return 0\n"
LIMITS = Limits(wall_seconds=1.0, cpu_seconds=2)
NUM_TOGETHER = 4
PORT_MARK, FOLDER_MARK, PID_MARK = "@PORT@", "@FOLDER@", "@PID@"

ATTACKS = {
    "exit_zero_early": "import sys\nsys.exit(0)\n" + WRONG,
    "os_exit_zero_early": "import os\nos._exit(0)\n" + WRONG,
    "exit_in_the_call": "def square(x):\n    raise SystemExit(0)\n",
    "os_exit_in_the_call": "import os\ndef square(x):\n    os._exit(0)\n",
    "always_equal": (
        "class Yes:\n    def __eq__(self, other): return True\n"
        "    def __bool__(self): return True\n    def __hash__(self): return 0\n"
        "def square(x):\n    return Yes()\n"
    ),
    "always_equal_int": (
        "class Yes(int):\n    def __eq__(self, other): return True\n"
        "    def __ne__(self, other): return False\n    __hash__ = int.__hash__\n"
        "    def __index__(self): return 4\ndef square(x):\n    return Yes(0)\n"
    ),
    "lying_class": (
        "class Lie:\n    __class__ = int\n    def __eq__(self, other): return True\n"
        "def square(x):\n    return Lie()\n"
    ),
    "no_assert_by_builtins": (
        "import builtins\nbuiltins.AssertionError = type('Quiet', (), {})\n"
        "builtins.__import__ = None\n" + WRONG
    ),
    "redefined_check": "def check(candidate):\n    return None\n" + WRONG,
    "frames_and_gc": (
        "import gc, sys\ndef square(x):\n"
        "    for thing in gc.get_objects():\n"
        "        if isinstance(thing, dict) and 'nonce' in thing: return thing['nonce']\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n        frame.f_locals.get('job', {}).get('test')\n"
        "        frame = frame.f_back\n    return 0\n"
    ),
    "forged_verdict_on_stdout": (
        "import os, json\n"
        "line = json.dumps({'passed': True, 'reason': '', 'nonce': 'guess'}).encode()\n"
        "for fd in range(256):\n"
        "    try: os.write(fd, len(line).to_bytes(8, 'big') + line)\n"
        "    except OSError: pass\n" + WRONG
    ),
    "forged_pass_in_pipes": (
        "import os, json\ndef square(x):\n"
        "    line = json.dumps({'value': ['v', True], 'args': ['t', []]}).encode()\n"
        "    for fd in range(3, 64):\n"
        "        try: os.write(fd, len(line).to_bytes(8, 'big') + line)\n"
        "        except OSError: pass\n    return 0\n"
    ),
    "huge_length_in_pipes": (
        "import os\nfor fd in range(3, 64):\n"
        "    try: os.write(fd, (2**62).to_bytes(8, 'big'))\n"
        "    except OSError: pass\n" + WRONG
    ),
    "posix_system": f"import posix\nposix.system('touch {FOLDER_MARK}/posix')\n" + WRONG,
    "write_outside": (
        f"try:\n    open('{FOLDER_MARK}/written', 'w').write('x')\nexcept OSError: pass\n" + WRONG
    ),
    "remove_outside": (
        f"import os, shutil\nshutil.rmtree('{FOLDER_MARK}', ignore_errors=True)\n"
        "shutil.rmtree('/usr/lib', ignore_errors=True)\n" + WRONG
    ),
    "fork_bomb": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n" + WRONG),
    "thread_bomb": (
        "import threading, time\nwhile True:\n"
        "    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "    except RuntimeError: pass\n" + WRONG
    ),
    "memory_bomb": "held = []\nwhile True:\n    held.append(bytearray(10**8))\n" + WRONG,
    "one_huge_allocation": "held = bytearray(64 * 2**30)\n" + WRONG,
    "infinite_loop": "while True:\n    pass\n" + WRONG,
    "sleeps_for_ever": "import time\ntime.sleep(10**6)\n" + WRONG,
    "loop_in_the_call": "def square(x):\n    while True: pass\n",
    "ignores_signals": (
        "import signal\nfor number in range(1, 64):\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: pass\n"
    ),
    "huge_output": (
        "import sys\nfor _ in range(3000):\n    sys.stdout.write('x' * 10**6)\n"
        "    sys.stderr.write('x' * 10**6)\n" + WRONG
    ),
    "huge_answer": "def square(x):\n    return 'x' * (400 * 2**20)\n",
    "huge_file": (
        "try:\n    with open('large', 'wb') as stream:\n"
        "        for _ in range(4096): stream.write(bytes(2**20))\nexcept OSError: pass\n" + WRONG
    ),
    "many_files": (
        "import os\nfor number in range(200000):\n"
        "    try: os.close(os.open(f'f{number}', os.O_CREAT | os.O_WRONLY))\n"
        "    except OSError: break\n" + WRONG
    ),
    "parent_environment": (
        "import os\nfound = dict(os.environ)\n"
        "for pid in (1, os.getppid()):\n"
        "    try: found['all'] = open(f'/proc/{pid}/environ').read()\n    except OSError: pass\n"
        "def square(x):\n    return x * x if 'FIM_SECRET' in str(found) else 0\n"
    ),
    "parent_files": (
        f"def square(x):\n    try: open('{FOLDER_MARK}/secret').read()\n"
        "    except OSError: return 0\n    return x * x\n"
    ),
    "password_file": (
        "def square(x):\n    try: open('/etc/passwd').read()\n"
        "    except OSError: return 0\n    return x * x\n"
    ),
    "socket_to_the_host": (
        "import socket\ndef square(x):\n"
        f"    try: socket.create_connection(('127.0.0.1', {PORT_MARK}), timeout=1)\n"
        "    except OSError: return 0\n    return x * x\n"
    ),
    "socket_outwards": (
        "import socket\ndef square(x):\n"
        "    try: socket.create_connection(('192.0.2.1', 80), timeout=0.5)\n"
        "    except OSError: return 0\n    return x * x\n"
    ),
    "signal_to_the_parent": (
        f"import os, signal\nfor pid in ({PID_MARK}, os.getppid(), 1):\n"
        "    try: os.kill(pid, signal.SIGKILL)\n    except OSError: pass\n"
        "try: os.kill(-1, signal.SIGKILL)\nexcept OSError: pass\n" + WRONG
    ),
    "daemon_left_behind": (
        "import os, time\n"
        "try:\n    pid = os.fork()\nexcept OSError:\n    pid = 1\n"
        "if not pid:\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        f"    time.sleep(1.5)\n    open('{FOLDER_MARK}/daemon', 'w').write('x')\n    os._exit(0)\n"
        + WRONG
    ),
    "deep_recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef square(x):\n    return square(x) + 1\n"
    ),
    "deep_answer": (
        "def square(x):\n    held = []\n    for _ in range(10**5): held = [held]\n    return held\n"
    ),
    "ctypes_null": "import ctypes\nctypes.string_at(0)\n" + WRONG,
    "ctypes_mount": (
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "libc.setuid(0)\nlibc.umount2(b'/', 2)\nlibc.chroot(b'..')\n"
        f"libc.mount(b'{FOLDER_MARK}', b'/box', b'', 4096, None)\n" + WRONG
    ),
    "ptrace_the_checker": (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "for pid in range(1, 64):\n    libc.ptrace(16, pid, 0, 0)\n" + WRONG
    ),
    "syntax_error": "def square(x:\n",
    "no_function": "x = 1\n",
}
NEEDS_WALLS = {
    "posix_system",
    "write_outside",
    "remove_outside",
    "parent_files",
    "password_file",
    "socket_to_the_host",
    "daemon_left_behind",
    "signal_to_the_parent",
}


@dataclass
class Ran:
    outcomes: dict[str, Outcome]
    seconds: dict[str, float]
    folder: Path
    num_connections: int


def attack(
    slot: int, names: Sequence[str], marks: Mapping[str, str]
) -> dict[str, tuple[Outcome, float]]:
    """Run attacks one after the other as a user of their own; return outcomes and seconds."""
    walls = find_walls()
    user = None if walls.user is None else walls.user + 2 * slot
    sandbox = Sandbox(LIMITS, replace(walls, user=user))
    found = {}
    for name in names:
        text = ATTACKS[name]
        for mark, value in marks.items():
            text = text.replace(mark, value)
        started = time.perf_counter()
        outcome = sandbox.run(Program(text, CHECK))
        found[name] = (outcome, time.perf_counter() - started)
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("host")
    folder.chmod(0o777)
    (folder / "secret").write_text("hidden")
    (folder / "secret").chmod(0o644)
    os.environ["FIM_SECRET"] = "hidden"
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    accepted: list[object] = []
    is_done = threading.Event()

    def accept() -> None:
        while not is_done.is_set():
            try:
                accepted.append(listener.accept())
            except TimeoutError:
                continue

    thread = threading.Thread(target=accept)
    thread.start()
    marks = {FOLDER_MARK: str(folder), PID_MARK: str(os.getpid())}
    marks[PORT_MARK] = str(listener.getsockname()[1])
    names = [name for name in ATTACKS if find_walls().has_namespaces or name not in NEEDS_WALLS]
    try:
        with ThreadPoolExecutor(NUM_TOGETHER) as pool:
            shares = [names[slot::NUM_TOGETHER] for slot in range(NUM_TOGETHER)]
            found = list(pool.map(partial(attack, marks=marks), range(NUM_TOGETHER), shares))
        outcomes = {name: outcome for part in found for name, (outcome, _) in part.items()}
        seconds = {name: time_taken for part in found for name, (_, time_taken) in part.items()}
        time.sleep(1.6)
    finally:
        is_done.set()
        thread.join()
        listener.close()
        del os.environ["FIM_SECRET"]
    return Ran(outcomes, seconds, folder, len(accepted))


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 25


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_passes_and_each_ends_in_time(ran: Ran, name: str) -> None:
    if name not in ran.outcomes:
        pytest.skip("this machine allows no namespaces")
    assert not ran.outcomes[name].has_passed
    assert ran.outcomes[name].reason
    assert ran.seconds[name] < LIMITS.wall_seconds + 3


def test_the_host_is_unharmed(ran: Ran) -> None:
    assert {path.name for path in ran.folder.iterdir()} == {"secret"}
    assert (ran.folder / "secret").read_text() == "hidden"
    assert ran.num_connections == 0


def test_no_process_is_left(ran: Ran) -> None:
    left = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_guard = b"inside.guard" in (path / "cmdline").read_bytes()
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if is_guard and parent in {1, os.getpid()}:
            left.append(path)
    assert ran.outcomes
    assert left == []


def test_right_answers_pass_next_to_the_attacks() -> None:
    sandbox = Sandbox(LIMITS)
    right = Program("def square(x):\n    return x * x\n", CHECK)
    wrong = Program(WRONG, CHECK)
    outcomes = sandbox.run_many([right, wrong, right], workers=2)
    assert [outcome.has_passed for outcome in outcomes] == [True, False, True]
    assert outcomes[1].reason == "AssertionError"


def test_without_namespaces_answers_are_still_checked() -> None:
    walls = replace(find_walls(), prefix=(), missing=("network", "files", "processes"))
    sandbox = Sandbox(LIMITS, walls)
    assert sandbox.run(Program("def square(x):\n    return x * x\n", CHECK)).has_passed
    assert not sandbox.run(Program(ATTACKS["always_equal"], CHECK)).has_passed
    assert sandbox.run(Program(ATTACKS["infinite_loop"], CHECK)).reason == "timeout"
    assert "NOT cut off" in str(walls.describe()["network"])
    assert Walls().describe()["user"] == "the caller's, no capabilities"
