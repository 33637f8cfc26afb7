"""Settings of the examples: where they come from, how they are laid out, how they are built."""

from __future__ import annotations

from typing import Literal

from fim.config.fields import Section, setting
from fim.config.kinds import Licences, OptionalPath

MAX_SEED = 2**32 - 1


class DataSettings(Section):
    """Which examples are read and how they become training rows."""

    path: OptionalPath = setting(
        None,
        "Examples to use: a built set, a data file or a folder; none reads dataset_name.",
        example="data/train.jsonl",
    )
    dataset_name: str = setting(
        "sourcegraph/context-aware-fim-code-completions",
        "Hub data set that is read without a path.",
        min_length=1,
    )
    dataset_split: str = setting("train", "Split of the hub data set.", min_length=1)
    streaming: bool = setting(
        default=False,
        description="Read the hub data set without storing it; always so with max_examples.",
    )
    format: str = setting(
        "chatml", "Layout of prompt and answer; fim formats list names them all.", min_length=1
    )
    anchor_lines: int = setting(
        0,
        "Lines before the cursor that stand last in the prompt; 0 is the classic layout.",
        unit="lines",
        ge=0,
        le=1000,
    )
    align_cuts: bool = setting(
        default=False,
        description="Begin the holes of training rows at the start of a token, as healed prompts "
        "are continued; for formats whose prompt ends at the cursor.",
    )
    fim_rate: float = setting(
        0.9,
        "Share of the training rows that have a hole; the rest is plain code.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    spm_share: float = setting(
        0.0,
        "Share of the rows with a hole that have the suffix first (spm2), for a format like psm.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    context_free_share: float = setting(
        0.0,
        "Share of the rows with a hole whose context is left out in training.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    character_cut_share: float = setting(
        0.0,
        "Share of the training holes that are cut anew inside a line or a word.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    empty_middle_share: float = setting(
        0.0,
        "Share of the training holes into which nothing is to be inserted.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    enable_response_masking: bool = setting(
        default=False, description="Take the loss on the middle and its end token only."
    )
    prompt_loss_share: float = setting(
        0.0,
        "Share of the prompt's code tokens, drawn by the seed, that rows with a hole train too.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    max_context_items: int = setting(
        3, "Pieces of other files shown in a prompt.", unit="items", ge=0, le=1000
    )
    middle_reserve_tokens: int = setting(
        256, "Room that every prompt leaves for the middle.", unit="tokens", ge=1
    )
    prefix_share: float = setting(
        0.75,
        "Share of the prompt for the prefix when prefix and suffix do not both fit.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    held_out_fraction: float = setting(
        0.05,
        "Share of the examples kept for evaluation where the data name none.",
        unit="share of 1",
        ge=0,
        lt=1,
    )
    max_examples: int | None = setting(
        None, "Most examples to read; none reads all.", unit="examples", ge=1, example="1000"
    )
    max_row_bytes: int = setting(
        4_000_000, "Longest row of a data file; longer ones are dropped.", unit="bytes", ge=1024
    )
    max_unusable_context_share: float = setting(
        0.5,
        "Share of unusable context items above which the data are refused.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    seed: int = setting(3407, "Seed of splitting and sampling.", ge=0, le=MAX_SEED)


class CorpusSettings(Section):
    """How repositories become examples."""

    max_file_bytes: int = setting(200_000, "Largest source file that is read.", unit="bytes", ge=1)
    max_line_chars: int = setting(1000, "Longest line of a usable file.", unit="characters", ge=1)
    max_mean_line_chars: int = setting(
        100, "Mean line length above which a file counts as data.", unit="characters", ge=1
    )
    min_alphanumeric_share: float = setting(
        0.25,
        "Share of letters and digits under which a file counts as data.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    holes_per_file: int = setting(8, "Most holes cut into one file.", unit="holes", ge=1, le=1000)
    max_middle_chars: int = setting(
        256, "Longest text in a hole.", unit="characters", ge=1, le=10_000
    )
    near_duplicate_threshold: float = setting(
        0.7,
        "Similarity from which two files count as the same.",
        unit="Jaccard similarity",
        gt=0,
        le=1,
    )
    held_out_fraction: float = setting(
        0.1, "Share of the files kept for evaluation.", unit="share of 1", ge=0, lt=1
    )
    split: Literal["group", "repo", "path-prefix", "time"] = setting(
        "group", "What decides the side of a file; near-duplicates always share one."
    )
    held_out_paths: tuple[str, ...] = setting(
        (),
        "Paths whose files are held out with the split path-prefix, in a root or as ROOT/PATH.",
    )
    held_out_repos: tuple[str, ...] = setting(
        (),
        "Roots that are held out with the split repo, by folder name; none lets the seed choose.",
    )
    split_commit: str | None = setting(
        None,
        "Commit of the split time: lines added after it are held out.",
        min_length=1,
        example="v2.0",
    )
    from_commits: int | None = setting(
        None,
        "Cut holes only into lines that this many last commits added; none uses whole files.",
        unit="commits",
        ge=1,
        example="200",
    )
    leak_ngram_tokens: int = setting(
        13,
        "Run of tokens that a held-out middle may not share with training text; 0 looks for none.",
        unit="tokens",
        ge=0,
        le=200,
    )
    max_leaks: int = setting(
        0, "Findings of each kind above which fim data check fails.", unit="findings", ge=0
    )
    processes: int = setting(
        0, "Processes that build; 0 takes every core.", unit="processes", ge=0, le=1024
    )
    use_cache: bool = setting(
        default=True, description="Keep what was found out about files for the next build."
    )
    context_items: int = setting(
        3, "Most pieces of other files given to a hole; 0 gives none.", unit="items", ge=0, le=100
    )
    context_max_tokens: int = setting(
        900,
        "Room for the context of one hole, estimated at 3.3 bytes a token.",
        unit="tokens",
        ge=30,
        le=300_000,
    )
    context_none_share: float = setting(
        0.3, "Share of holes that get no context.", unit="share of 1", ge=0, le=1
    )
    context_distractor_share: float = setting(
        0.05,
        "Share of holes with context whose last piece comes from an unrelated place.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    denied_licences: Licences = setting(
        (),
        "SPDX licences whose files are dropped; * stands for anything, unknown for no licence.",
    )
    max_parse_error_share: float = setting(
        0.25,
        "Share of a file that its grammar may fail on before the file counts as parsed in part.",
        unit="share of 1",
        ge=0,
        le=1,
    )
    max_files: int | None = setting(
        None, "Most files to use; none uses all.", unit="files", ge=1, example="500"
    )
    seed: int = setting(3407, "Seed of sampling and splitting.", ge=0, le=MAX_SEED)
