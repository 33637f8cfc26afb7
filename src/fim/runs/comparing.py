"""Two runs side by side: what was set differently and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.runs import writing
from fim.runs.listing import summarise

if TYPE_CHECKING:
    from fim.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs side by side; a value that a run does not have is None.

    Args:
        a: Id of the first run.
        b: Id of the second run.
        settings: By dotted key, the values of both, only where they differ.
        metrics: By name, the figures of both; after an evaluation those of the tuned model.
    """

    a: str
    b: str
    settings: Mapping[str, tuple[object, object]]
    metrics: Mapping[str, tuple[float | None, float | None]]

    def as_json(self) -> dict[str, object]:
        """Return the comparison as JSON-ready data."""
        return {
            "a": self.a,
            "b": self.b,
            "settings": {key: {"a": one, "b": two} for key, (one, two) in self.settings.items()},
            "metrics": {key: {"a": one, "b": two} for key, (one, two) in self.metrics.items()},
        }


def compare_runs(a: RunFolder, b: RunFolder) -> RunComparison:
    """Compare the settings and the figures of two runs.

    The figures stand side by side without a test: two runs share no holes in general.
    """
    ours, theirs = _settings(a), _settings(b)
    figures, others = _figures(a), _figures(b)
    return RunComparison(
        a=a.id,
        b=b.id,
        settings={
            key: (ours.get(key), theirs.get(key))
            for key in sorted(ours.keys() | theirs.keys())
            if ours.get(key) != theirs.get(key)
        },
        metrics={
            key: (figures.get(key), others.get(key))
            for key in sorted(figures.keys() | others.keys())
        },
    )


def _settings(run: RunFolder) -> dict[str, object]:
    """Return the resolved settings of a run by dotted key."""
    flat: dict[str, object] = {}
    for section, fields in (writing.read_json(run.config) or {}).items():
        if isinstance(fields, Mapping):
            flat |= {f"{section}.{field}": value for field, value in fields.items()}
        else:
            flat[section] = fields
    return flat


def _figures(run: RunFolder) -> dict[str, float]:
    """Return the figures of a run, of the tuned model where base and tuned were compared."""
    figures: dict[str, float] = {}
    for name, value in summarise(run).metrics.items():
        figure = value.get("tuned") if isinstance(value, Mapping) else value
        if isinstance(figure, int | float) and not isinstance(figure, bool):
            figures[name] = float(figure)
    return figures
