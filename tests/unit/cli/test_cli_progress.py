"""Progress on a terminal, on a pipe and nowhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fim.cli.output import Output, OutputMode
from fim.cli.progress import (
    LiveProgress,
    PlainProgress,
    SilentProgress,
    format_facts,
    format_seconds,
    make_progress,
    remaining_seconds,
)
from fim.types import Progress


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def test_plain_lines_now_and_then() -> None:
    clock, lines = Clock(), list[str]()
    progress: Progress = PlainProgress(lines.append, clock=clock, interval_seconds=10)
    progress.start("training", 1000)
    for second in range(1, 31):
        clock.seconds = second
        progress.advance(second * 10, loss=1.83333, phase="warm")
    progress.finish()
    assert lines == [
        "training: 1,000 to do",
        "training: 100/1,000, 1:30 left, loss 1.833, phase warm",
        "training: 200/1,000, 1:20 left, loss 1.833, phase warm",
        "training: 300/1,000, 1:10 left, loss 1.833, phase warm",
        "training: done (30 s)",
    ]


def test_plain_lines_without_a_total() -> None:
    clock, lines = Clock(), list[str]()
    progress = PlainProgress(lines.append, clock=clock, interval_seconds=1)
    progress.start("scanning", None)
    clock.seconds = 2
    progress.advance(1234)
    progress.finish("1,300 files")
    assert lines == ["scanning ...", "scanning: 1,234", "scanning: 1,300 files (2 s)"]


def test_live_bar_shows_stage_count_and_facts() -> None:
    screen = io.StringIO()
    progress = LiveProgress(Console(file=screen, force_terminal=True, width=100))
    progress.advance(1)
    progress.start("scoring", 10)
    progress.start("training", 10)
    progress.advance(4, loss=1.5)
    progress.finish("loss 1.5")
    text = screen.getvalue()
    assert "4/10" in text
    assert "loss 1.5" in text
    assert "training: loss 1.5 (0 s)" in text


def test_silence() -> None:
    progress: Progress = SilentProgress()
    progress.start("a", 1)
    progress.advance(1, loss=1.0)
    progress.finish("b")


@pytest.mark.parametrize(
    ("mode", "is_wanted", "kind"),
    [
        (OutputMode.HUMAN, True, PlainProgress),
        (OutputMode.JSON, True, PlainProgress),
        (OutputMode.QUIET, True, SilentProgress),
        (OutputMode.HUMAN, False, SilentProgress),
    ],
)
def test_progress_that_fits_a_pipe(mode: OutputMode, kind: type, *, is_wanted: bool) -> None:
    output = Output(mode, stderr=io.StringIO())
    assert type(make_progress(output, is_wanted=is_wanted)) is kind


def test_progress_that_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert type(make_progress(Output(stderr=io.StringIO()))) is LiveProgress


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (125, "2:05"), (3725, "1:02:05")]
)
def test_times(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_time_left() -> None:
    assert remaining_seconds(0, 10, 5) is None
    assert remaining_seconds(5, None, 5) is None
    assert remaining_seconds(1, 66, 24) is None
    assert remaining_seconds(4, 66, 24) == 372
    assert remaining_seconds(5, 10, 5) == 5
    assert remaining_seconds(12, 10, 5) == 0


def test_facts() -> None:
    assert format_facts({"loss": 1.8333, "lr": 5e-4, "step": 3}) == "loss 1.833, lr 0.0005, step 3"


def test_the_figures_of_training_are_told_in_words_that_fit() -> None:
    line = format_facts(
        {
            "loss": 1.8333,
            "lr": 0.000512,
            "tokens_per_second": 812.4,
            "supervised_tokens_per_second": 34.2,
            "holes_per_second": 2.7,
            "memory_mib": 3174.0,
            "eval_loss": 2.0123,
            "nll_per_token": 1.5,
            "exact_match": 0.125,
            "edit_similarity": 0.4421,
            "stop_rate": 0.5,
        }
    )
    assert line == (
        "loss 1.833, lr 0.00051, 812 tokens/s, 34 trained tokens/s, 2.70 holes/s, 3.1 GiB, "
        "held-out loss 2.012, gold NLL 1.500, exact 12%, edit similarity 0.442, stops 50%"
    )


def test_no_figure_is_cut_off_on_a_narrow_terminal() -> None:
    screen = io.StringIO()
    progress = LiveProgress(Console(file=screen, force_terminal=True, width=60))
    progress.start("training", 10)
    progress.advance(4, loss=1.5, tokens_per_second=812.0, holes_per_second=2.7, memory_mib=2048.0)
    progress.finish()
    text = screen.getvalue()
    for figure in ("4/10", "loss 1.5", "812 tokens/s", "2.70 holes/s", "GiB"):
        assert figure in text
