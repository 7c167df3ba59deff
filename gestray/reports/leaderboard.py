"""The leaderboard of an evaluation for a README, and for machines.

The same figures as on the report's page, without drawings: Markdown tables, and one JSON
object with every figure of every method, its intervals, and the figures of each seed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gestray.reports.page import number, percent, points, span
from gestray.reports.retrieval import (
    DIRECTION_TITLES,
    MEANING_COLUMNS,
    PROTOCOL_COLUMNS,
    WORD_COLUMNS,
    Column,
    Comparison,
    MethodResult,
    RetrievalReport,
    direction_columns,
    present,
)


def leaderboard_json(report: RetrievalReport) -> str:
    """Every figure of the report. Fractions, not percent; intervals are [low, high]."""
    values: dict[str, Any] = {
        "title": report.title,
        "synthetic": report.synthetic,
        "corpus": dict(report.corpus),
        "grounder": report.grounder,
        "gallery_size": report.gallery_size,
        "protocols": {name: list(shape) for name, shape in report.protocols.items()},
        "meanings_from": report.meanings_from,
        "chance": dict(report.chance),
    }
    if report.comparison:
        gain = report.comparison.gain
        values |= {
            "method": report.comparison.method,
            "baseline": report.comparison.baseline,
            "gain_of": report.comparison.figure,
            "gain_absolute": gain.absolute,
            "gain_relative": gain.relative,
            "gain_interval": gain.relative_interval,
            "seeds": {
                method.name: method.seeds
                for method in report.methods
                if method.name in (report.comparison.method, report.comparison.baseline)
            },
        }
    values["comparisons"] = [asdict(comparison) for comparison in report.comparisons]
    values["methods"] = {
        method.name: {
            "seeds": method.seeds,
            "figures": dict(method.figures),
            "intervals": dict(method.intervals),
            "per_seed": {str(seed): dict(found) for seed, found in method.per_seed.items()},
            "recall_curve": {name: list(curve) for name, curve in method.recall_curve.items()},
        }
        for method in report.methods
    }
    values["confusions"] = [asdict(confusion) for confusion in report.confusions]
    return json.dumps(values, indent=1) + "\n"


def methods_of(text: str) -> tuple[list[MethodResult], int, bool]:
    """The methods of a leaderboard's JSON, the gallery size, and whether it is synthetic."""
    values = json.loads(text)
    methods = [
        MethodResult(
            name,
            method["figures"],
            {figure: tuple(interval) for figure, interval in method["intervals"].items()},
            {int(seed): figures for seed, figures in method["per_seed"].items()},
            method["recall_curve"],
        )
        for name, method in values["methods"].items()
    ]
    return methods, values["gallery_size"], values["synthetic"]


def leaderboard_markdown(report: RetrievalReport) -> str:
    """Tables in percent, 95 % intervals in brackets; what no method has is left out."""
    synthetic = " Synthetic data." if report.synthetic else ""
    lines = [
        f"# {report.title}",
        "",
        f"{number(report.gallery_size)} test phrases; in percent, with 95 % bootstrap intervals "
        f"over takes, queries and seeds. Anchors: {report.grounder}.{synthetic}",
    ]
    for direction, title in DIRECTION_TITLES.items():
        lines += _section(title, direction_columns(direction), report.methods, intervals=True)
    sections = (
        ("Other protocols", PROTOCOL_COLUMNS, False),
        ("Meaning: text → gesture, the query's own recording left out", MEANING_COLUMNS, True),
        ("Words and speakers", WORD_COLUMNS, True),
    )
    for title, columns, intervals in sections:
        lines += _section(title, columns, report.methods, intervals)
    if report.chance:
        chances = ", ".join(f"{name} {percent(value)}" for name, value in report.chance.items())
        lines += ["", f"Chance: {chances}."]
    if report.comparisons:
        lines += ["", "## Comparisons", ""]
        lines += ["| method | over | in | gain, points | relative, % |", "|---|---|---|---|---|"]
        lines += [_gain(comparison) for comparison in report.comparisons]
    return "\n".join(lines) + "\n"


def _section(
    title: str, columns: Sequence[Column], methods: Sequence[MethodResult], intervals: bool
) -> list[str]:
    columns = present(columns, methods)
    if not columns:
        return []
    lines = ["", f"## {title}", ""]
    lines.append("| method | seeds | " + " | ".join(c.title for c in columns) + " |")
    lines.append("|---|---|" + "---|" * len(columns))
    for method in methods:
        if any(column.name in method.figures for column in columns):
            cells = [_cell(method, column, intervals) for column in columns]
            lines.append(f"| {method.name} | {len(method.seeds)} | " + " | ".join(cells) + " |")
    return lines


def _cell(method: MethodResult, column: Column, intervals: bool) -> str:
    if column.name not in method.figures:
        return "–"
    value = method.figures[column.name]
    text = f"{value:.1f}" if column.is_rank else percent(value)
    interval = method.intervals.get(column.name) if intervals else None
    return f"{text} ({span(interval, column.is_rank)})" if interval else text


def _gain(comparison: Comparison) -> str:
    gain = comparison.gain
    low, high = gain.absolute_interval
    relative = "–"
    if gain.relative is not None:
        relative = points(gain.relative)
        if gain.relative_interval:
            ends = " to ".join(points(end) for end in gain.relative_interval)
            relative += f" ({ends})"
    return (
        f"| {comparison.method} | {comparison.baseline} | {comparison.figure} | "
        f"{points(gain.absolute)} ({points(low)} to {points(high)}) | {relative} |"
    )
