"""Memory stays small whatever the size of the files: builds of generated trees, each a process.

``FIM_SCALE_MB`` sets the size of the largest tree (60 MB; 1000 for the figures in the docs).
"""

from __future__ import annotations

import json
import keyword
import os
import random
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fim.corpus import stdlib_root

SCALE_MB = int(os.environ.get("FIM_SCALE_MB", "60"))
WORD = re.compile(r"\b[a-z][a-z_]{3,}\b")
BASE_MIB = 330
KIB_PER_FILE = 6
CHILD = """
import json, resource, sys, time
from pathlib import Path
from fim.config import CorpusSettings
from fim.corpus import build_corpus
if __name__ == "__main__":
    root, out, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    started = time.monotonic()
    built = build_corpus([root], settings=CorpusSettings(processes=processes), out=out)
    seconds = time.monotonic() - started
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    print(json.dumps({
        "processes": processes,
        "files": built.manifest["files"]["seen"],
        "megabytes": round(built.manifest["bytes_used"] / 1e6, 1),
        "holes": built.manifest["holes"]["used"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(sum(use.ru_utime + use.ru_stime for use in used), 1),
        "peak_mib": [round(use.ru_maxrss / 1024, 1) for use in used],
        "mb_per_second": round(built.manifest["bytes_used"] / 1e6 / seconds, 2),
        "holes_per_second": round(built.manifest["holes"]["used"] / seconds, 1),
        "context": built.manifest["context"]["rows"],
        "sha256": {side: facts["sha256"] for side, facts in built.manifest["splits"].items()},
    }))
"""


def write_tree(root: Path, megabytes: int) -> int:
    """Copy real files again and again, each copy with some of its names changed."""
    sources = [
        path
        for path in sorted(stdlib_root().rglob("*.py"))
        if not {"site-packages", "test", "tests"} & set(path.parts)
        and 1000 < path.stat().st_size < 100_000
    ]
    texts = [path.read_text(encoding="utf-8", errors="ignore") for path in sources]
    kept = {*keyword.kwlist, "self"}
    number = size = 0
    while size < megabytes * 1_000_000:
        place, copy = number % len(texts), number // len(texts)
        text = texts[place]
        if copy:
            draw = random.Random(number)
            share = 0.1 if number % 10 == 0 else 0.4
            words = sorted(set(WORD.findall(text)) - kept)
            changed = {word: f"{word}_{copy}" for word in words if draw.random() < share}
            text = WORD.sub(lambda match, names=changed: names.get(match[0], match[0]), text)
        folder = root / f"part{copy}" / str(place % 37)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"m{place}.py").write_text(text, encoding="utf-8")
        number += 1
        size += len(text)
    return number


def build(root: Path, out: Path, processes: int) -> Mapping[str, object]:
    command = [sys.executable, "-c", CHILD, str(root), str(out), str(processes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    facts = json.loads(done.stdout)
    sys.stdout.write(json.dumps(facts) + "\n")
    return dict(facts)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_grows_with_the_number_of_files_alone_and_little(tmp_path: Path) -> None:
    found = []
    for megabytes in (SCALE_MB // 4, SCALE_MB):
        root = tmp_path / f"tree{megabytes}"
        write_tree(root, megabytes)
        found.append(build(root, tmp_path / f"set{megabytes}", 1))
    small, large = found
    assert small["files"] < large["files"]
    for facts in found:
        assert facts["peak_mib"][0] < BASE_MIB + KIB_PER_FILE * facts["files"] / 1024
    again = build(root, tmp_path / "again", 2)
    assert again["sha256"] == large["sha256"]
    assert max(again["peak_mib"]) < BASE_MIB + KIB_PER_FILE * again["files"] / 1024
