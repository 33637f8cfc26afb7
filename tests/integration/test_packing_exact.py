from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fim.packing import PackedRow, Tree, best_fit_decreasing, lay_out, plant_trees
from fim.training.loss import head_batch_nll, supervised_forward
from fim.training.packed import packed_inputs
from fim.training.pieces import attention_in_pieces
from fim.training.rows import RightPadder
from fim.types import IGNORED_LABEL, EncodedExample
from packing_toys import VOCABULARY_TOKENS, document_rows, gradients, hole_row, tiny_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

FAMILIES = ("qwen3", "llama")
MODELS: dict[str, PreTrainedModel] = {}


def model_of(family: str) -> PreTrainedModel:
    if family not in MODELS:
        MODELS[family] = tiny_model(family)
    return MODELS[family]


def separate(
    model: PreTrainedModel, rows: Sequence[EncodedExample]
) -> tuple[float, dict[str, torch.Tensor]]:
    total = 0.0
    with supervised_forward(model):
        for row in rows:
            batch = RightPadder(0)([{"input_ids": row.input_ids, "labels": row.labels}])
            loss = head_batch_nll(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
    return total, gradients(model)


def packed(
    model: PreTrainedModel, packed_rows: Sequence[PackedRow], *, trunk_weight: float = 0.0
) -> tuple[float, dict[str, torch.Tensor]]:
    total = 0.0
    with ExitStack() as stack:
        stack.enter_context(supervised_forward(model))
        stack.enter_context(attention_in_pieces(model))
        for row in packed_rows:
            inputs = packed_inputs(row, trunk_weight=trunk_weight)
            loss = head_batch_nll(model, cast("dict[str, torch.Tensor]", inputs))
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
    return total, gradients(model)


def assert_equal(
    ours: tuple[float, dict[str, torch.Tensor]],
    theirs: tuple[float, dict[str, torch.Tensor]],
    tolerance: float,
) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=tolerance)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        difference = (ours[1][name] - gradient).norm() / gradient.norm().clamp_min(1e-30)
        assert float(difference) <= tolerance, name


def in_one(rows: Sequence[EncodedExample], trees: Sequence[Tree]) -> list[PackedRow]:
    return [lay_out(trees, rows)]


@pytest.mark.parametrize("loss_on", ["middle", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_trees_give_the_loss_and_gradients_of_separate_rows(family: str, loss_on: str) -> None:
    rows = document_rows(3, 5, loss_on=loss_on)
    forest = plant_trees(rows, max_tokens=1000, max_rows=100)
    assert forest.token_gain > 1.2
    model = model_of(family)
    assert_equal(packed(model, in_one(rows, forest.trees)), separate(model, rows), 1e-9)


@st.composite
def documents(draw: st.DrawFn) -> list[EncodedExample]:
    rows = []
    for number in range(draw(st.integers(1, 3))):
        seed = draw(st.integers(0, 2**32 - 1))
        size = draw(st.integers(1, 80))
        ids = [
            (seed * (at + 7) * 2654435761 >> 8) % (VOCABULARY_TOKENS - 5) + 5 for at in range(size)
        ]
        for _ in range(draw(st.integers(1, 5))):
            start = draw(st.integers(0, size))
            rows.append(
                hole_row(
                    ids,
                    start,
                    draw(st.integers(start, min(size, start + 8))),
                    document=f"d{number}",
                    anchor=draw(st.integers(0, 6)),
                    begin=draw(st.sampled_from([0, 0, 0, start // 2])),
                    loss_on=draw(st.sampled_from(["middle", "all"])),
                )
            )
    return rows


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    rows=documents(),
    family=st.sampled_from(FAMILIES),
    max_tokens=st.integers(40, 400),
    max_rows=st.integers(1, 9),
)
def test_random_documents_and_holes_are_exact(
    rows: list[EncodedExample], family: str, max_tokens: int, max_rows: int
) -> None:
    forest = plant_trees(rows, max_tokens=max_tokens, max_rows=max_rows)
    assert sorted(row for tree in forest.trees for row in tree.rows) == list(range(len(rows)))
    bins = best_fit_decreasing([tree.num_tokens for tree in forest.trees], max_tokens)
    packed_rows = [lay_out([forest.trees[at] for at in each], rows) for each in bins]
    model = model_of(family)
    assert_equal(packed(model, packed_rows), separate(model, rows), 1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_that_begins_at_the_branch_is_predicted_from_the_trunk(family: str) -> None:
    ids = list(range(5, 45))
    rows = [hole_row(ids, 30, 34, document="d"), hole_row(ids, 30, 36, document="d")]
    tree = Tree(0, (), len(rows[0].input_ids))
    shared = next(
        at
        for at, (one, other) in enumerate(zip(rows[0].input_ids, rows[1].input_ids, strict=False))
        if one != other
    )
    assert shared > 30
    model = model_of(family)
    forest = plant_trees(rows, max_tokens=500, max_rows=8)
    assert len(forest.trees[0].branches) == 1
    assert tree.num_tokens < forest.num_tokens
    assert_equal(packed(model, in_one(rows, forest.trees)), separate(model, rows), 1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plain_loss_of_trunks_is_that_of_their_text_alone(family: str) -> None:
    weight = 0.25
    rows = document_rows(2, 4)
    trees = plant_trees(rows, max_tokens=1000, max_rows=100).trees
    model = model_of(family)
    plain_rows = [as_plain(rows[tree.trunk]) for tree in trees]
    text, holes = separate(model, plain_rows), separate(model, rows)
    row = lay_out(trees, rows, has_plain=True)
    assert row.plain.shape[1] == sum(
        label != IGNORED_LABEL for each in plain_rows for label in each.labels
    )
    ours = packed(model, [row], trunk_weight=weight)
    wanted = {name: each + weight * text[1][name] for name, each in holes[1].items()}
    assert_equal(ours, (holes[0] + weight * text[0], wanted), 1e-9)


def test_text_that_a_row_trains_anyway_is_not_trained_twice() -> None:
    rows = document_rows(1, 3, loss_on="all")
    trees = plant_trees(rows, max_tokens=1000, max_rows=100).trees
    assert lay_out(trees, rows, has_plain=True).plain.size == 0


def as_plain(row: EncodedExample) -> EncodedExample:
    start = len(row.segments[0].ids)
    stop = start + len(row.segments[1].ids)
    trained = row.input_ids[start + 1 : stop]
    labels = (IGNORED_LABEL,) * (start + 1) + trained
    return replace(row, labels=labels + (IGNORED_LABEL,) * (len(row.input_ids) - len(labels)))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread: how sums are split among threads moves float32 gradients by 6e-5 by itself."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_embedded_model_is_exact_on_real_code(one_thread: None) -> None:
    import torch

    from fim.config import load_settings
    from fim.corpus import stdlib_root
    from fim.data import TokenizerView
    from fim.model.quiet import quiet_loading
    from fim.pipeline import make_encoder, make_loader
    from fim.types import FimExample

    wanted = {"model.max_seq_length": 512, "model.dtype": "float32"}
    chosen = load_settings(preset="cpu", overrides=wanted).settings
    loader = make_loader(chosen)
    encoder = make_encoder(chosen, TokenizerView(loader.tokenizer()), is_training=True)
    text = (stdlib_root() / "heapq.py").read_text("utf-8")[:1100].replace("\n", "\r\n")
    cuts = (300, 517, 640, 803, 951)
    rows = [
        encoder.encode(
            FimExample(text[:cut], text[cut : cut + 23], text[cut + 23 :], document_id="d")
        )
        for cut in cuts
    ]
    forest = plant_trees(rows, max_tokens=10_000, max_rows=10)
    assert forest.token_gain > 1.2
    with quiet_loading():
        model = loader.load().model
    assert model.dtype == torch.float32
    ours, theirs = packed(model, in_one(rows, forest.trees)), separate(model, rows)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    gap = sum(float((ours[1][name] - each).square().sum()) for name, each in theirs[1].items())
    size = sum(float(each.square().sum()) for each in theirs[1].values())
    assert (gap / size) ** 0.5 < 1e-5
