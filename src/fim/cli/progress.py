"""Progress of long work on stderr: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from fim.cli.output import Output
from fim.logger import visible
from fim.types import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichBar

PLAIN_INTERVAL_SECONDS = 10.0
_MINUTE_SECONDS = 60
_MIN_SHARE_DONE = 0.05
_MIB_PER_GIB = 1024
_FACT_FORMS: Mapping[str, Callable[[float], str]] = {
    "lr": lambda value: f"lr {value:.2g}",
    "tokens_per_second": lambda value: f"{value:,.0f} tokens/s",
    "supervised_tokens_per_second": lambda value: f"{value:,.0f} trained tokens/s",
    "holes_per_second": lambda value: f"{value:.2f} holes/s",
    "memory_mib": lambda value: f"{value / _MIB_PER_GIB:.1f} GiB",
    "eval_loss": lambda value: f"held-out loss {value:.4g}",
    "nll_per_token": lambda value: f"gold NLL {value:.3f}",
    "exact_match": lambda value: f"exact {value:.0%}",
    "edit_similarity": lambda value: f"edit similarity {value:.3f}",
    "stop_rate": lambda value: f"stops {value:.0%}",
}


def make_progress(output: Output, *, is_wanted: bool = True) -> Progress:
    """Return the progress that fits the output: live, plain, or none in quiet mode.

    Args:
        output: Sink of the command.
        is_wanted: False shows nothing.
    """
    if output.is_quiet or not is_wanted:
        return SilentProgress()
    console = output.console()
    return LiveProgress(console) if console.is_terminal else PlainProgress(output.say)


class SilentProgress:
    """Shows nothing."""

    def start(self, stage: str, total: int | None) -> None:
        """Open a stage."""

    def advance(self, done: int, **facts: float | str) -> None:
        """Report the units done so far."""

    def finish(self, summary: str = "") -> None:
        """Close the open stage."""


class PlainProgress:
    """One line when a stage opens, one at most every few seconds, one when it closes.

    Args:
        say: Writes a line.
        clock: Seconds that only grow.
        interval_seconds: Least time between two lines.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        interval_seconds: float = PLAIN_INTERVAL_SECONDS,
    ) -> None:
        self._say = say
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._stage = ""
        self._total: int | None = None
        self._started = 0.0
        self._told = 0.0

    def start(self, stage: str, total: int | None) -> None:
        """Open a stage."""
        self._stage, self._total = stage, total
        self._started = self._told = self._clock()
        self._say(f"{stage} ..." if total is None else f"{stage}: {total:,} to do")

    def advance(self, done: int, **facts: float | str) -> None:
        """Report the units done so far, as a line when the last one is old enough."""
        now = self._clock()
        if now - self._told < self._interval_seconds:
            return
        self._told = now
        parts = [f"{done:,}" if self._total is None else f"{done:,}/{self._total:,}"]
        left = remaining_seconds(done, self._total, now - self._started)
        if left is not None:
            parts.append(f"{format_seconds(left)} left")
        if facts:
            parts.append(format_facts(facts))
        self._say(f"{self._stage}: {', '.join(parts)}")

    def finish(self, summary: str = "") -> None:
        """Close the open stage."""
        spent = format_seconds(self._clock() - self._started)
        self._say(f"{self._stage}: {summary or 'done'} ({spent})")


class LiveProgress:
    """A bar with the units done, the time left and the current figures.

    Args:
        console: Terminal that shows the bar.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: RichBar | None = None
        self._stage = ""
        self._started = 0.0

    def start(self, stage: str, total: int | None) -> None:
        """Open a stage."""
        self._close()
        self._stage, self._started = visible(stage), time.monotonic()
        self._bar = _bar(self._console)
        self._bar.add_task(self._stage, total=total, facts="")
        self._bar.start()

    def advance(self, done: int, **facts: float | str) -> None:
        """Report the units done so far and its current figures."""
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=done, facts=visible(format_facts(facts))
            )

    def finish(self, summary: str = "") -> None:
        """Close the open stage and leave one line behind."""
        self._close()
        spent = format_seconds(time.monotonic() - self._started)
        line = visible(f"{self._stage}: {summary or 'done'} ({spent})")
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def remaining_seconds(done: int, total: int | None, spent_seconds: float) -> float | None:
    """Return the time left at the mean pace so far; None while nothing can be said.

    Before a twentieth is done the pace is mostly what starting cost.
    """
    if total is None or done <= 0 or done < total * _MIN_SHARE_DONE:
        return None
    return spent_seconds / done * max(total - done, 0)


def format_seconds(seconds: float) -> str:
    """Return a time as people say it: ``8 s``, ``2:05``, ``1:02:05``."""
    whole = round(seconds)
    if whole < _MINUTE_SECONDS:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE_SECONDS)
    hours, minutes = divmod(minutes, _MINUTE_SECONDS)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_facts(facts: Mapping[str, float | str]) -> str:
    """Return current figures as ``loss 1.83, lr 0.0005, 812 tokens/s``."""
    return ", ".join(_fact(name, value) for name, value in facts.items())


def _fact(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return f"{name} {value}"
    form = _FACT_FORMS.get(name)
    if form is not None:
        return form(float(value))
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _bar(console: Console) -> RichBar:
    from rich.console import RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichBar
    from rich.text import Text

    class BarOverFacts(RichBar):
        """A bar with the current figures on lines of their own, so that none is cut off."""

        def get_renderables(self) -> Iterator[RenderableType]:
            yield from super().get_renderables()
            for task in self.tasks:
                if task.fields["facts"]:
                    yield Text(f"  {task.fields['facts']}")

    return BarOverFacts(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("left", markup=False),
        console=console,
        transient=True,
    )
