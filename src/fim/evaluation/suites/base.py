"""What a suite is: holes, how they are checked, and where they came from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fim.types import FimExample

TEST_PART = "test"
TRAIN_PART = "train"
PROBE_PART = "probe"
TRAIN_PROBE_PART = "train probe"


@dataclass(frozen=True, slots=True)
class Check:
    """How an executable hole is checked.

    Args:
        prompt: The problem's own prompt: its imports and helper functions.
        test: Code that defines ``check(candidate)``.
        entry_point: Name of the function that ``check`` gets.
        cases: For a script in place of a function: each input, and the outputs that are right.
    """

    prompt: str = ""
    test: str = ""
    entry_point: str = ""
    cases: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return the check as JSON-ready data."""
        if self.cases:
            return {"cases": [[given, list(wanted)] for given, wanted in self.cases]}
        return {"prompt": self.prompt, "test": self.test, "entry_point": self.entry_point}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Check:
        """Return the check that ``as_json`` wrote."""
        cases = data.get("cases")
        if isinstance(cases, list):
            return cls(cases=tuple((str(given), tuple(wanted)) for given, wanted in cases))
        return cls(str(data["prompt"]), str(data["test"]), str(data["entry_point"]))


@dataclass(frozen=True, slots=True)
class SuiteItem:
    """One hole of a suite.

    Args:
        example: The hole; its id names the item.
        kind: Kind of the hole, as people say it.
        cluster: What the bootstrap draws together: the problem or the file.
        check: How it is executed; None where texts are compared.
        part: ``test``, ``train``, ``probe`` or ``train probe``.
    """

    example: FimExample
    kind: str
    cluster: str
    check: Check | None = None
    part: str = TEST_PART


@dataclass(frozen=True, slots=True)
class Suite:
    """Holes with the rule that scores them.

    Args:
        name: Name on the command line.
        title: Name for people, with the metric.
        items: The holes.
        primary: Metric that decides.
        rule: Name of the suite's own scoring rule; empty for none.
        is_left_to_right: The suffix is empty on purpose.
        facts: Where the holes came from, counts of what was left out.
    """

    name: str
    title: str
    items: tuple[SuiteItem, ...]
    primary: str
    rule: str = ""
    is_left_to_right: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_executed(self) -> bool:
        """Whether answers are run."""
        return any(item.check is not None for item in self.items)

    @property
    def sha256(self) -> str:
        """Hash over every item, in order."""
        return hash_items(self.items)


def hash_items(items: Sequence[SuiteItem]) -> str:
    """Return the SHA-256 over all that defines the items."""
    digest = hashlib.sha256()
    for item in items:
        example = item.example
        facts = [
            example.id,
            example.prefix,
            example.middle,
            example.suffix,
            example.language,
            [context.text for context in example.context],
            item.kind,
            item.cluster,
            item.part,
            item.check.as_json() if item.check else None,
        ]
        digest.update(json.dumps(facts).encode("ascii") + b"\n")
    return digest.hexdigest()


def choose_by_seed(
    items: Sequence[SuiteItem],
    number: int,
    seed: int,
    *,
    group: Callable[[SuiteItem], object] | None = None,
) -> tuple[SuiteItem, ...]:
    """Return at most ``number`` items by a hash of seed and name, in their own order.

    Args:
        items: What to choose from.
        number: How many at most.
        seed: Another seed gives another choice; a larger number adds to a smaller one's choice.
        group: Groups get equal shares as far as they have enough; None for one group.
    """
    if number >= len(items):
        return tuple(items)
    ranked = sorted(items, key=lambda item: (_rank(item.example.id, seed), item.example.id))
    if group is not None:
        taken: Counter[object] = Counter()
        turns = []
        for item in ranked:
            turns.append(taken[group(item)])
            taken[group(item)] += 1
        ranked = [ranked[place] for place in sorted(range(len(ranked)), key=turns.__getitem__)]
    chosen = {item.example.id for item in ranked[:number]}
    return tuple(item for item in items if item.example.id in chosen)


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
