"""Check coverage per file: config 100 %, core over 90 %, the rest over 80 %.

Run as ``python tests/coverage_gates.py coverage.json`` after ``pytest --cov``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CONFIG = "src/fim/config"
CORE = (
    "src/fim/types",
    "src/fim/errors",
    "src/fim/formats",
    "src/fim/data",
    "src/fim/packing",
    "src/fim/model",
    "src/fim/training",
    "src/fim/inference",
    "src/fim/runs",
    "src/fim/bookkeeping",
    "src/fim/pipeline",
)


def gate(path: str) -> float:
    """Return the least coverage, in per cent, that a file must have."""
    if path.startswith(CONFIG):
        return 100.0
    return 90.0 if path.startswith(CORE) else 80.0


def main(report: str) -> int:
    """Print every file under its gate and return 1 if there is one."""
    files = json.loads(Path(report).read_text(encoding="utf-8"))["files"]
    under = [
        f"{path}: {entry['summary']['percent_covered']:.1f} % < {gate(path):.0f} %"
        for path, entry in sorted(files.items())
        if entry["summary"]["percent_covered"] < gate(path)
    ]
    sys.stdout.write("\n".join(under) + "\n" if under else "every file passes its gate\n")
    return 1 if under else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
