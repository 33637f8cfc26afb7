"""Build speed of ``fim data build`` against the plain afternoon pipeline, on the same files.

The plain pipeline parses every file with the same tree-sitter grammars, cuts up to eight syntax
nodes of each, ranks the ten-line windows of all files by BM25 with the package rank-bm25 (where it
is not installed, by the same computation: a score for every window, for every query) and writes
JSONL. Both choose holes by syntax and give each the best pieces of other files, asked for by the
ten lines before it.

The plain pipeline has no gates, looks for no secrets and no duplicates, has no split and no leak
check, no definitions by import, no budget, and runs in one process. Its context may hold the
answer, since the hole's own file is ranked too. fim runs with everything on and no cache; it cuts
one hole for every 15 lines of code at most, leaves leaking and repeated ones out, and gives 30 % of
the rows no context. So it makes fewer holes of the same files, and both holes and bytes per second
are compared. The check against benchmarks is ``fim data check``, not a part of a build.

The nearest published tool, codefinetuner 0.5.3, needs Python 3.12 or newer and cannot run where
this project's lock runs; it is not measured.

Every run is a process of its own. It builds twice: the first time holds what starting costs
(imports, grammars), the second time does not.

    python benchmarks/corpus.py --json FILE [--small] [--corpora FOLDER] [--files N]

``--corpora`` names a folder of source archives (``*.tar.gz``) to measure, each alone and all of
them as one build, besides the standard library, of which ``--files`` files are taken (300), chosen
by seed: the plain pipeline's time grows with the square of their number.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

CHUNK_LINES = 10
CONTEXT_ITEMS = 3
QUERY_LINES = 10
WORD = re.compile(r"\w+")
SMALL_FILES = 60
STDLIB_FILES = 300
HOLES_PER_FILE = 8
NODE_BYTES = (4, 256)
LONG_SECONDS = 20.0
UNITS = ("cpu_seconds", "warm_cpu_seconds", "seconds", "warm_seconds")


class PlainRanking:
    """BM25 over a list of token lists, a dictionary of counts per chunk, as rank-bm25 does it."""

    def __init__(self, chunks: list[list[str]]) -> None:
        import numpy as np

        self.counts = [Counter(chunk) for chunk in chunks]
        self.lengths = np.array([len(chunk) for chunk in chunks], dtype=float)
        self.mean = self.lengths.mean() if len(chunks) else 1.0
        spread = Counter(word for count in self.counts for word in count)
        total = len(chunks)
        self.idf = {w: math.log(1 + (total - n + 0.5) / (n + 0.5)) for w, n in spread.items()}

    def get_scores(self, query: list[str]) -> object:
        """Return the score of every chunk."""
        import numpy as np

        scores = np.zeros(len(self.counts))
        for word in query:
            seen = np.array([count.get(word, 0) for count in self.counts])
            weight = self.idf.get(word, 0.0)
            norm = 1.5 * (0.25 + 0.75 * self.lengths / self.mean)
            scores += weight * seen * 2.5 / (seen + norm)
        return scores


def make_ranking(chunks: list[list[str]]) -> object:
    """Return the ranking of rank-bm25 where it is installed, else the same computation."""
    if find_spec("rank_bm25") is None:
        return PlainRanking(chunks)
    from rank_bm25 import BM25Okapi

    return BM25Okapi(chunks)


def plain_pipeline(root: Path, files: list[Path], out: Path) -> dict[str, object]:
    """Cut syntax nodes and rank chunks, one file after the other."""
    import numpy as np

    from fim.corpus.languages import language_of
    from fim.corpus.syntax import Grammars

    grammars, draw = Grammars(), random.Random(0)
    texts = [(path, path.read_text(encoding="utf-8", errors="replace")) for path in files]
    chunks = [
        "\n".join(lines[start : start + CHUNK_LINES])
        for _, text in texts
        for lines in [text.split("\n")]
        for start in range(0, len(lines), CHUNK_LINES)
    ]
    ranking = make_ranking([WORD.findall(chunk) for chunk in chunks])
    num_holes = 0
    with out.open("w", encoding="utf-8") as file:
        for path, text in texts:
            language = language_of(str(path))
            tree = grammars.parse(text, language.name) if language else None
            if tree is None:
                continue
            nodes, pending = [], list(tree.roots)
            while pending:
                node = pending.pop()
                pending += node.children
                if (
                    node.is_named
                    and NODE_BYTES[0] <= node.end_byte - node.start_byte <= NODE_BYTES[1]
                ):
                    nodes.append(node)
            content = text.encode()
            for node in draw.sample(nodes, min(HOLES_PER_FILE, len(nodes))):
                before = content[: node.start_byte].decode("utf-8", "replace")
                query = WORD.findall("\n".join(before.split("\n")[-QUERY_LINES:]))
                best = np.argsort(-ranking.get_scores(query))[:CONTEXT_ITEMS]
                row = {
                    "path": str(path.relative_to(root)),
                    "prefix": before,
                    "middle": content[node.start_byte : node.end_byte].decode("utf-8", "replace"),
                    "suffix": content[node.end_byte :].decode("utf-8", "replace"),
                    "context": [chunks[int(n)] for n in best],
                }
                file.write(json.dumps(row) + "\n")
                num_holes += 1
    num_bytes = sum(len(text.encode()) for _, text in texts)
    return {"holes": num_holes, "bytes": num_bytes}


def fim_pipeline(root: Path, out: Path, processes: int) -> dict[str, object]:
    """Build a set with everything on and no cache."""
    from fim.config import CorpusSettings
    from fim.corpus import build_corpus

    built = build_corpus([root], settings=CorpusSettings(processes=processes), out=out)
    return {
        "holes": built.manifest["holes"]["used"],
        "bytes": built.manifest["bytes_used"],
        "files": built.manifest["files"],
        "holes_dropped": built.manifest["holes"]["dropped"],
    }


def peak_mib() -> float:
    """Return the largest memory of this process or of one it started."""
    import resource

    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


def cpu_seconds() -> float:
    """Return the processor time of this process and of those it started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run_one(kind: str, root: Path, processes: int) -> dict[str, object]:
    """Run one pipeline twice in this process and return its figures, those of starting first."""
    from fim.config import CorpusSettings
    from fim.corpus.documents import DocumentReader

    refs = DocumentReader(CorpusSettings()).list([root])
    files = [root / ref.entry.path for ref in refs]
    figures: dict[str, object] = {}
    for name in ("", "warm_"):
        started, cpu = time.monotonic(), cpu_seconds()
        with tempfile.TemporaryDirectory() as folder:
            if kind == "plain":
                facts = plain_pipeline(root, files, Path(folder) / "rows.jsonl")
            else:
                facts = fim_pipeline(root, Path(folder) / "set", processes)
        seconds = time.monotonic() - started
        figures |= facts | {
            f"{name}seconds": round(seconds, 3),
            f"{name}cpu_seconds": round(cpu_seconds() - cpu, 3),
            f"{name}mb_per_second": round(facts["bytes"] / 1e6 / seconds, 3),
            f"{name}holes_per_second": round(facts["holes"] / seconds, 1),
        }
        if seconds > LONG_SECONDS:
            break
    for unit in UNITS:
        figures.setdefault(unit, figures[unit.removeprefix("warm_")])
    return figures | {"peak_memory_mib": round(peak_mib(), 1)}


def child(kind: str, root: Path, processes: int) -> dict[str, object]:
    """Run one pipeline in a process of its own, so that peaks and caches are its own."""
    command = [sys.executable, __file__, "--child", kind, str(root), str(processes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return dict(json.loads(done.stdout.splitlines()[-1]))


def source_trees(corpora: Path | None, folder: Path, num_files: int) -> dict[str, Path]:
    """Return the trees by name: unpacked archives, and a copy of a part of the standard library."""
    from fim.config import CorpusSettings
    from fim.corpus import DocumentReader, stdlib_root

    trees = {}
    for archive in sorted(corpora.glob("*.tar.gz")) if corpora else ():
        name = archive.name.removesuffix(".tar.gz")
        trees[name] = folder / "archives" / name
        with tarfile.open(archive) as content:
            content.extractall(trees[name], filter="data")
    if len(trees) > 1:
        trees["all archives"] = folder / "archives"
    copy = folder / "stdlib"
    for ref in DocumentReader(CorpusSettings(max_files=num_files)).list([stdlib_root()]):
        target = copy / ref.entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((stdlib_root() / ref.entry.path).read_bytes())
    return trees | {"stdlib": copy}


def ratios_of(name: str, found: dict[str, dict[str, object]]) -> dict[str, float]:
    """Return how many times as many holes and bytes fim makes per second as the plain pipeline."""
    ratios = {}
    plain = found["plain"]
    for tool in ("fim 1", "fim 2"):
        for unit in UNITS:
            gain = plain[unit] / max(found[tool][unit], 0.001)
            for what in ("holes", "bytes"):
                label = f"{name}: {tool} process {what} per {unit[:-1].replace('_', ' ')}"
                ratios[label] = round(gain * found[tool][what] / plain[what], 2)
    return ratios


def main() -> None:
    """Measure and print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--small", action="store_true", help=f"{SMALL_FILES} files of the library")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--files", type=int, default=STDLIB_FILES)
    parser.add_argument("--child", nargs=3, metavar=("KIND", "ROOT", "PROCESSES"))
    given = parser.parse_args()
    if given.child:
        kind, root, processes = given.child
        print(json.dumps(run_one(kind, Path(root), int(processes))))
        return
    num_files = SMALL_FILES if given.small else given.files
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, root in source_trees(given.corpora, Path(folder), num_files).items():
            found = {
                "plain": child("plain", root, 1),
                "fim 1": child("fim", root, 1),
                "fim 2": child("fim", root, 2),
            }
            for tool, facts in found.items():
                rows.append({"corpus": name, "tool": tool, **facts})
                print(name, tool, {k: v for k, v in facts.items() if not isinstance(v, dict)})
            ratios |= ratios_of(name, found)
    packages = ("fim", "tree-sitter", "pyarrow", "numpy", "rank-bm25")
    answer = {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "versions": {name: version_of(name) for name in packages}
        | {"python": platform.python_version()},
        "rows": rows,
        "ratios": ratios,
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio}")
    if given.json:
        given.json.write_text(json.dumps(answer, indent=2) + "\n")


def version_of(package: str) -> str:
    """Return a package's version."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
