"""The charts of a preference study, in the style of `gestray.reports.figures`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gestray.reports.figures import _INK, _MUTED, _SERIES, _figure, _style, _svg

if TYPE_CHECKING:
    from gestray.metrics.preference import Preference
    from gestray.reports.study import StudyReport

_TEXT = 34


def questions(report: StudyReport) -> str:
    """The share of the first method in every question, with its exact interval."""
    with _style():
        figure, axes = _figure(0.75 + 0.36 * len(report.questions), width_in=5.2)
        for row, found in enumerate(report.overall.values()):
            _interval(axes, row, found, _SERIES[0])
        _finish(axes, list(report.questions), report)
        return _svg(figure, "Share of each question with its interval")


def items(report: StudyReport) -> str:
    """The share of the first method in every pair, of the leading question; best on top."""
    lead = report.lead
    decided = [item for item in report.items if item.preferences[lead].decided]
    if not decided:
        return ""
    ordered = sorted(decided, key=lambda item: -item.preferences[lead].share)
    with _style():
        figure, axes = _figure(0.75 + 0.2 * len(ordered), width_in=7.4)
        for row, item in enumerate(ordered):
            _interval(axes, row, item.preferences[lead], _SERIES[1])
        _finish(axes, [_short(item.text or item.key) for item in ordered], report)
        return _svg(figure, f"Share of each pair with its interval, {lead}")


def _interval(axes: Any, row: int, found: Preference, colour: str) -> None:
    if not found.decided:
        return
    axes.plot([100 * end for end in found.interval], [row, row], color=colour, linewidth=1.8)
    axes.plot([100 * found.share], [row], "o", color=colour, markersize=6, zorder=3)


def _finish(axes: Any, names: list[str], report: StudyReport) -> None:
    first, second = report.methods
    axes.axvline(50, color=_MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"← {second}    preferred, percent    {first} →")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=_INK)


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
