"""How the user called fim, so that printed commands work as printed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

PROGRAM_NAME = "fim"


def program_name() -> str:
    """Return ``fim`` where the shell finds this very program under that name, else its path."""
    called = Path(sys.argv[0])
    if called.name not in {PROGRAM_NAME, "fim-tune"}:
        called = Path(sys.executable).with_name(PROGRAM_NAME)
    found = shutil.which(called.name)
    if found is not None and Path(found).resolve() == called.resolve():
        return called.name
    try:
        return os.path.relpath(called) if called.is_relative_to(Path.cwd()) else str(called)
    except OSError:
        return str(called)
