"""The report of generated motion: every row in both modes, and what was seen at the words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gestray.metrics.generation.figures import Figure
from gestray.metrics.generation.measure import CORRECTED, FIGURES, PUBLISHED
from gestray.reports.page import render_page

if TYPE_CHECKING:
    from rich.table import Table

SEMANTIC, ENCODER, GATE, INSERTED = "semantic", "encoder", "gate", "inserted"
TABLES: Mapping[str, Sequence[Figure]] = {
    **FIGURES,
    SEMANTIC: (
        Figure("intent", "promised intent, share", "higher", 3),
        Figure("fields", "fields of the form, share", "higher", 3),
        Figure("gestures", "any gesture, share", "real", 3),
    ),
    ENCODER: (
        Figure("similarity", "similarity to what is said", "higher", 3),
        Figure("r1", "R@1 among phrases", "higher", 3),
    ),
    GATE: (
        Figure("balanced_accuracy", "balanced accuracy", "higher", 3),
        Figure("accuracy", "accuracy", "higher", 3),
        Figure("recall", "recall", "higher", 3),
        Figure("share", "frames meant, share", "real", 3),
    ),
    INSERTED: (
        Figure("recognised", "retrieved form seen at the word, share", "higher", 3),
        Figure("alike", "retrieved form seen, share", "higher", 3),
        Figure("at_word", "stroke within 0.2 s of the word, share", "higher", 3),
        Figure("fields", "fields of the form, share", "higher", 3),
        Figure("peaks", "ways in or out with a hurried hand, share", "lower", 3),
        Figure("placed", "placed of those with a gesture, share", "higher", 3),
        Figure("a_minute", "placed a minute", "real", 2),
    ),
}
TITLES = {
    PUBLISHED: "Published mode",
    CORRECTED: "Corrected mode",
    SEMANTIC: "At the words",
    ENCODER: "By the encoder",
    GATE: "The semantic gate",
    INSERTED: "Retrieved gestures",
}
_UNAVAILABLE = "–"
# Characters of a row's name on one line, between columns, and at both ends of a table.
_NAMES, _GAP, _EDGES = 24, 3, 2


@dataclass(frozen=True)
class GenerationReport:
    """All that the report shows.

    Attributes:
        split: whose takes are scored, `takes` of them.
        seeds: that each generator moved with.
        synthetic: the corpus is; said wherever a figure is printed.
        smplx_model: whether joints and faces are SMPL-X's.
        beats: settings of the published beat consistency.
        rows: name → figures as ``mode.name``, bounds of their intervals as ``….low`` and
            ``….high``, and ``takes`` that there is motion for.
        provenance: (stage, artifact URI, seconds) in the order they ran.
    """

    title: str
    split: str
    takes: int
    seeds: Sequence[int]
    synthetic: bool
    smplx_model: bool
    beats: Mapping[str, float]
    rows: Mapping[str, Mapping[str, Any]]
    provenance: Sequence[tuple[str, str, float]] = ()


def cell(row: Mapping[str, Any], mode: str, figure: Figure) -> tuple[str, str]:
    """A figure and its interval as written; a dash and nothing where there is none."""
    key = f"{mode}.{figure.name}"
    value = row.get(key)
    if value is None or math.isnan(value):
        return _UNAVAILABLE, ""
    low, high = row.get(f"{key}.low"), row.get(f"{key}.high")
    digits = figure.digits
    span = "" if low is None or high is None else f"{low:.{digits}f}–{high:.{digits}f}"
    return f"{value:.{digits}f}", span


def tables_of(report: GenerationReport) -> dict[str, list[Figure]]:
    """Figures of each table; those that no row has are left out but for faces, which are named
    as what a model is needed for."""
    found = {}
    for mode, figures in TABLES.items():
        shown = [
            figure
            for figure in figures
            if figure.name in ("mse", "lvd")
            or any(cell(row, mode, figure)[0] != _UNAVAILABLE for row in report.rows.values())
        ]
        if any(figure.name not in ("mse", "lvd") for figure in shown):
            found[mode] = shown
    return found


def rows_of(report: GenerationReport, mode: str) -> dict[str, Mapping[str, Any]]:
    """The rows that a table is about: those with any of its figures."""
    figures = TABLES[mode]
    return {
        name: row
        for name, row in report.rows.items()
        if any(cell(row, mode, figure)[0] != _UNAVAILABLE for figure in figures)
    }


def notes_of(report: GenerationReport) -> list[str]:
    """What a reader must know to compare the figures with others."""
    beats = report.beats
    notes = [
        f"{report.takes} takes of split {report.split}; seeds {', '.join(map(str, report.seeds))}; "
        "intervals are the middle 95 % of a bootstrap over takes",
        f"published BC: {beats['trim']:g} frames trimmed at either end, speed threshold "
        f"{beats['threshold']:g}",
        "FGD by gestray's own autoencoder: it compares rows of this table, not of papers",
    ]
    if not report.smplx_model:
        notes.append(
            "joints of gestray's skeleton; MSE and LVD are unavailable: they need the vertices of "
            "an SMPL-X model (smplx_model=…)"
        )
    partial = {
        n: r["takes"] for n, r in report.rows.items() if r.get("takes", report.takes) < report.takes
    }
    notes += [f"{name}: motion for {count} of the takes" for name, count in partial.items()]
    if report.synthetic:
        notes.append("synthetic data")
    return notes


def render(report: GenerationReport) -> str:
    """The report as one HTML page."""
    return render_page(
        "generation.html.j2",
        report=report,
        tables=tables_of(report),
        titles=TITLES,
        notes=notes_of(report),
        rows_of=rows_of,
        cell=cell,
    )


def generation_tables(report: GenerationReport, width: int) -> list[Table]:
    """Tables for a terminal of `width` characters; under the last one, how to read them.

    One a mode, and more where its figures would not stand beside each other without being cut.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    tables = []
    for mode, figures in tables_of(report).items():
        rows = rows_of(report, mode)
        names = min(_NAMES, max(map(len, rows)))
        columns = [_Column.of(figure, rows.values(), mode) for figure in figures]
        for number, some in enumerate(_side_by_side(columns, width - names - _EDGES)):
            title = TITLES[mode] + (", continued" if number else "")
            table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
            table.add_column("motion", overflow="fold", width=names)
            for column in some:
                table.add_column(column.title, justify="right", width=column.width)
            for place, name in enumerate(rows):
                cells = (column.cells[place] for column in some)
                written = (f"{v}\n[dim]{span}[/dim]" if span else v for v, span in cells)
                table.add_row(escape(name), *written)
            tables.append(table)
    if tables:
        tables[-1].caption = escape("; ".join(notes_of(report)))
        tables[-1].caption_justify = "left"
    return tables


@dataclass(frozen=True)
class _Column:
    """A figure of all rows as a terminal shows it: what it is and its interval below."""

    title: str
    cells: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, figure: Figure, rows: Iterable[Mapping[str, Any]], mode: str) -> _Column:
        arrow = {"lower": " ↓", "higher": " ↑"}.get(figure.better, "")
        return cls(figure.title + arrow, [cell(row, mode, figure) for row in rows])

    @property
    def width(self) -> int:
        """So that nothing is cut but a title, between words."""
        return max(map(len, (*self.title.split(), *(text for c in self.cells for text in c))))


def _side_by_side(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """The columns in groups of which each has room in `width`, one column at least."""
    groups: list[list[_Column]] = []
    room = 0
    for column in columns:
        room -= _GAP + column.width
        if not groups or room < 0:
            groups.append([])
            room = width - _GAP - column.width
        groups[-1].append(column)
    return groups
