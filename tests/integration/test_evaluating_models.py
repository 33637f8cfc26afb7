"""Evaluations of a tiny random model: the prompt is the one of training and serving."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fakes import ByteTokenizer
from fim.config import load_settings
from fim.errors import ConflictingSettingsError
from fim.evaluating import EvaluationRequest, run_evaluation
from fim.evaluating.contestant import make_contestant
from fim.evaluating.request import hash_adapter
from fim.evaluating.suites import load_suite
from fim.evaluation.comparing import compare_folders
from fim.evaluation.folder import EvaluationFolder
from fim.evaluation.runner import hash_of_ids
from fim.inference import CodeCompleter


class ViewedTokenizer(ByteTokenizer):
    @property
    def control_ids(self) -> frozenset[int]:
        return frozenset(range(17))


class FakeLoader:
    """Gives a tiny model; an adapter adds noise, or nothing when it is called ``noop``."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=273,
                    hidden_size=32,
                    intermediate_size=64,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                )
            ).eval()

    def check(self, *, is_training: bool = True) -> None:
        assert not is_training

    def check_parts(self, *, is_training: bool = True) -> None:
        assert not is_training

    def check_control_ids(self, ids: Iterable[int]) -> None:
        assert max(ids) < self.model.config.vocab_size

    def tokenizer(self) -> ViewedTokenizer:
        return ViewedTokenizer.smollm2()  # type: ignore[return-value]

    def load(self) -> SimpleNamespace:
        return SimpleNamespace(model=self.model, tokenizer=self.tokenizer())

    def with_adapter(self, loaded: SimpleNamespace, adapter: Path) -> SimpleNamespace:
        if adapter.name == "noop":
            return loaded
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(1)
            for value in loaded.model.parameters():
                value.add_(torch.randn_like(value) * 0.5)
        return loaded


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fim.evaluating.contestant.make_loader", lambda _settings: FakeLoader())
    monkeypatch.setattr("fim.evaluating.contestant.TokenizerView", lambda tokenizer: tokenizer)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [
        {
            "id": f"h{n}",
            "document_id": f"d{n // 2}",
            "language": "Python",
            "prefix": f"x_{n} = [",
            "middle": f"{n}, call(y)",
            "suffix": "]\n",
            "span_kind": "syntax:arguments",
            "split": "held_out",
        }
        for n in range(10)
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(**more: Any) -> Any:
    given = {
        "data.format": "psm",
        "model.max_seq_length": 128,
        "data.middle_reserve_tokens": 24,
        "infer.max_new_tokens": 48,
        "eval.batch_size": 4,
        "eval.bootstrap_draws": 200,
    }
    return load_settings(overrides=given | more)


def make_adapter(path: Path, anchor_lines: int = 0) -> Path:
    path.mkdir()
    (path / "adapter_config.json").write_text(f'{{"name": "{path.name}"}}')
    (path / "adapter_model.safetensors").write_bytes(path.name.encode())
    from fim.formats import resolve_format

    record = resolve_format("psm", ViewedTokenizer.smollm2(), anchor_lines=anchor_lines).record()
    (path / "fim_format.json").write_text(json.dumps(record.as_json()))
    return path


def test_training_evaluation_and_serving_ask_with_the_same_ids(tmp_path: Path, data: Path) -> None:
    request = EvaluationRequest(suite="own", out=tmp_path / "out", data=data)
    suite, _ = load_suite(settings().settings, request)
    asked = make_contestant(settings(), request, suite)
    completer = asked.completer
    assert isinstance(completer, CodeCompleter)
    run_evaluation(settings(), request)
    samples = EvaluationFolder(tmp_path / "out").read()
    for item, sample in zip(suite.items, samples, strict=True):
        example = item.example
        row = completer.encoder.encode(example)
        trained = row.input_ids[: row.prompt_length]
        served = completer.complete(example.prefix, example.suffix, language="Python")
        assert trained == served.prompt_ids
        assert sample.prompt_sha256 == hash_of_ids(trained)
    facts = EvaluationFolder(tmp_path / "out").facts()["asked"]
    first = completer.encoder.prompt(suite.items[0].example).ids
    assert facts["first_prompt_ids"] == list(first)  # type: ignore[index]


def test_greedy_answers_are_those_of_one_by_one_completion(tmp_path: Path, data: Path) -> None:
    request = EvaluationRequest(suite="own", out=tmp_path / "out", data=data)
    run_evaluation(settings(), request)
    suite, _ = load_suite(settings().settings, request)
    asked = make_contestant(settings(), request, suite)
    for item, sample in zip(suite.items, EvaluationFolder(request.out).read(), strict=True):
        alone = asked.completer.complete(  # type: ignore[union-attr, call-arg]
            item.example.prefix,
            item.example.suffix,  # type: ignore[arg-type]
            max_new_tokens=asked.max_new_tokens,
        )
        assert alone.text == sample.output
        assert sample.nll_sum is not None


def test_noise_and_no_op_adapters_are_called_out(tmp_path: Path, data: Path) -> None:
    runs = {}
    for name, adapter in (("base", None), ("noise", "noise"), ("noop", "noop")):
        folder = make_adapter(tmp_path / adapter) if adapter else None
        request = EvaluationRequest(
            suite="own", out=tmp_path / f"out-{name}", data=data, adapter=folder, name=name
        )
        run_evaluation(settings(), request)
        runs[name] = EvaluationFolder(request.out)
    noop = compare_folders(runs["base"], runs["noop"], draws=200, seed=1)
    assert [problem.kind for problem in noop.problems] == ["no_op_adapter"]
    noise = compare_folders(runs["base"], runs["noise"], draws=200, seed=1)
    assert noise.problems == ()
    metric = noise.whole.metrics["nll_per_token"]
    assert metric.low > 0
    assert noise.verdict != "better"


def test_left_to_right_gets_a_stop_rule_and_several_draws(tmp_path: Path, data: Path) -> None:
    request = EvaluationRequest(
        suite="own",
        out=tmp_path / "out",
        data=data,
        format_name="left-to-right",
        draws=2,
        temperature=1.0,
    )
    run_evaluation(settings(), request)
    folder = EvaluationFolder(request.out)
    assert folder.facts()["asked"]["stop"] == "first_text_line"  # type: ignore[index]
    samples = folder.read()
    assert all(len(sample.draws) == 1 for sample in samples)
    assert any(sample.draws[0] != sample.output for sample in samples)


def test_a_given_limit_counts_and_else_the_gold_decides(tmp_path: Path, data: Path) -> None:
    request = EvaluationRequest(suite="own", out=tmp_path / "out", data=data)
    given = settings(**{"eval.max_new_tokens": 5})
    suite, _ = load_suite(given.settings, request)
    assert make_contestant(given, request, suite).max_new_tokens == 5
    longest = max(len(item.example.middle) for item in suite.items)
    assert make_contestant(settings(), request, suite).max_new_tokens == round(1.5 * longest + 8.4)


@pytest.mark.parametrize(
    ("given", "trained", "lines"),
    [
        ({}, None, 4),
        ({"data.anchor_lines": 2}, None, 2),
        ({}, 3, 3),
        ({"data.anchor_lines": 0}, 3, 0),
    ],
)
def test_a_named_format_keeps_the_anchor_lines(
    tmp_path: Path,
    data: Path,
    given: dict[str, object],
    trained: int | None,
    lines: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="fim")
    overrides = {"data.format": "psm", "model.max_seq_length": 160, **given}
    resolved = load_settings(preset="cpu", overrides=overrides, env={}, cwd=tmp_path)
    folder = None
    if trained is not None:
        folder = make_adapter(tmp_path / "noise", anchor_lines=trained)
    request = EvaluationRequest(
        suite="own", out=tmp_path / "out", data=data, format_name="psm", adapter=folder
    )
    suite, _ = load_suite(resolved.settings, request)
    asked = make_contestant(resolved, request, suite)
    assert asked.facts["format_record"]["anchor_lines"] == lines  # type: ignore[index]
    assert f"asked in psm with data.anchor_lines={lines}" in caplog.text


def test_a_format_for_a_server_is_refused(tmp_path: Path, data: Path) -> None:
    request = EvaluationRequest(
        suite="own", out=tmp_path / "out", data=data, format_name="psm", endpoint="http://x"
    )
    suite, _ = load_suite(settings().settings, request)
    with pytest.raises(ConflictingSettingsError, match="--format-name psm and --endpoint"):
        make_contestant(settings(), request, suite)


def test_an_adapter_s_hash_follows_its_weights(tmp_path: Path) -> None:
    first, second = make_adapter(tmp_path / "a"), make_adapter(tmp_path / "b")
    assert hash_adapter(first) != hash_adapter(second)
    assert hash_adapter(first) == hash_adapter(first)


def test_a_run_is_scored_as_its_adapter(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    adapter = make_adapter(run / "adapter")
    (run / "STATUS").write_text("done\n")
    found = []
    for place, name in ((run, "one"), (adapter, "other")):
        request = EvaluationRequest(suite="own", data=data, out=tmp_path / name, adapter=place)
        found.append(run_evaluation(settings(), request).folder.identity())
    assert found[0] == found[1]
    assert found[0]["adapter_sha256"] == hash_adapter(adapter)
