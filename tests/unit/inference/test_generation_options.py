"""Generation options: where they come from and what they refuse."""

from __future__ import annotations

import pytest

from fim.config import InferSettings
from fim.errors import InvalidSettingError
from fim.inference.sampling import GenerationOptions


def test_settings_and_overrides() -> None:
    settings = InferSettings(max_new_tokens=7, temperature=0.5, top_k=3)
    options = GenerationOptions.from_settings(settings, {"temperature": 0.0, "seed": 1})
    assert options == GenerationOptions(max_new_tokens=7, temperature=0.0, top_k=3, seed=1)
    assert options.as_json()["max_new_tokens"] == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("repetition_penalty", 0.0),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidSettingError, match=name) as caught:
        GenerationOptions(**{name: value})
    assert caught.value.context == {"setting": f"infer.{name}"}
