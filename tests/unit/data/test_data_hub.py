from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType

import pytest

from fim.config import DataSettings
from fim.data import load_hub_examples
from fim.errors import MissingExtraError, SourceNotFoundError

GOOD = {"prefix": "p", "middle": "m", "suffix": "s", "lang": "python", "context_items": []}


class FakeDatasets(ModuleType):
    """Stands in for the ``datasets`` package and remembers what it was asked."""

    def __init__(self, rows: list[Mapping[str, object]], problem: Exception | None = None) -> None:
        super().__init__("datasets")
        self.exceptions = ModuleType("datasets.exceptions")
        self.exceptions.DatasetsError = type("DatasetsError", (Exception,), {})  # type: ignore[attr-defined]
        self.calls: list[tuple[str, dict[str, object]]] = []
        self._rows = rows
        self._problem = problem

    def load_dataset(self, name: str, **options: object) -> Iterator[Mapping[str, object]]:
        self.calls.append((name, options))
        if self._problem is not None:
            raise self._problem
        return iter(self._rows)


@pytest.mark.parametrize(("max_examples", "is_streaming"), [(None, False), (1, True)])
def test_rows_are_read_and_counted(
    monkeypatch: pytest.MonkeyPatch, max_examples: int | None, *, is_streaming: bool
) -> None:
    fake = FakeDatasets([GOOD, {"prefix": "x"}, GOOD | {"suffix": "x" * 9000}])
    monkeypatch.setitem(sys.modules, "datasets", fake)
    settings = DataSettings(max_examples=max_examples, max_row_bytes=2000)
    loaded = load_hub_examples(settings, token="secret")
    assert loaded.report.used == 1
    if max_examples is None:
        assert loaded.report.dropped == {"missing_middle": 1, "row_too_large": 1}
    expected = {"split": "train", "streaming": is_streaming, "token": "secret"}
    assert fake.calls == [(settings.dataset_name, expected)]


@pytest.mark.parametrize("problem", [ConnectionError("offline"), ValueError("Unknown split")])
def test_an_unreachable_set_is_told(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    monkeypatch.setitem(sys.modules, "datasets", FakeDatasets([], problem))
    with pytest.raises(SourceNotFoundError, match=str(problem)) as caught:
        load_hub_examples(DataSettings())
    assert "FIM_DATA_PATH" in caught.value.hint


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="datasets"):
        load_hub_examples(DataSettings())
