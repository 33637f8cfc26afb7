"""The package's public names are there, lazy, and typed as they are exported."""

from __future__ import annotations

import pytest

import fim


@pytest.mark.parametrize("name", fim.__all__)
def test_public_name_is_importable(name: str) -> None:
    assert getattr(fim, name).__name__ == name


def test_dir_lists_the_public_names() -> None:
    assert dir(fim) == sorted([*fim.__all__, "__version__"])


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        fim.__getattr__("no_such_name")
