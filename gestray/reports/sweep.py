"""The sweep report: which values were tried, what came of them, and which of them matter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gestray.reports.page import duration, render_page

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Axis:
    """A key of the space: whether it is searched on a logarithmic scale, and its choices."""

    key: str
    is_log: bool = False
    choices: Sequence[Any] | None = None


@dataclass(frozen=True)
class SweepTrial:
    """A trial as the report shows it.

    Attributes:
        values: key of the space → value.
        figures: metric → that of the model it ended with.
        curve: step → the first metric.
    """

    number: int
    state: str
    why: str
    steps: int
    seconds: float
    values: Mapping[str, Any]
    figures: Mapping[str, float]
    curve: Mapping[int, float]


@dataclass(frozen=True)
class SweepReport:
    """All that the report shows.

    Attributes:
        metrics: name → ``min`` or ``max``; the first ranks the trials.
        ranking: numbers of the complete trials, the best first.
        front: those that none is better than in every metric.
        importances: key → share, of the figures at `importances_step`; empty where trials
            are too few.
        search: how values were chosen and trials stopped.
        provenance: (stage, artifact URI, seconds) of what trials read.
    """

    title: str
    synthetic: bool
    metrics: Mapping[str, str]
    axes: Sequence[Axis]
    trials: Sequence[SweepTrial]
    ranking: Sequence[int]
    front: Sequence[int]
    importances: Mapping[str, float]
    importances_step: int
    search: str
    provenance: Sequence[tuple[str, str, float]] = field(default_factory=tuple)


def ordered(report: SweepReport) -> list[SweepTrial]:
    """Complete trials by rank, then the others by how far they came."""
    place = {number: rank for rank, number in enumerate(report.ranking)}
    return sorted(
        report.trials,
        key=lambda trial: (place.get(trial.number, len(place)), -trial.steps, trial.number),
    )


def shown(value: Any) -> str:
    """A value of a config, short."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def render(report: SweepReport) -> str:
    """The report as one HTML page."""
    from gestray.reports import sweep_figures

    return render_page(
        "sweep.html.j2",
        report=report,
        trials=ordered(report),
        shown=shown,
        states={
            state: sum(trial.state == state for trial in report.trials)
            for state in ("complete", "stopped", "failed")
        },
        coordinates=sweep_figures.parallel_coordinates(report),
        importances_figure=sweep_figures.importances(report.importances),
        curves=sweep_figures.curves(report),
    )


def sweep_table(report: SweepReport) -> Table:
    """For the terminal: every trial, the best first; those of the front are bold."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(f"{report.title}: {report.search}"),
        caption="synthetic data" if report.synthetic else None,
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("trial", justify="right")
    for axis in report.axes:
        table.add_column(escape(axis.key), justify="right")
    for metric in report.metrics:
        table.add_column(escape(metric), justify="right")
    for name in ("steps", "time", ""):
        table.add_column(name, justify="right" if name else "left")
    for trial in ordered(report):
        row = [str(trial.number)]
        row += [shown(trial.values[axis.key]) for axis in report.axes]
        row += [
            f"{trial.figures[metric]:.5g}" if metric in trial.figures else "–"
            for metric in report.metrics
        ]
        row += [str(trial.steps), duration(trial.seconds)]
        row.append("" if trial.state == "complete" else f"{trial.state}: {trial.why[:60]}")
        table.add_row(*map(escape, row), style="bold" if trial.number in report.front else None)
    return table
