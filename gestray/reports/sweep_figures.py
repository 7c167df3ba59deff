"""The charts of a sweep, in the style of `gestray.reports.figures`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gestray.reports.figures import _GRID, _INK, _MUTED, _SERIES, _figure, _style, _svg

if TYPE_CHECKING:
    from gestray.reports.sweep import Axis, SweepReport


def parallel_coordinates(report: SweepReport) -> str:
    """A line a trial through its values and its first metric; the best is drawn heaviest.

    Trials that were stopped early are dashed: their metric is that of fewer steps.
    """
    metric, mode = next(iter(report.metrics.items()))
    with _style():
        figure, axes = _figure(2.9, width_in=7.4)
        scales = [_Scale.of_axis(axis, report.trials) for axis in report.axes]
        figures = [t.figures[metric] for t in report.trials if metric in t.figures]
        scales.append(_Scale.of_metric(metric, figures, mode))
        best = report.ranking[0] if report.ranking else None
        for trial in report.trials:
            if metric not in trial.figures:
                continue
            values = [trial.values[axis.key] for axis in report.axes] + [trial.figures[metric]]
            heights = [scale.place(value) for scale, value in zip(scales, values, strict=True)]
            is_best, complete = trial.number == best, trial.state == "complete"
            axes.plot(
                range(len(scales)),
                heights,
                color=_SERIES[1] if is_best else _SERIES[0] if complete else _MUTED,
                linewidth=2.4 if is_best else 1.0,
                linestyle="-" if complete else (0, (3, 2)),
                alpha=1.0 if is_best else 0.65,
                zorder=3 if is_best else 2,
            )
        for place, scale in enumerate(scales):
            axes.axvline(place, color=_GRID, linewidth=1)
            for value, text in scale.ticks():
                axes.annotate(
                    text, (place, value), (3, 0), textcoords="offset points", va="center",
                    fontsize=6.5, color=_MUTED,
                )  # fmt: skip
        axes.set_xticks(range(len(scales)), [scale.name for scale in scales])
        axes.set_yticks(())
        axes.set_xlim(-0.1, len(scales) - 0.6)
        axes.set_ylim(-0.06, 1.06)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(axis="x", length=0, labelcolor=_INK)
        return _svg(figure, "Parallel coordinates of all trials")


def importances(shares: Mapping[str, float]) -> str:
    """The share of each key in what decides the metric; "" without shares."""
    if not shares:
        return ""
    names = sorted(shares, key=lambda name: shares[name])
    with _style():
        figure, axes = _figure(0.6 + 0.3 * len(names))
        axes.barh(names, [100 * shares[name] for name in names], 0.6, color=_SERIES[0])
        axes.set_xlim(0, 100)
        axes.set_xlabel("share, percent")
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0, labelcolor=_INK)
        return _svg(figure, "Share of each value in the metric")


def curves(report: SweepReport) -> str:
    """The first metric of every trial over its steps."""
    metric = next(iter(report.metrics))
    best = report.ranking[0] if report.ranking else None
    with _style():
        figure, axes = _figure(2.3)
        positive = True
        for trial in report.trials:
            points = [(step, value) for step, value in trial.curve.items() if math.isfinite(value)]
            if not points:
                continue
            positive &= all(value > 0 for _, value in points)
            is_best = trial.number == best
            complete = trial.state == "complete"
            axes.plot(
                *zip(*points, strict=True),
                color=_SERIES[1] if is_best else _SERIES[0] if complete else _MUTED,
                linewidth=2.2 if is_best else 1.0,
                marker="o",
                markersize=2,
                zorder=3 if is_best else 2,
            )
        if positive and report.trials:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_xlabel("step")
        axes.set_ylabel(metric)
        return _svg(figure, f"{metric} of every trial over its steps")


class _Scale:
    """Where a value lies on a vertical axis, from 0 to 1."""

    def __init__(
        self, name: str, low: float, high: float, log: bool = False, flip: bool = False
    ) -> None:
        self.name, self.low, self.high, self.log, self.flip = name, low, high, log, flip
        self.choices: list[Any] | None = None

    @classmethod
    def of_axis(cls, axis: Axis, trials: Any) -> _Scale:
        values = [trial.values[axis.key] for trial in trials]
        if axis.choices is not None:
            scale = cls(axis.key, 0, max(1, len(axis.choices) - 1))
            scale.choices = list(axis.choices)
            return scale
        return cls(axis.key, min(values), max(values), axis.is_log)

    @classmethod
    def of_metric(cls, metric: str, values: list[float], mode: str) -> _Scale:
        """The better, the higher: lines of good trials rise."""
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        log = min(finite) > 0 and max(finite) > 3 * min(finite)
        return cls(metric, min(finite), max(finite), log, mode == "min")

    def place(self, value: Any) -> float:
        if self.choices is not None:
            value = self.choices.index(value)
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = 0.5 if high == low else (value - low) / (high - low)
        if not math.isfinite(share):
            share = 1.0
        return 1 - share if self.flip else share

    def ticks(self) -> list[tuple[float, str]]:
        from gestray.reports.sweep import shown

        if self.choices is not None:
            return [(self.place(value), shown(value)) for value in self.choices]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        values = dict.fromkeys((self.low, middle, self.high))
        return [(self.place(value), f"{value:.3g}") for value in values]
