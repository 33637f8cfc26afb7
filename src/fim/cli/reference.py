"""The command line's reference page, made from the ``--help`` of every command.

``python -m fim.cli.reference`` writes ``docs/reference/cli.md``; with ``--check`` it writes nothing
and returns 1 when the page is stale.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PAGE = Path("docs/reference/cli.md")
HELP_COLUMNS = 88
_HEAD = """# Command line

Generated from `--help` by `make docs`; do not edit. Exit codes: 0 done, 1 unexpected, 2 usage or
configuration, 3 data, 4 model, dependency or hardware, 5 training, 6 evaluation under the asked
threshold, 7 server or export, 130 interrupted. Answers go to stdout, talk to stderr; with `--json`
the answer is one object, and so is a failure: `{"error": {"kind", "message", "hint", "context"}}`.
"""


def render_page() -> str:
    """Return the page: one section per command, in the order in which the commands are listed."""
    os.environ["TYPER_USE_RICH"] = "0"
    sections = [f"## `{name}`\n\n```text\n{text}\n```\n" for name, text in _helps()]
    return "\n".join([_HEAD, *sections])


def _helps() -> Iterator[tuple[str, str]]:
    import typer

    from fim.cli.app import make_app
    from fim.cli.program import PROGRAM_NAME

    root = typer.main.get_command(make_app())
    pending: list[tuple[str, object, object]] = [(PROGRAM_NAME, root, None)]
    while pending:
        name, command, parent = pending.pop(0)
        context = command.context_class(  # type: ignore[attr-defined]
            command, info_name=name.split()[-1], parent=parent, terminal_width=HELP_COLUMNS
        )
        lines = command.get_help(context).splitlines()  # type: ignore[attr-defined]
        yield name, "\n".join(line.rstrip() for line in lines)
        children = getattr(command, "commands", {})
        pending = [(f"{name} {verb}", child, context) for verb, child in children.items()] + pending


def main(arguments: Sequence[str]) -> int:
    """Write the page, or say whether it is fresh with ``--check``; return the exit code."""
    page = render_page()
    if "--check" not in arguments:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write(f"{PAGE} is stale\nhint: make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
