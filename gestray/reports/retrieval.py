"""The retrieval report: how good the encoders are, and why, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gestray.metrics.bootstrap import Interval, PairedGain
from gestray.metrics.retrieval import DIRECTIONS, GESTURE_TO_TEXT, TEXT_TO_GESTURE
from gestray.reports.page import render_page

DIRECTION_TITLES = {TEXT_TO_GESTURE: "Text → gesture", GESTURE_TO_TEXT: "Gesture → text"}


@dataclass(frozen=True)
class Column:
    """A figure of a method as a column of a table; `name` is its dotted name."""

    name: str
    title: str
    is_rank: bool = False
    lower_is_better: bool = False


def direction_columns(direction: str, ks: Sequence[int] = (1, 5, 10)) -> list[Column]:
    """Recalls and the median rank among all test phrases."""
    recalls = [Column(f"{direction}.r{k}", f"R@{k}") for k in ks]
    return [*recalls, Column(f"{direction}.medr", "MedR", is_rank=True, lower_is_better=True)]


PROTOCOL_COLUMNS = [
    Column(f"{protocol}.{direction}.{figure}", f"{arrow} {protocol} {title}", figure == "medr", low)
    for direction, arrow in ((TEXT_TO_GESTURE, "→"), (GESTURE_TO_TEXT, "←"))
    for protocol, figure, title, low in (
        ("meaningful", "r1", "R@1", False),
        ("meaningful", "medr", "MedR", True),
        ("meaningful32", "r1", "R@1", False),
        ("threshold", "r1", "R@1", False),
        ("dissimilar", "r1", "R@1", False),
        ("batches32", "r1", "R@1", False),
        ("gallery500", "r5", "R@5", False),
        ("gallery500", "r10", "R@10", False),
        ("gallery500", "medr", "MedR", True),
    )
]
MEANING_COLUMNS = [
    Column("semantic.precision1", "P@1"),
    Column("semantic.precision5", "P@5"),
    Column("semantic.precision10", "P@10"),
    Column("semantic.hit5", "hit@5"),
    Column("semantic.map", "mAP"),
    Column("semantic.meaningless1", "meaningless@1", lower_is_better=True),
    Column("semantic.meaningless10", "meaningless@10", lower_is_better=True),
]
WORD_COLUMNS = [
    Column("spotting.accuracy", "spotting"),
    Column("spotting.located", "located"),
    Column("spotting.stressed", "stressed"),
    Column("spotting.unstressed", "unstressed"),
    Column("spotting.beats", "beats"),
    *(Column(f"active_speaker.{n}", f"speaker of {n}") for n in (2, 4, 6)),
    *(Column(f"active_speaker_in_time.{n}", f"in time of {n}") for n in (2, 4, 6)),
]


@dataclass(frozen=True)
class MethodResult:
    """What one method reached on the test phrases, averaged over its seeds.

    Attributes:
        figures: dotted name → fraction, or median rank (`medr`). Recall among all test
            phrases is named by direction (`text_to_gesture.r1`), that of another protocol
            by both (`gallery500.text_to_gesture.r5`); the other tasks by task.
        intervals: name → (low, high); parts may be missing.
        per_seed: seed → figures of that training run.
        recall_curve: direction → recall at k = 1, 2, …
        losses: rows of one training run, each with `step` and named losses.
    """

    name: str
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    per_seed: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    recall_curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    losses: Sequence[Mapping[str, float]] = ()

    @property
    def seeds(self) -> list[int]:
        """The seeds of the training runs that are averaged."""
        return list(self.per_seed)


@dataclass(frozen=True)
class Comparison:
    """The gain of one method over another in one figure."""

    method: str
    baseline: str
    figure: str
    gain: PairedGain


@dataclass(frozen=True)
class Confusion:
    """Of queries that mean something: what the first gesture found means, for one method.

    Attributes:
        terms: what gestures found mean, the last of them nothing.
        rows: (what the query means, count of each of `terms`).
    """

    method: str
    terms: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int]]]


@dataclass(frozen=True)
class Space:
    """A method's motion embeddings in two dimensions, by what the gestures mean.

    Attributes:
        points: (N, 2).
        meanings: N labels, "" for gestures that mean nothing.
    """

    method: str
    points: np.ndarray
    meanings: Sequence[str]


@dataclass(frozen=True)
class GalleryHit:
    """One gesture that a method found; `strip_svg` is trusted markup from `strip_svg`.

    `correct`: it is the one recorded with the query's words; `carries`: it has an intent of
    the query; `meaning`: what it means, "" if nothing.
    """

    text: str
    score: float
    take_id: str
    start_s: float
    end_s: float
    correct: bool
    strip_svg: str
    meaning: str = ""
    carries: bool = False


@dataclass(frozen=True)
class GalleryQuery:
    """A query's words, what they mean, and what each method found for them, best first."""

    text: str
    hits: Mapping[str, Sequence[GalleryHit]]
    meaning: str = ""


@dataclass(frozen=True)
class RetrievalReport:
    """All that the report shows.

    Attributes:
        synthetic: the corpus is synthetic; said wherever a figure is printed.
        gallery_size: items a query chooses from; chance is R@k = k / gallery_size.
        corpus: facts of the corpus, label → value.
        grounder: which grounder wrote the anchors' intents.
        comparison: the headline gain, None where there is a single method.
        comparisons: further gains.
        chance: dotted name of a figure → what chance gives, where it is not plain.
        protocols: protocol → (number of galleries, phrases of each).
        meanings_from: where the meaning of test gestures comes from.
        confusions, spaces: of some methods.
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
    comparisons: Sequence[Comparison] = ()
    chance: Mapping[str, float] = field(default_factory=dict)
    protocols: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    meanings_from: str = ""
    confusions: Sequence[Confusion] = ()
    spaces: Sequence[Space] = ()
    tokenizer_losses: Sequence[Mapping[str, float]] = ()
    codebook_use: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    gallery: Sequence[GalleryQuery] = ()
    provenance: Sequence[tuple[str, str, float]] = ()


def render(report: RetrievalReport) -> str:
    """The report as one HTML page."""
    from gestray.reports import figures

    methods = [method for method in report.methods if _retrieves(method)]
    recall_figures = [
        (DIRECTION_TITLES[direction], figures.recall_curves(methods, direction))
        for direction in DIRECTIONS
        if any(method.recall_curve.get(direction) for method in methods)
    ]
    losses = [("Tokenizer", report.tokenizer_losses)]
    losses += [(method.name, method.losses) for method in report.methods]
    return render_page(
        "retrieval.html.j2",
        report=report,
        tables={
            title: (present(direction_columns(direction), methods), methods)
            for direction, title in DIRECTION_TITLES.items()
            if methods
        },
        protocol_columns=present(PROTOCOL_COLUMNS, report.methods),
        meaning_columns=present(MEANING_COLUMNS, report.methods),
        word_columns=present(WORD_COLUMNS, report.methods),
        directions=DIRECTION_TITLES,
        retrieving=methods,
        tops=_tops(methods),
        best=best_values(report.methods),
        forest=figures.recall_at_1(methods, report.gallery_size),
        recall_figures=recall_figures,
        space_figures=[(space.method, figures.space(space)) for space in report.spaces],
        codebook_figure=figures.codebook_use(report.codebook_use),
        loss_figures=[(name, figures.losses(rows, name)) for name, rows in losses if rows],
    )


def present(columns: Sequence[Column], methods: Sequence[MethodResult]) -> list[Column]:
    """The columns for which any method has a figure."""
    return [c for c in columns if any(c.name in method.figures for method in methods)]


def best_values(methods: Sequence[MethodResult]) -> dict[str, float]:
    """Name → the best value reached, where the methods differ in it."""
    columns = [c for direction in DIRECTIONS for c in direction_columns(direction)]
    best = {}
    for column in (*columns, *PROTOCOL_COLUMNS, *MEANING_COLUMNS, *WORD_COLUMNS):
        values = {m.figures[column.name] for m in methods if column.name in m.figures}
        if len(values) > 1:
            best[column.name] = min(values) if column.lower_is_better else max(values)
    return best


def _retrieves(method: MethodResult) -> bool:
    return all(f"{direction}.r1" in method.figures for direction in DIRECTIONS)


def _tops(methods: Sequence[MethodResult]) -> dict[str, tuple[str, float]]:
    """Direction → the method with the best R@1, and that."""
    if not methods:
        return {}
    values = {
        direction: [(method.figures[f"{direction}.r1"], method.name) for method in methods]
        for direction in DIRECTIONS
    }
    return {direction: max(found)[::-1] for direction, found in values.items()}
