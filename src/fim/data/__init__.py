"""Examples: loading, validation, encoding, splitting, inspection."""

from __future__ import annotations

from fim.data.alignment import align_cut, align_holes, can_align, cut_aligner, ends_at_cursor
from fim.data.collect import LoadedExamples, describe_problems
from fim.data.division import BY_DATA, BY_SEED, Division, divide
from fim.data.encode import (
    EncodedSet,
    ExampleEncoder,
    LossOn,
    encode_examples,
    num_supervised,
    require_supervised,
)
from fim.data.histogram import LanguageHistogram, language_histograms
from fim.data.inspect import InspectedSegment, Inspection, inspect_example
from fim.data.languages import normalize_language
from fim.data.load import (
    load_examples,
    load_hub_examples,
    load_row,
    load_sides,
    require_training,
)
from fim.data.mixture import MixedExample, MixedSet, Mixture, RowRole, mix_examples
from fim.data.mixture_rows import encode_mixture
from fim.data.page import inspection_page
from fim.data.prompt_loss import PromptLoss
from fim.data.rows import RowProblem
from fim.data.sources import available_splits
from fim.data.split import near_duplicate_groups, split_examples
from fim.data.starts import share_starts
from fim.data.stats import DataStats, data_stats
from fim.data.tokens import TokenizerView

__all__ = [
    "BY_DATA",
    "BY_SEED",
    "DataStats",
    "Division",
    "EncodedSet",
    "ExampleEncoder",
    "InspectedSegment",
    "Inspection",
    "LanguageHistogram",
    "LoadedExamples",
    "LossOn",
    "MixedExample",
    "MixedSet",
    "Mixture",
    "PromptLoss",
    "RowProblem",
    "RowRole",
    "TokenizerView",
    "align_cut",
    "align_holes",
    "available_splits",
    "can_align",
    "cut_aligner",
    "data_stats",
    "describe_problems",
    "divide",
    "encode_examples",
    "encode_mixture",
    "ends_at_cursor",
    "inspect_example",
    "inspection_page",
    "language_histograms",
    "load_examples",
    "load_hub_examples",
    "load_row",
    "load_sides",
    "mix_examples",
    "near_duplicate_groups",
    "normalize_language",
    "num_supervised",
    "require_supervised",
    "require_training",
    "share_starts",
    "split_examples",
]
