"""The folder of wheels for a machine without a network."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def wheelhouse() -> Any:
    sys.path.insert(0, str(TOOLS))
    try:
        import wheelhouse
    finally:
        sys.path.remove(str(TOOLS))
    return wheelhouse


def test_a_slim_one_leaves_torch_to_the_machine(wheelhouse: Any) -> None:
    whole, slim = wheelhouse.pins(is_slim=False), wheelhouse.pins(is_slim=True)
    names = {line.split("==")[0] for line in set(whole) - set(slim)}
    assert {"torch", "triton", "xformers", "torchvision", "nvidia-nccl-cu13"} <= names
    assert all(name.startswith(("nvidia", "cuda", "torch", "triton", "xformers")) for name in names)
    assert any(line.startswith("unsloth==") for line in slim)
    assert any(line.startswith("torchao==") for line in slim)


def test_a_wheel_that_lost_files_still_installs(wheelhouse: Any, tmp_path: Path) -> None:
    path = tmp_path / "unsloth-1.0-py3-none-any.whl"
    files = {
        "unsloth/__init__.py": "VALUE = 1\n",
        "studio/app.py": "x\n",
        "unsloth-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: unsloth\nVersion: 1.0\n",
        "unsloth-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    with zipfile.ZipFile(path, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
        record = "".join(f"{name},,\n" for name in files)
        made.writestr("unsloth-1.0.dist-info/RECORD", record + "unsloth-1.0.dist-info/RECORD,,\n")
    wheelhouse.slim_wheel(path, wheelhouse.LEFT_OUT["unsloth"])
    target = tmp_path / "target"
    words = ("install", "--quiet", "--no-index", "--no-deps", "--target", str(target), str(path))
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, timeout=100)
    assert (target / "unsloth" / "__init__.py").is_file()
    assert not (target / "studio").exists()
    assert "studio" not in (target / "unsloth-1.0.dist-info" / "RECORD").read_text()


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [
        ("bitsandbytes/libbitsandbytes_cpu.so", True),
        ("bitsandbytes/libbitsandbytes_cuda130.so", True),
        ("bitsandbytes/libbitsandbytes_cuda128.so", False),
        ("bitsandbytes/functional.py", True),
    ],
)
def test_builds_of_bitsandbytes(wheelhouse: Any, name: str, is_kept: bool) -> None:
    assert (wheelhouse.LEFT_OUT["bitsandbytes"].search(name) is None) is is_kept
