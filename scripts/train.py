"""Train as configured by ``FIM_*``, ``.env`` and ``fim.toml``: the door to ``fim train``."""

from __future__ import annotations

import sys

from fim.cli.app import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
