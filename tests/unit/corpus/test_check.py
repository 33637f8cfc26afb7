"""A built set proves itself, and a damaged one is caught."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fim.corpus.check import check_corpus
from fim.corpus.decontamination import human_eval_items
from fim.corpus.manifest import read_rows, split_hash, write_corpus
from fim.errors import SourceNotFoundError
from fim.types import ContextItem, FimExample

LONG = "a_long_enough_middle = that_is_found(verbatim)"
SAFE = "something_else_entirely = not_found(anywhere)"


def words(seed: int) -> str:
    return "\n".join(f"line_{seed}_{n} = call_{seed}({n})" for n in range(30))


def row(document: int, middle: str, split: str, *, body: int | None = None) -> FimExample:
    text = words(document if body is None else body)
    return FimExample(
        prefix=text + "\n",
        middle=middle,
        suffix="\n",
        context=(ContextItem("def f(): ...", "f.py", 0.5), ContextItem("x")),
        language="Python",
        path=f"m{document}.py",
        repo="r",
        id=f"{document}-{middle[:5]}",
        document_id=f"d{document}",
        span_kind="lines",
        split=split,
    )


def write(out: Path, train: list[FimExample], held_out: list[FimExample]) -> Path:
    manifest = {
        "config": {"near_duplicate_threshold": 0.7},
        "splits": {
            "train": {"sha256": split_hash(train)},
            "held_out": {"sha256": split_hash(held_out)},
        },
    }
    write_corpus(out, manifest=manifest, train=train, held_out=held_out)
    return out


def test_a_clean_set_is_clean(tmp_path: Path) -> None:
    out = write(tmp_path / "set", [row(1, LONG, "train")], [row(2, SAFE, "held_out")])
    result = check_corpus(out)
    assert result.is_clean
    assert result.as_json()["ok"] is True
    assert set(result.leaks.values()) == {0}
    assert replace(read_rows(out, "train")[0], context=()) == replace(
        row(1, LONG, "train"), context=()
    )


def test_a_verbatim_middle_is_found(tmp_path: Path) -> None:
    out = write(tmp_path / "set", [row(1, LONG, "train")], [row(2, f"  {LONG}", "held_out")])
    result = check_corpus(out)
    assert result.leaks["middle_in_training_text"] == 1
    assert result.examples[0]["path"] == "m2.py"


def test_shared_and_near_identical_documents_are_found(tmp_path: Path) -> None:
    train = [row(1, LONG, "train"), row(3, "x = 1", "train")]
    held_out = [row(1, "y = 2", "held_out"), row(4, "z = 3", "held_out", body=3)]
    leaks = check_corpus(write(tmp_path / "set", train, held_out)).leaks
    assert leaks["shared_document"] == 1
    assert leaks["near_duplicate_document"] == 1


def test_rows_unlike_the_manifest_are_found(tmp_path: Path) -> None:
    out = write(tmp_path / "set", [row(1, LONG, "train")], [row(2, SAFE, "held_out")])
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["splits"]["train"]["sha256"] = "0"
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert check_corpus(out).leaks["manifest_mismatch"] == 1
    (out / "manifest.json").write_text("{}")
    assert check_corpus(out).leaks["manifest_mismatch"] == 2


def test_what_is_no_built_set_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no built set"):
        check_corpus(tmp_path)
    (tmp_path / "manifest.json").write_text("not json")
    with pytest.raises(SourceNotFoundError, match="no built set"):
        check_corpus(tmp_path)


def test_missing_and_damaged_shards_are_clear_errors(tmp_path: Path) -> None:
    out = write(tmp_path / "set", [row(1, LONG, "train")], [row(2, SAFE, "held_out")])
    shard = out / "train" / "part-00000.parquet"
    shard.write_bytes(b"damaged")
    with pytest.raises(SourceNotFoundError, match="cannot be read"):
        check_corpus(out)
    shard.unlink()
    with pytest.raises(SourceNotFoundError, match="no parquet"):
        check_corpus(out)


def test_runs_of_tokens_that_stand_on_both_sides_are_found(tmp_path: Path) -> None:
    shared = "left = call(one, two, three)[four]"
    train = [row(1, f"if ready:\n    {shared}\n", "train")]
    held_out = [row(2, "left  =  call( one,two , three )[ four ]", "held_out")]
    result = check_corpus(write(tmp_path / "set", train, held_out))
    assert result.leaks["middle_in_training_text"] == 0
    assert result.leaks["ngram_in_training_text"] == 1
    assert result.facts["ngram_tokens"] == 13


def test_context_that_gives_an_answer_away_is_found(tmp_path: Path) -> None:
    own = replace(row(1, LONG, "train"), context=(ContextItem(f"x = 1\n{LONG}\n", "f.py"),))
    other = replace(row(3, "a = 3", "train"), context=(ContextItem(f"y\n{SAFE}\n", "g.py"),))
    result = check_corpus(write(tmp_path / "set", [own, other], [row(2, SAFE, "held_out")]))
    assert result.leaks["middle_in_own_context"] == 1
    assert result.leaks["middle_in_training_context"] == 1
    assert {example["kind"] for example in result.examples} == {
        "middle_in_own_context",
        "middle_in_training_context",
    }
    assert result.facts["train_context_items"] == 2


def test_findings_up_to_the_limit_pass(tmp_path: Path) -> None:
    out = write(tmp_path / "set", [row(1, LONG, "train")], [row(2, LONG, "held_out")])
    assert not check_corpus(out).is_clean
    assert check_corpus(out, limit=1).is_clean


def test_problems_of_human_eval_are_found_in_training_text(tmp_path: Path) -> None:
    items = human_eval_items()
    if items is None:
        pytest.skip("the package human-eval is not installed")
    question, answer = items[0].texts
    copied = replace(row(1, answer, "train"), prefix=words(1) + "\n" + question)
    out = write(tmp_path / "set", [copied, row(3, LONG, "train")], [row(2, SAFE, "held_out")])
    result = check_corpus(out)
    assert result.leaks["benchmark_in_training_text"] == 1
    assert result.facts["benchmark_items"] == 164
    assert str(result.facts["benchmark"]).startswith("human-eval ")
    named = {"kind": "benchmark_in_training_text", "benchmark": result.facts["benchmark"]}
    assert {**named, "item": items[0].name} in [dict(example) for example in result.examples]
