"""The codebook report: what a tokenizer keeps of motion, and what its codes stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gestray.reports.page import render_page

# Name, title, unit; see `gestray.metrics.reconstruction`.
MEASURES = (
    ("wrist_mm", "Wrists", "mm"),
    ("finger_mm", "Fingers", "mm"),
    ("mpjpe_mm", "Position", "mm"),
    ("geodesic_deg", "Rotation", "°"),
    ("velocity_mm_s", "Velocity", "mm/s"),
    ("translation_mm", "Translation", "mm"),
    ("contacts_right", "Contacts right", "share"),
    ("expressions_rms", "Expressions", "RMS"),
)
# Those drawn over the levels, for all parts that have them.
_DRAWN = ("mpjpe_mm", "geodesic_deg", "velocity_mm_s")


@dataclass(frozen=True)
class TokenizerReport:
    """All that the report shows.

    Attributes:
        synthetic: the corpus is synthetic; said wherever a figure is printed.
        split: whose phrases were rebuilt.
        corpus: facts of the corpus, label → value.
        gesture: for 1, 2, … levels the errors of ``wrist_mm`` and ``finger_mm``.
        errors: part → the same of the other `MEASURES`; those a part does not have (the
            face has no positions) are missing.
        codebook_use: part → one (fraction of codes in use, perplexity) a level.
        losses: rows of the training run, each with `step` and named losses.
        primitives: file name of the page that shows every code.
        provenance: (stage, artifact URI, seconds) in the order they ran.
    """

    title: str
    synthetic: bool
    split: str
    corpus: Mapping[str, str | int | float]
    gesture: Sequence[Mapping[str, float]]
    errors: Mapping[str, Sequence[Mapping[str, float]]]
    codebook_use: Mapping[str, Sequence[tuple[float, float]]]
    losses: Sequence[Mapping[str, float]] = ()
    primitives: str = ""
    provenance: Sequence[tuple[str, str, float]] = field(default_factory=tuple)


@dataclass(frozen=True)
class Primitive:
    """One first-level code: how often it occurs, what it looks like, in a drawing and in words.

    `drawing` is trusted markup from `gestray.reports.strips`.
    """

    part: str
    code: int
    count: int
    share: float
    sentence: str
    drawing: str


def render(report: TokenizerReport) -> str:
    """The report as one HTML page."""
    from gestray.reports import figures

    quality = [
        (
            title,
            figures.by_levels(
                {
                    part: [levels[measure] for levels in rows]
                    for part, rows in report.errors.items()
                    if measure in rows[0]
                },
                unit,
                f"{title} error by number of levels",
            ),
        )
        for measure, title, unit in MEASURES
        if measure in _DRAWN
    ]
    return render_page(
        "tokenizer.html.j2",
        report=report,
        tables={"gestures": report.gesture, **report.errors},
        measures=MEASURES,
        quality_figures=[(title, figure) for title, figure in quality if figure],
        codebook_figure=figures.codebook_use(report.codebook_use),
        loss_figure=figures.losses(report.losses, "tokenizer") if report.losses else "",
    )


@dataclass(frozen=True)
class PrimitivesPage:
    """The browsable page of a tokenizer's first-level codes, the most frequent first."""

    title: str
    synthetic: bool
    primitives: Sequence[Primitive]


def render_primitives(page: PrimitivesPage) -> str:
    """The page of primitives as HTML; it filters by part and by words of the sentences."""
    parts = list(dict.fromkeys(primitive.part for primitive in page.primitives))
    return render_page("primitives.html.j2", report=page, parts=parts)
