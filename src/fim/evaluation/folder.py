"""The folder of an evaluation: what was asked, every sample, and the result drawn from both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fim.errors import EvaluationError
from fim.evaluation.samples import SAMPLES_FILE, Sample
from fim.runs.writing import append_jsonl, read_json, read_jsonl, write_json, write_jsonl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVALUATION_FILE = "evaluation.json"
RESULT_FILE = "result.json"
_IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class EvaluationFolder:
    """Where an evaluation lies.

    ``evaluation.json`` says what was asked, ``samples.jsonl`` holds one line per hole, in the
    order of the suite once all are there, ``result.json`` the metrics.
    """

    path: Path

    @property
    def samples(self) -> Path:
        """The samples."""
        return self.path / SAMPLES_FILE

    @property
    def result(self) -> Path:
        """The metrics."""
        return self.path / RESULT_FILE

    def open(self, identity: Mapping[str, object], facts: Mapping[str, object]) -> None:
        """Begin, or go on with what is already there.

        Args:
            identity: What makes two evaluations the same one: suite, model, format, decoding.
            facts: More that reports show.

        Raises:
            EvaluationError: The folder holds another evaluation.
            RunFolderError: It cannot be written.
        """
        found = read_json(self.path / EVALUATION_FILE)
        wanted = json.loads(json.dumps(dict(identity)))
        if found is not None and found.get(_IDENTITY) != wanted:
            raise EvaluationError(
                f"{self.path} holds another evaluation: {_differences(found, wanted)}; "
                "mixing them would give one figure for two things",
                hint="choose another --out, or remove the folder",
            )
        if found is None:
            if self.samples.exists():
                raise EvaluationError(
                    f"{self.path} holds samples without {EVALUATION_FILE}, so it is unknown "
                    "what they answer",
                    hint="choose another --out",
                )
            write_json(self.path / EVALUATION_FILE, {_IDENTITY: wanted, **facts})
            return
        write_jsonl(self.samples, read_jsonl(self.samples))

    def answered(self) -> frozenset[str]:
        """Return the items that have a sample."""
        return frozenset(str(row.get("item")) for row in read_jsonl(self.samples))

    def facts(self) -> dict[str, object]:
        """Return what was asked.

        Raises:
            EvaluationError: The folder holds no evaluation.
        """
        found = read_json(self.path / EVALUATION_FILE)
        if found is None:
            raise EvaluationError(
                f"{self.path} holds no {EVALUATION_FILE}, so there is nothing to read",
                hint="point at the folder that fim eval run wrote",
            )
        return found

    def identity(self) -> dict[str, object]:
        """Return what makes the evaluation what it is.

        Raises:
            EvaluationError: The folder holds no evaluation.
        """
        found = self.facts().get(_IDENTITY)
        return dict(found) if isinstance(found, dict) else {}

    def append(self, samples: Sequence[Sample]) -> None:
        """Add samples behind those that are there; each line is whole before the next begins.

        Raises:
            RunFolderError: The file cannot be written.
        """
        for sample in samples:
            append_jsonl(self.samples, sample.as_json())

    def read(self) -> tuple[Sample, ...]:
        """Return the samples.

        Raises:
            EvaluationError: There are none, or they are something else.
        """
        rows = read_jsonl(self.samples)
        try:
            samples = tuple(Sample(**row) for row in rows)  # type: ignore[arg-type]
        except TypeError as error:
            raise EvaluationError(
                f"{self.samples} cannot be read as samples ({error})",
                hint="point at the folder that fim eval run wrote",
            ) from error
        if not samples:
            raise EvaluationError(
                f"{self.samples} holds no samples, so there is nothing to score",
                hint="fim eval run --suite SUITE --out DIR",
            )
        return samples

    def replace(self, samples: Sequence[Sample]) -> None:
        """Write all samples anew, atomically.

        Raises:
            RunFolderError: The file cannot be written.
        """
        write_jsonl(self.samples, [sample.as_json() for sample in samples])

    def write_result(self, result: Mapping[str, object]) -> None:
        """Write the metrics.

        Raises:
            RunFolderError: The file cannot be written.
        """
        write_json(self.result, result)

    def add_facts(self, more: Mapping[str, object]) -> None:
        """Keep further facts beside what was asked.

        Raises:
            EvaluationError: The folder holds no evaluation.
            RunFolderError: It cannot be written.
        """
        write_json(self.path / EVALUATION_FILE, {**self.facts(), **more})


def _differences(found: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    given = found.get(_IDENTITY)
    before = given if isinstance(given, dict) else {}
    names = [name for name in wanted if before.get(name) != wanted[name]]
    return ", ".join(f"{name} was {before.get(name)!r}, is {wanted[name]!r}" for name in names[:3])
