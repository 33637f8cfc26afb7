"""Complete ``--prefix … --suffix … --language …``: the door to ``fim complete``."""

from __future__ import annotations

import sys

from fim.cli.app import main

if __name__ == "__main__":
    main(["complete", *sys.argv[1:]])
