"""Ctrl-C during training: the first asks to stop after the step, the second stops at once."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING

from fim.training.processes import num_processes

if TYPE_CHECKING:
    from types import FrameType, TracebackType

_logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptGuard:
    """A context in which SIGINT and SIGTERM are noted instead of breaking a step in two.

    The second signal raises ``KeyboardInterrupt``; not where several processes train together,
    since launchers repeat signals and one that broke off alone would leave the others waiting.
    Outside the main thread, where Python lets nobody handle signals, nothing changes.

    ``has_signal`` tells whether this process got one; ``is_stopping`` whether all processes have
    agreed to end because any of them did.
    """

    def __init__(self) -> None:
        self.has_signal = False
        self.is_stopping = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> InterruptGuard:
        """Take over the signals."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {each: signal.signal(each, self._on_signal) for each in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal, raise at the second."""
        if self.has_signal:
            if num_processes() > 1:
                return
            raise KeyboardInterrupt
        self.has_signal = True
        _logger.warning(
            "%s: stopping after this step and a checkpoint; once more stops at once",
            signal.Signals(number).name,
        )
