"""Examples: loading, validation, encoding, splitting, inspection."""

from __future__ import annotations

from fim.data.encode import (
    EncodedSet,
    ExampleEncoder,
    LossOn,
    encode_examples,
    num_supervised,
    require_supervised,
)
from fim.data.inspect import InspectedSegment, Inspection, inspect_example
from fim.data.languages import normalize_language
from fim.data.load import (
    LoadedExamples,
    describe_problems,
    load_examples,
    load_hub_examples,
    load_row,
)
from fim.data.rows import RowProblem
from fim.data.sources import available_splits
from fim.data.split import near_duplicate_groups, split_examples
from fim.data.stats import DataStats, data_stats
from fim.data.tokens import TokenizerView

__all__ = [
    "DataStats",
    "EncodedSet",
    "ExampleEncoder",
    "InspectedSegment",
    "Inspection",
    "LoadedExamples",
    "LossOn",
    "RowProblem",
    "TokenizerView",
    "available_splits",
    "data_stats",
    "describe_problems",
    "encode_examples",
    "inspect_example",
    "load_examples",
    "load_hub_examples",
    "load_row",
    "near_duplicate_groups",
    "normalize_language",
    "num_supervised",
    "require_supervised",
    "split_examples",
]
