"""A model against itself and against a better one, through the whole evaluation."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fakes import ByteTokenizer
from fim.config import InferSettings
from fim.data import ExampleEncoder
from fim.evaluation import EMPTY, Contestant, best_form, compare, evaluate
from fim.formats import resolve_format
from fim.inference import FIRST_LINE, CodeCompleter
from fim.types import FimExample

EXAMPLES = tuple(
    FimExample(
        f"x{number} = [",
        "1, 2",
        "]\n",
        language="Python",
        id=f"h{number}",
        document_id=f"f{number // 3}",
        span_kind="arguments",
    )
    for number in range(18)
)


def _completer(format_name: str, model: torch.nn.Module) -> CodeCompleter:
    tokenizer = ByteTokenizer.smollm2()
    encoder = ExampleEncoder(
        resolve_format(format_name, tokenizer),
        tokenizer,
        max_seq_length=96,
        middle_reserve_tokens=16,
    )
    settings = InferSettings(max_new_tokens=8, batch_size=8)
    return CodeCompleter(model=model, encoder=encoder, settings=settings)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=273,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
            )
        ).eval()


def _train(completer: CodeCompleter) -> None:
    rows = [completer.encoder.encode(example) for example in EXAMPLES]
    optimizer = torch.optim.AdamW(completer.model.parameters(), lr=3e-3)
    width = max(len(row.input_ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for number, row in enumerate(rows):
        ids[number, : len(row.input_ids)] = torch.tensor(row.input_ids)
        labels[number, : len(row.labels)] = torch.tensor(row.labels)
    for _ in range(40):
        optimizer.zero_grad()
        completer.model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()


def test_training_shows_as_better(model: LlamaForCausalLM) -> None:
    asked = _completer("psm", model)
    forms = [
        evaluate(Contestant("psm", asked, asked), EXAMPLES),
        evaluate(
            Contestant(
                "left to right", plain := _completer("left-to-right", model), plain, stop=FIRST_LINE
            ),
            EXAMPLES,
        ),
    ]
    base = best_form(forms, "nll_per_token")
    unchanged = compare(forms[0], evaluate(Contestant("again", asked, asked), EXAMPLES), draws=500)
    assert unchanged.verdict == "not enough to tell"
    assert unchanged.metrics["nll_per_token"].difference == 0
    _train(asked)
    tuned = evaluate(Contestant("tuned", asked, asked), EXAMPLES)
    comparison = compare(base, tuned, draws=500)
    assert comparison.verdict == "better"
    assert tuned.metrics["nll_per_token"] < 1 < base.metrics["nll_per_token"]
    assert (
        tuned.metrics["edit_similarity"]
        > evaluate(Contestant("empty", EMPTY), EXAMPLES).metrics["edit_similarity"]
    )
    hashes = {sample.prompt_sha256 for sample in tuned.samples}
    assert len(hashes) == len(EXAMPLES)
    assert hashes == {sample.prompt_sha256 for sample in forms[0].samples}
