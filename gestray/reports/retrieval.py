"""The retrieval report: how good the encoders are, and why, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gestray.metrics.retrieval import (
    DIRECTIONS,
    GESTURE_TO_TEXT,
    TEXT_TO_GESTURE,
    Interval,
    PairedGain,
)
from gestray.reports.page import render_page

DIRECTION_TITLES = {TEXT_TO_GESTURE: "Text → gesture", GESTURE_TO_TEXT: "Gesture → text"}

# Name, title, and whether lower is better.
METRICS = (
    ("r1", "R@1", False),
    ("r5", "R@5", False),
    ("r10", "R@10", False),
    ("medr", "MedR", True),
)


@dataclass(frozen=True)
class MethodResult:
    """What one method reached on the test gallery, averaged over its seeds.

    Attributes:
        metrics: direction → `r1`, `r5`, `r10` (fractions) and `medr` (a rank).
        intervals: the same shape, each a (low, high); parts may be missing.
        seeds: the seeds of the training runs that are averaged.
        recall_curve: direction → recall at k = 1, 2, …
        losses: rows of one training run, each with `step` and named losses.
    """

    name: str
    metrics: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    recall_curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    losses: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class Comparison:
    """The gain in R@1 of one method over another, in one direction."""

    method: str
    baseline: str
    direction: str
    gain: PairedGain


@dataclass(frozen=True)
class GalleryHit:
    """One gesture that a method found; `strip_svg` is trusted markup from `strip_svg`."""

    text: str
    score: float
    take_id: str
    start_s: float
    end_s: float
    correct: bool
    strip_svg: str


@dataclass(frozen=True)
class GalleryQuery:
    """A query's words, and what each method found for them, best first."""

    text: str
    hits: Mapping[str, Sequence[GalleryHit]]


@dataclass(frozen=True)
class RetrievalReport:
    """All that the report shows.

    Attributes:
        synthetic: the corpus is synthetic; said wherever a figure is printed.
        gallery_size: items a query chooses from; chance is R@k = k / gallery_size.
        corpus: facts of the corpus, label → value.
        grounder: which grounder wrote the anchors' intents.
        comparison: the headline gain, None where there is a single method.
        tokenizer_losses: rows with `step` and named losses.
        codebook_use: stream → one (fraction of codes in use, perplexity) a level.
        gallery: example queries.
        provenance: (stage, artifact URI, seconds) in the order they ran.
    """

    title: str
    synthetic: bool
    gallery_size: int
    corpus: Mapping[str, str | int | float]
    grounder: str
    methods: Sequence[MethodResult]
    comparison: Comparison | None = None
    tokenizer_losses: Sequence[Mapping[str, float]] = ()
    codebook_use: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    gallery: Sequence[GalleryQuery] = ()
    provenance: Sequence[tuple[str, str, float]] = ()


def render(report: RetrievalReport) -> str:
    """The report as one HTML page."""
    from gestray.reports import figures

    recall_figures = [
        (DIRECTION_TITLES[direction], figures.recall_curves(report.methods, direction))
        for direction in DIRECTIONS
        if any(method.recall_curve.get(direction) for method in report.methods)
    ]
    losses = [("Tokenizer", report.tokenizer_losses)]
    losses += [(method.name, method.losses) for method in report.methods]
    return render_page(
        "retrieval.html.j2",
        report=report,
        directions=DIRECTION_TITLES,
        metrics=METRICS,
        best=best_values(report.methods),
        forest=figures.recall_at_1(report.methods, report.gallery_size),
        recall_figures=recall_figures,
        codebook_figure=figures.codebook_use(report.codebook_use),
        loss_figures=[(name, figures.losses(rows, name)) for name, rows in losses if rows],
    )


def best_values(methods: Sequence[MethodResult]) -> dict[tuple[str, str], float]:
    """(direction, metric) → the best value reached, where the methods differ in it."""
    best = {}
    for direction in DIRECTIONS:
        for metric, _, lower_is_better in METRICS:
            values = {method.metrics[direction][metric] for method in methods}
            if len(values) > 1:
                best[direction, metric] = min(values) if lower_is_better else max(values)
    return best
