"""What a person sees while a job runs: progress with rates and time left, tables at the end.

Progress and remarks go to standard error. Results go to standard output: a
table for people or, with `--json`, one object for machines.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from jobs.telemetry import gauge

remarks = Console(stderr=True, highlight=False)
results = Console(highlight=False)


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Keep standard output for `results`: what libraries print there goes to standard error.

    At the level of file descriptors, because some of them print from C++.
    """
    sys.stdout.flush()
    original = os.dup(1)
    os.dup2(2, 1)
    python_stdout, sys.stdout = sys.stdout, sys.stderr
    with os.fdopen(os.dup(original), "w") as stream:
        results.file = stream
        try:
            yield
        finally:
            stream.flush()
            sys.stdout = python_stdout
            os.dup2(original, 1)
            os.close(original)
            # None is whatever standard output is when something is printed.
            results.file = None  # type: ignore[assignment]


class Tracker(Protocol):
    """Moves a progress bar."""

    def __call__(self, done: float, note: str = "") -> None:
        """`done` in the units of the total, since the start."""


_bars = True


def without_bars() -> None:
    """Lines in the place of bars from now on: for processes that share a terminal."""
    global _bars
    _bars = False


@contextmanager
def progress(description: str, total: float) -> Iterator[Tracker]:
    """A progress bar; where no terminal listens, a line at every tenth. Ray's metrics hear it."""
    with _bar(description, total) as shown:

        def track(done: float, note: str = "") -> None:
            shown(done, note)
            gauge("gestray_progress_done", done, what=description)
            gauge("gestray_progress_total", total, what=description)

        yield track


@contextmanager
def _bar(description: str, total: float) -> Iterator[Tracker]:
    if not (_bars and remarks.is_terminal):
        yield _Lines(description, total)
        return
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=remarks,
    )
    with bar:
        task = bar.add_task(description, total=total, note="")
        yield lambda done, note="": bar.update(task, completed=done, note=note)


class _Rate(ProgressColumn):
    """Steps or rows a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.1f}/s" if task.speed else "", style="cyan")


class _Lines:
    def __init__(self, description: str, total: float) -> None:
        self.description = description
        self.total = total
        self.tenth = 0
        self.began: tuple[float, float] | None = None

    def __call__(self, done: float, note: str = "") -> None:
        now = time.monotonic()
        first, at = self.began = self.began or (done, now)
        tenth = int(10 * done / self.total) if self.total else 10
        if tenth > self.tenth:
            self.tenth = tenth
            line = f"{self.description}: {done:g}/{self.total:g}  {note}"
            # Of the pace since the first word of it: what came before was the start.
            if first < done < self.total:
                left = timedelta(seconds=round((now - at) / (done - first) * (self.total - done)))
                line += f"{', ' if note else ''}{left} left"
            remarks.print(line, markup=False, soft_wrap=True)


def metrics_table(title: str, metrics: Mapping[str, Any]) -> Table:
    """Figures of a stage as a two-column table."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            text = str(value)
        else:
            text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        table.add_row(name, text)
    return table
