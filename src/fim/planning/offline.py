"""No network while something runs: for the hub's libraries and for pip."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "PIP_NO_INDEX")
_LIBRARIES = ("huggingface_hub.constants", "datasets.config")
_SWITCH = "HF_HUB_OFFLINE"


@contextmanager
def offline() -> Iterator[None]:
    """Let the hub's libraries read their caches alone, and pip no index, in this process."""
    from huggingface_hub import constants

    was_offline = constants.HF_HUB_OFFLINE
    kept = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    _switch(is_offline=True)
    try:
        yield
    finally:
        _switch(is_offline=was_offline)
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _switch(*, is_offline: bool) -> None:
    """Set the switch of the libraries that are imported already."""
    for name in _LIBRARIES:
        if name in sys.modules:
            setattr(sys.modules[name], _SWITCH, is_offline)
