"""The status of a run while it trains."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from fim.errors import FimError, InterruptedRunError
from fim.runs import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fim.runs import RunFolder


@contextmanager
def status_kept(run: RunFolder) -> Iterator[None]:
    """Mark a run as running, and as interrupted or failed when the work in it raises.

    Raises:
        RunFolderError: The status cannot be written.
    """
    run.set_status(RunState.RUNNING)
    state, reason = RunState.FAILED, "unexpected error; see the log"
    try:
        yield
        state = RunState.RUNNING
    except (InterruptedRunError, KeyboardInterrupt):
        state, reason = RunState.INTERRUPTED, ""
        raise
    except FimError as error:
        reason = error.message
        raise
    finally:
        if state is not RunState.RUNNING:
            run.set_status(state, reason)
