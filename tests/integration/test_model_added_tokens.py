"""A base without fill-in-the-middle tokens gets them, learns them and finds them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.data import ExampleEncoder, TokenizerView
from fim.errors import AdapterMismatchError, FormatUnsupportedError
from fim.formats import read_record, resolve_format, resolve_record, write_record
from fim.formats.sentinel_families import ADDED_FAMILY, ADDED_TOKENS
from fim.model import LoadedModel, save_adapter
from fim.model.extension import extend_tokenizer
from fim.types import FimExample
from model_toys import VOCABULARY_TOKENS, toy_loader, write_toy_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

EXAMPLE = FimExample(prefix="t5 t6 t7", middle="t8 t9", suffix="t10 t11")
ADDED_IDS = tuple(range(VOCABULARY_TOKENS, VOCABULARY_TOKENS + len(ADDED_TOKENS)))


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "own-head"])
def toy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("base"), is_tied=request.param)


def encoder(tokenizer: PreTrainedTokenizerBase, name: str = "psm") -> ExampleEncoder:
    view = TokenizerView(tokenizer)
    return ExampleEncoder(resolve_format(name, view, is_extended=True), view, max_seq_length=64)


def row(loaded: LoadedModel) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    encoded = encoder(loaded.tokenizer).encode(EXAMPLE)
    return torch.tensor([encoded.input_ids]), torch.tensor([encoded.labels])


def logits(loaded: LoadedModel) -> torch.Tensor:
    import torch

    loaded.model.eval()
    with torch.no_grad():
        return loaded.model(input_ids=row(loaded)[0]).logits.float()


def train(loaded: LoadedModel, *, steps: int) -> list[float]:
    import torch

    ids, labels = row(loaded)
    wanted = [item for item in loaded.model.parameters() if item.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=0.02)
    losses = []
    loaded.model.train()
    for _ in range(steps):
        loss = loaded.model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def test_without_the_setting_the_base_is_refused(toy: Path) -> None:
    view = TokenizerView(toy_loader(toy).tokenizer())
    with pytest.raises(FormatUnsupportedError):
        resolve_format("psm", view, is_extended=True)


def test_tokens_are_added_once_and_rows_with_them(toy: Path) -> None:
    loader = toy_loader(toy, add_tokens=True)
    loaded = loader.load()
    assert loaded.added_token_ids == ADDED_IDS
    assert loaded.model.config.vocab_size == VOCABULARY_TOKENS + len(ADDED_TOKENS)
    again = loader.tokenizer()
    assert [again.get_added_vocab()[token] for token in ADDED_TOKENS] == list(ADDED_IDS)
    assert extend_tokenizer(again) == ()
    plain = toy_loader(toy).load().model.get_input_embeddings().weight
    extended = loaded.model.get_input_embeddings().weight
    assert (extended[:VOCABULARY_TOKENS] == plain).all()
    new = extended[VOCABULARY_TOKENS:]
    assert len({tuple(each.tolist()) for each in new}) == len(ADDED_TOKENS)
    assert (new.abs().amax() < plain.abs().amax()).item()
    assert (loader.load().model.get_input_embeddings().weight == extended).all()


@pytest.mark.parametrize("name", ["psm", "spm", "spm2", "codestral", "repo", "infill"])
def test_every_sentinel_format_speaks_the_added_tokens(toy: Path, name: str) -> None:
    made = encoder(toy_loader(toy, add_tokens=True).tokenizer(), name)
    assert made.resolved.format.family == ADDED_FAMILY
    encoded = made.encode(EXAMPLE)
    assert encoded.input_ids[-1] == made.resolved.end_id == ADDED_IDS[0]
    assert set(encoded.input_ids) & set(ADDED_IDS)


@pytest.mark.parametrize("load_in_4bit", [False, True], ids=["plain", "nf4"])
def test_added_rows_are_trained_saved_and_found_again(
    toy: Path, tmp_path: Path, load_in_4bit: bool
) -> None:
    import torch

    loader = toy_loader(toy, add_tokens=True, load_in_4bit=load_in_4bit)
    loaded = loader.for_training(loader.load())
    trained = {name: item for name, item in loaded.model.named_parameters() if item.requires_grad}
    tokens = {name: item for name, item in trained.items() if "trainable_tokens" in name}
    is_tied = loaded.model.config.tie_word_embeddings
    assert len(tokens) == (1 if is_tied else 2)
    assert all(item.shape == (len(ADDED_TOKENS), 64) for item in tokens.values())
    before = {name: item.detach().clone() for name, item in tokens.items()}
    losses = train(loaded, steps=12)
    assert losses[-1] < losses[0] - 1
    for name, item in tokens.items():
        assert not torch.equal(item, before[name]), name
    expected = logits(loaded)
    folder = save_adapter(loaded, tmp_path / "adapter")
    write_record(folder, encoder(loaded.tokenizer).resolved.record())

    fresh = toy_loader(toy, add_tokens=True, load_in_4bit=load_in_4bit)
    again = fresh.with_adapter(fresh.load(), folder)
    assert torch.allclose(logits(again), expected, atol=1e-4)
    view = TokenizerView(again.tokenizer)
    assert resolve_record(read_record(folder), view).end_id == ADDED_IDS[0]


def test_an_adapter_with_added_tokens_is_refused_on_the_bare_base(
    toy: Path, tmp_path: Path
) -> None:
    loader = toy_loader(toy, add_tokens=True)
    folder = save_adapter(loader.for_training(loader.load()), tmp_path / "adapter")
    bare = toy_loader(toy)
    with pytest.raises(AdapterMismatchError):
        bare.with_adapter(bare.load(), folder)


def test_a_base_that_was_made_for_it_gets_no_token(
    qwen3_tokenizer: PreTrainedTokenizerBase,
) -> None:
    before = len(qwen3_tokenizer)
    assert extend_tokenizer(qwen3_tokenizer) == ()
    assert len(qwen3_tokenizer) == before


def test_spare_tokens_do_not_count_as_tokens_of_its_own(smollm2_folder: Path) -> None:
    from transformers import AutoTokenizer

    from fim.model.prepared import prepare_tokenizer

    tokenizer = AutoTokenizer.from_pretrained(prepare_tokenizer(smollm2_folder))
    added = extend_tokenizer(tokenizer)
    assert len(added) == len(ADDED_TOKENS) - 1
    view = TokenizerView(tokenizer)
    assert resolve_format("psm", view, is_extended=True).format.family == ADDED_FAMILY
    assert resolve_format("psm", view).format.family == "smollm2"
