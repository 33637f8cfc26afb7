"""The error tree of fim, one exit code per branch.

::

    FimError                    1
    ├── ConfigError             2   UnknownSettingError, InvalidSettingError,
    │                               ConflictingSettingsError
    ├── DataError               3   SourceNotFoundError, InvalidExampleError, EmptyDatasetError,
    │                               AllTokensMaskedError, UnknownFormatError, LeakageError
    ├── SetupError              4   MissingExtraError, NoAcceleratorError, NotEnoughMemoryError,
    │   │                           UnsupportedVersionError, EmbeddedModelError
    │   └── ModelError          4   ModelNotFoundError, FormatUnsupportedError,
    │                               AdapterMismatchError, NoFinishedRunError
    ├── TrainingError           5   NonFiniteLossError, NoSupervisedTokensError,
    │                               ResumeMismatchError, PackingLeakError
    ├── InferenceError          4   PromptTooLongError
    ├── EvaluationError         6
    ├── OutputError             7   RunFolderError, HubUploadError
    └── InterruptedRunError   130
"""

from __future__ import annotations

from collections.abc import Mapping


class FimError(Exception):
    """A failure that a user can act on: what happened, why it matters, what to do next.

    Args:
        message: What failed, with the value seen, and why it matters.
        hint: The next command or change that helps; empty when there is none.
        context: JSON-ready facts for scripts.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, hint: str = "", context: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context: dict[str, object] = dict(context or {})

    @property
    def kind(self) -> str:
        """Name of the error for scripts: the class name without its ``Error`` ending."""
        return type(self).__name__.removesuffix("Error")

    def as_json(self) -> dict[str, object]:
        """Return the machine-readable form that ``--json`` prints."""
        return {
            "error": {
                "kind": self.kind,
                "message": self.message,
                "hint": self.hint,
                "context": self.context,
            }
        }


class ConfigError(FimError, ValueError):
    """A setting or a command line that cannot be used."""

    exit_code = 2


class UnknownSettingError(ConfigError):
    """A key that no section has."""


class InvalidSettingError(ConfigError):
    """A value outside its type or range."""


class ConflictingSettingsError(ConfigError):
    """Settings that are fine alone and impossible together."""


class DataError(FimError):
    """Input data that cannot be used."""

    exit_code = 3


class SourceNotFoundError(DataError):
    """A data file, folder or data set that is missing or unreadable."""


class InvalidExampleError(DataError):
    """Rows that are not fill-in-the-middle examples."""


class EmptyDatasetError(DataError):
    """Nothing is left to work on."""


class AllTokensMaskedError(DataError):
    """A row without a single trained token."""


class UnknownFormatError(DataError):
    """A format name that the registry does not hold."""


class LeakageError(DataError):
    """Held-out text that stands in the training text."""


class SetupError(FimError):
    """A machine, package or model that is not ready."""

    exit_code = 4


class MissingExtraError(SetupError):
    """An optional dependency that is not installed."""


class NoAcceleratorError(SetupError):
    """A model or option that needs a GPU on a machine without one."""


class NotEnoughMemoryError(SetupError):
    """Less memory than the work needs."""


class UnsupportedVersionError(SetupError):
    """A package version that is known not to work."""


class EmbeddedModelError(SetupError):
    """The embedded model's package could not be had or is not the expected one."""


class ModelError(SetupError):
    """A model or adapter that cannot be used."""


class ModelNotFoundError(ModelError):
    """A model name or folder that leads nowhere."""


class FormatUnsupportedError(ModelError):
    """A format whose control tokens the tokenizer does not have."""


class AdapterMismatchError(ModelError):
    """An adapter made for another base model or another format."""


class NoFinishedRunError(ModelError):
    """No finished run to take an adapter from."""


class TrainingError(FimError):
    """Training that cannot go on."""

    exit_code = 5


class NonFiniteLossError(TrainingError):
    """A loss or gradient that is not a finite number."""


class NoSupervisedTokensError(TrainingError):
    """A training step without a single trained token."""


class ResumeMismatchError(TrainingError):
    """A checkpoint made from other data, another format or another base model."""


class PackingLeakError(TrainingError):
    """A model on which packed rows see each other."""


class InferenceError(FimError):
    """A completion that cannot be made."""

    exit_code = 4


class PromptTooLongError(InferenceError):
    """A prompt whose fixed parts alone pass the sequence budget."""


class EvaluationError(FimError):
    """An evaluation that cannot be trusted or misses its threshold."""

    exit_code = 6


class OutputError(FimError):
    """Results that cannot be written or served."""

    exit_code = 7


class RunFolderError(OutputError):
    """A run folder that cannot be made, read or written."""


class HubUploadError(OutputError):
    """An adapter that could not be sent to a model hub; the run is as it was."""


class InterruptedRunError(FimError):
    """Work stopped by the user; a checkpoint was written where there was something to save."""

    exit_code = 130
