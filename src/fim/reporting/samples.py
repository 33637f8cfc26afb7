"""The holes shown on a report: which ones, and how much of their surroundings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fim.reporting.data import SampleView
from fim.runs.fields import Fields, read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NUM_SAMPLES = 5
PREFIX_TAIL_LINES = 8
SUFFIX_HEAD_LINES = 5
SHOWN_CONTEXT_CHARS = 1_200


def choose_items(
    documents: Mapping[str, str], *, seed: int, num_items: int = NUM_SAMPLES
) -> tuple[str, ...]:
    """Choose holes to show by seed alone, from as many documents as possible.

    The order is by a hash of seed and item, so it does not depend on the answers.

    Args:
        documents: For each item the document that it lies in.
        seed: Seed of the choice.
        num_items: How many to choose at most.
    """
    ranked = sorted(documents, key=lambda item: (_rank(seed, item), item))
    first_of_document: dict[str, str] = {}
    for item in ranked:
        first_of_document.setdefault(documents[item], item)
    firsts = list(first_of_document.values())
    taken = set(firsts)
    rest = [item for item in ranked if item not in taken]
    return tuple((firsts + rest)[:num_items])


def _rank(seed: int, item: str) -> bytes:
    text = f"{seed}:{item}".encode("utf-8", errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def read_samples(folder: Path, compared: Fields, seed: int) -> tuple[SampleView, ...]:
    """Read the chosen holes with the answers of the contestants called base and tuned.

    Args:
        folder: Where the ``NAME.samples.jsonl`` files lie.
        compared: The comparison, which names the two contestants.
        seed: Seed of the choice.

    Raises:
        RunFolderError: a file is missing or broken.
    """
    base = _by_item(folder / f"{compared.text('base')}.samples.jsonl")
    tuned = _by_item(folder / f"{compared.text('tuned')}.samples.jsonl")
    documents = {
        item: row.text("document_id", row.text("path", item))
        for item, row in tuned.items()
        if item in base
    }
    items = choose_items(documents, seed=seed)
    return tuple(_sample(item, base[item], tuned[item]) for item in items)


def _by_item(path: Path) -> dict[str, Fields]:
    return {str(row.values.get("item", index)): row for index, row in enumerate(read_rows(path))}


def _sample(item: str, base: Fields, tuned: Fields) -> SampleView:
    prefix, suffix = tuned.text("prefix", ""), tuned.text("suffix", "")
    prefix_tail = "\n".join(prefix.split("\n")[-PREFIX_TAIL_LINES:])[-SHOWN_CONTEXT_CHARS:]
    suffix_head = "\n".join(suffix.split("\n")[:SUFFIX_HEAD_LINES])[:SHOWN_CONTEXT_CHARS]
    return SampleView(
        item=item,
        path=tuned.text("path", ""),
        language=tuned.text("language", ""),
        kind=tuned.text("kind", ""),
        prefix_tail=prefix_tail,
        gold=tuned.text("gold"),
        suffix_head=suffix_head,
        base_output=base.text("output"),
        tuned_output=tuned.text("output"),
        base_stop=base.text("stop_reason", ""),
        tuned_stop=tuned.text("stop_reason", ""),
        is_prefix_cut=len(prefix_tail) < len(prefix),
        is_suffix_cut=len(suffix_head) < len(suffix),
    )
