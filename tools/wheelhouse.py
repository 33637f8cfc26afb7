"""Gather the wheels that a GPU machine without a network needs to train, in one folder.

    python tools/wheelhouse.py OUT [--slim]

The versions are those of ``constraints/gpu.txt``. ``--slim`` is for a machine that has a torch for
its GPU: torch and what belongs to it (CUDA, Triton, xformers, torchvision) is left out, and so is
what this path never imports: Unsloth's studio, and bitsandbytes' builds for other CUDA versions.
Wheels that lost files are valid wheels: their records name what is left.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "constraints" / "gpu.txt"
TORCH_AND_ITS_OWN = re.compile(r"^(torch|torchvision|triton|xformers|nvidia-.*|cuda-.*)$")
LEFT_OUT = {
    "unsloth": re.compile(r"^(studio|unsloth_cli)/|/studio/"),
    "bitsandbytes": re.compile(r"libbitsandbytes_(?!cpu|cuda13\d)[^/]*$"),
}
INSTALL_LINE = "python -m pip install --no-index --no-deps *.whl"


def pins(*, is_slim: bool) -> list[str]:
    """Return the requirements of the lock that are wanted."""
    lines = [line.strip() for line in LOCK.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if "==" in line]
    if not is_slim:
        return found
    return [line for line in found if not TORCH_AND_ITS_OWN.match(line.split("==")[0])]


def slim_wheel(path: Path, left_out: re.Pattern[str]) -> None:
    """Take files out of a wheel, and their lines out of its record."""
    draft = path.with_suffix(".draft")
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for member in old.infolist():
            if left_out.search(member.filename):
                continue
            content = old.read(member)
            if member.filename.endswith(".dist-info/RECORD"):
                lines = content.decode("utf-8").splitlines(keepends=True)
                kept = [line for line in lines if not left_out.search(line.split(",")[0])]
                content = "".join(kept).encode("utf-8")
            new.writestr(member, content)
    draft.replace(path)


def gather(out: Path, *, is_slim: bool) -> list[Path]:
    """Fill a folder with wheels and return them."""
    out.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(  # noqa: S603
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), *pins(is_slim=is_slim)],
        check=True,
    )
    subprocess.run(  # noqa: S603
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(ROOT)], check=True
    )
    if is_slim:
        for name, left_out in LEFT_OUT.items():
            for path in out.glob(f"{name}-*.whl"):
                slim_wheel(path, left_out)
    (out / "INSTALL.txt").write_text(INSTALL_LINE + "\n", encoding="utf-8")
    return sorted(out.glob("*.whl"))


def main() -> None:
    """Gather the wheels and say what to do with them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--slim", action="store_true")
    given = parser.parse_args()
    wheels = gather(given.out, is_slim=given.slim)
    size = sum(path.stat().st_size for path in wheels) / 1e6
    sys.stdout.write(
        f"{len(wheels)} wheels, {size:,.1f} MB in {given.out}\n"
        f"there, in that folder: {INSTALL_LINE}\n"
    )


if __name__ == "__main__":
    main()
