"""The two locks meet the floors of the package, so that no resolver slips in an old release."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = {"cpu": ("train", "eval", "report"), "gpu": ("gpu", "train", "eval", "report")}
MUST_HAVE_FLOORS = ("unsloth", "trl", "transformers", "datasets", "peft", "bitsandbytes", "torch")


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "constraints" / f"{lock}.txt").read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def requirements(*extras: str) -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    return [each for each in map(Requirement, texts) if each.name != "fim"]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_locks_meet_every_floor(lock: str) -> None:
    pinned = pins(lock)
    for requirement in requirements(*LOCKS[lock]):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{lock}: {name} is not pinned"
        assert requirement.specifier.contains(pinned[name]), f"{lock}: {requirement}"


def test_everything_that_trains_has_a_floor() -> None:
    specifiers = {
        canonicalize_name(each.name): each.specifier for each in requirements("gpu", "train")
    }
    for name in MUST_HAVE_FLOORS:
        assert any(each.operator in {">=", "=="} for each in specifiers[name]), name


def test_the_broken_trl_is_excluded_by_name() -> None:
    trl = next(each for each in requirements("train") if each.name == "trl")
    assert not trl.specifier.contains("1.15.0")
    assert trl.specifier.contains("1.16.0")
