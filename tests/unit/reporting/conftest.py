"""A realistic run folder, written as a finished quickstart leaves it."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

ATTACK = '<script>alert("x")</script>'

PREFIX = '''def fmean(data, weights=None):
    """Convert data to floats and compute the arithmetic mean.

    This runs faster than the mean() function and it always returns a float.
    """
    try:
        n = len(data)
    except TypeError:
'''

HOLES = [
    {
        "item": "statistics.py:0007",
        "path": "statistics.py",
        "kind": "line",
        "prefix": PREFIX + "        ",
        "gold": "n = 0\n",
        "suffix": "        def count(iterable):\n            nonlocal n\n"
        "            for n, x in enumerate(iterable, start=1):\n                yield x\n"
        "        data = count(data)\n    total = fsum(data)\n",
        "base": "data = list(data)\n",
        "tuned": "n = 0\n",
        "base_stop": "first_line",
        "tuned_stop": "end",
    },
    {
        "item": "textwrap.py:0031",
        "path": "textwrap.py",
        "kind": "rest_of_line",
        "prefix": "    def _fix_sentence_endings(self, chunks):\n        i = 0\n"
        "        patsearch = self.sentence_end_re.search\n        while i < ",
        "gold": "len(chunks)-1:",
        "suffix": '\n            if chunks[i+1] == " " and patsearch(chunks[i]):\n'
        '                chunks[i+1] = "  "\n                i += 2\n',
        "base": "len(chunks):\n",
        "tuned": "len(chunks) - 1:",
        "base_stop": "first_line",
        "tuned_stop": "end",
    },
    {
        "item": "http/cookies.py:0102",
        "path": "http/cookies.py",
        "kind": "block",
        "prefix": '    def output(self, attrs=None, header="Set-Cookie:", sep="\\015\\012"):\n'
        "        result = []\n        items = sorted(self.items())\n",
        "gold": "        for key, value in items:\n"
        "            value_output = value.output(attrs, header)\n"
        "            result.append(value_output)\n",
        "suffix": "        return sep.join(result)\n\n    __str__ = output\n",
        "base": "\tfor key in items:\n\t\tresult.append(key)  \n",
        "tuned": "        for key, value in items:\n"
        "            result.append(value.output(attrs, header))\n",
        "base_stop": "length",
        "tuned_stop": "end",
    },
    {
        "item": "html/parser.py:0044",
        "path": "html/parser.py",
        "kind": "call_arguments",
        "prefix": f"    template = '{ATTACK}'\n    self.handle_data(",
        "gold": "unescape(rawdata[i:j])",
        "suffix": ")\n    i = self.updatepos(i, j)\n",
        "base": "",
        "tuned": "rawdata[i:j]",
        "base_stop": "end",
        "tuned_stop": "end",
    },
    {
        "item": "csv.py:0019",
        "path": "csv.py",
        "kind": "mid_token",
        "prefix": "class DictWriter:\n    def writeheader(self):\n"
        "        header = dict(zip(self.field",
        "gold": "names, self.fieldnames))",
        "suffix": "\n        return self.writerow(header)\n",
        "base": "names))\r\n",
        "tuned": "names, self.fieldnames))",
        "base_stop": "first_line",
        "tuned_stop": "end",
    },
]

METRICS = {
    "nll_per_token": {
        "base": 2.318,
        "tuned": 1.742,
        "difference": -0.576,
        "low": -0.681,
        "high": -0.472,
    },
    "edit_similarity": {
        "base": 0.414,
        "tuned": 0.478,
        "difference": 0.064,
        "low": 0.021,
        "high": 0.107,
    },
    "exact_match": {"base": 0.05, "tuned": 0.115, "difference": 0.065, "low": 0.02, "high": 0.115},
    "stop_rate": {"base": 0.31, "tuned": 0.345, "difference": 0.035, "low": -0.03, "high": 0.1},
}

CONTESTANTS = [
    {
        "name": "base-left-to-right",
        "kind": "base",
        "description": "the text before the cursor only, cut at the first line",
        "metrics": {
            "nll_per_token": 2.318,
            "edit_similarity": 0.414,
            "exact_match": 0.05,
            "stop_rate": 0.31,
        },
    },
    {
        "name": "base-chat",
        "kind": "base",
        "description": "chat prompt, Markdown fence removed",
        "metrics": {
            "nll_per_token": 3.12,
            "edit_similarity": 0.226,
            "exact_match": 0.0,
            "stop_rate": 0.42,
        },
    },
    {
        "name": "tuned",
        "kind": "tuned",
        "description": "psm, four anchor lines",
        "metrics": {
            "nll_per_token": 1.742,
            "edit_similarity": 0.478,
            "exact_match": 0.115,
            "stop_rate": 0.345,
        },
    },
    {
        "name": "previous line",
        "kind": "floor",
        "description": "copies the line above the cursor",
        "metrics": {
            "nll_per_token": None,
            "edit_similarity": 0.202,
            "exact_match": 0.0,
            "stop_rate": None,
        },
    },
    {
        "name": "empty",
        "kind": "floor",
        "description": "answers nothing",
        "metrics": {
            "nll_per_token": None,
            "edit_similarity": 0.0,
            "exact_match": 0.0,
            "stop_rate": None,
        },
    },
]

SUMMARY = {
    "run": "20261122-1430-smollm2-135m-instruct-3f9a",
    "created": "2026-11-22T14:38:41+00:00",
    "model": "embedded/SmolLM2-135M-Instruct",
    "format": {"name": "psm", "version": 1, "family": "smollm2", "order": "psm", "anchor_lines": 4},
    "seconds": 498.2,
    "peak_memory_mib": 2911.0,
    "stages": [
        {"name": "build examples", "seconds": 21.4},
        {"name": "score the base", "seconds": 96.0},
        {"name": "train", "seconds": 288.7},
        {"name": "score the tuned model", "seconds": 88.3},
        {"name": "write the report", "seconds": 3.8},
    ],
    "training": {
        "steps": 80,
        "seconds": 288.7,
        "train_loss": 1.913,
        "eval_loss": 1.761,
        "holes_per_second": 4.43,
        "tokens_per_second": 1088.2,
        "supervised_tokens_per_second": 61.9,
        "peak_memory_mib": 2911.0,
    },
    "notes": [
        "The test is 200 holes of one corpus, the Python standard library.",
        "The base may have seen this code before: compare differences, not levels.",
        "135 million parameters: the aim is a gain that can be measured, not a model to code with.",
    ],
    "commands": [
        "fim complete --prefix 'def mean(xs):' --suffix 'return total / len(xs)' --language Python",
        "fim report runs/20261122-1430-smollm2-135m-instruct-3f9a",
    ],
}

MANIFEST = {
    "source": "Python 3.11 standard library, tests and site-packages left out.",
    "files": {
        "seen": 1684,
        "used": 512,
        "dropped": {
            "too_large": 31,
            "too_few_letters": 12,
            "near_duplicate": 24,
            "generated": 9,
            "over_the_limit": 1096,
        },
    },
    "examples": {"train": 1280, "held_out": 200},
    "dropped": {"middle_too_long": 41, "middle_in_training_text": 13},
    "licences": {"Python standard library": "PSF-2.0"},
    "hashes": {"train": "9f2c" * 16, "held_out": "41ab" * 16},
}

CONFIG = {
    "preset": "cpu",
    "model": {
        "name": "embedded/SmolLM2-135M-Instruct",
        "revision": None,
        "max_seq_length": 512,
        "load_in_4bit": False,
    },
    "lora": {
        "r": 16,
        "alpha": 16,
        "dropout": 0.0,
        "target_modules": ["q_proj", "k_proj", "v_proj"],
    },
    "data": {"format": "psm", "anchor_lines": 4, "enable_response_masking": True},
    "train": {
        "learning_rate": 0.0005,
        "max_steps": 80,
        "per_device_train_batch_size": 4,
        "seed": 3407,
    },
    "hf": {"token": "hf_must_never_be_shown"},
}

SOURCES = {
    "preset": "command line",
    "model.name": "preset cpu",
    "model.max_seq_length": "preset cpu",
    "data.format": "preset cpu",
    "data.anchor_lines": "preset cpu",
    "train.learning_rate": "environment FIM_TRAIN_LEARNING_RATE",
    "train.seed": "default",
}

ENVIRONMENT = {
    "python": "3.11.9",
    "platform": "Linux x86_64",
    "cpus": 2,
    "packages": {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0", "peft": "0.21.2"},
}


def curve_records(num_steps: int = 80) -> list[dict[str, float]]:
    """Make a noisy falling loss with an evaluation every twenty steps."""
    generator = random.Random(3407)
    records = []
    for step in range(1, num_steps + 1):
        warm = min(1.0, step / 8)
        decay = 0.5 * (1 + math.cos(math.pi * step / num_steps))
        loss = 1.7 + 1.2 * math.exp(-step / 18) + generator.gauss(0, 0.12)
        records.append(
            {
                "step": step,
                "loss": loss,
                "learning_rate": 5e-4 * warm * decay,
                "seconds": 3.6 * step,
            }
        )
        if step % 20 == 0:
            records.append({"step": step, "eval_loss": 1.72 + 1.05 * math.exp(-step / 22)})
    return records


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def sample_rows(which: str) -> list[dict[str, object]]:
    shared = ("item", "path", "kind", "prefix", "suffix", "gold")
    return [
        {key: hole[key] for key in shared}
        | {"language": "Python", "output": hole[which], "stop_reason": hole[f"{which}_stop"]}
        for hole in HOLES
    ]


def write_run(folder: Path) -> Path:
    """Write every file that a report reads."""
    write_json(folder / "summary.json", SUMMARY)
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "sources.json", SOURCES)
    write_json(folder / "environment.json", ENVIRONMENT)
    write_json(folder / "data_manifest.json", MANIFEST)
    write_lines(folder / "metrics.jsonl", list(curve_records()))
    write_json(
        folder / "eval" / "comparison.json",
        {
            "suite": "own",
            "items": 200,
            "clusters": 57,
            "bootstrap_draws": 10000,
            "seed": 3407,
            "base": "base-left-to-right",
            "tuned": "tuned",
            "metrics": METRICS,
            "contestants": CONTESTANTS,
            "notes": ["Fewer than 300 holes: differences under about 8 points cannot be told."],
        },
    )
    write_lines(folder / "eval" / "base-left-to-right.samples.jsonl", sample_rows("base"))
    write_lines(folder / "eval" / "tuned.samples.jsonl", sample_rows("tuned"))
    return folder


@pytest.fixture(scope="session")
def unchanged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that no test changes."""
    return write_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A finished run."""
    return write_run(tmp_path / "run")
