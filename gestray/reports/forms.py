"""The form report: how often anchors say of a gesture what the gold says, and where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gestray.metrics.forms import GROUPS, FieldScore
from gestray.metrics.intents import IntentScore
from gestray.reports.page import render_page


@dataclass(frozen=True)
class FormReport:
    """All that the report shows.

    Attributes:
        synthetic: the corpus is synthetic; said wherever a figure is printed.
        split: whose gestures were described.
        gestures: number of gold gestures.
        scores: source of the motion (recorded, or through a tokenizer) → field → its score.
        corpus: facts of the corpus, label → value.
        intents: name of the anchors → the score of what they say gestures mean.
        provenance: (stage, artifact URI, seconds) in the order they ran.
    """

    title: str
    synthetic: bool
    split: str
    gestures: int
    scores: Mapping[str, Mapping[str, FieldScore]]
    corpus: Mapping[str, str | int | float]
    intents: Mapping[str, IntentScore] = field(default_factory=dict)
    provenance: Sequence[tuple[str, str, float]] = field(default_factory=tuple)


@dataclass(frozen=True)
class Confusion:
    """How often each gold term was found as each term.

    Attributes:
        terms: the columns.
        rows: (gold term, count of each of `terms`), of the gold terms that occur.
    """

    field: str
    accuracy: float
    terms: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int]]]


def confusions(scores: Mapping[str, FieldScore]) -> list[Confusion]:
    """The confusions of every field of its own; groups of fields would only repeat them."""
    found = []
    for name, score in scores.items():
        if name in GROUPS or not score.total:
            continue
        terms, counts = score.confusion()
        rows = [(term, row) for term, row in zip(terms, counts.tolist(), strict=True) if any(row)]
        found.append(Confusion(name, score.accuracy, terms, rows))
    return found


def render(report: FormReport) -> str:
    """The report as one HTML page."""
    return render_page(
        "forms.html.j2",
        report=report,
        fields=list(next(iter(report.scores.values()), {})),
        confusions={source: confusions(scores) for source, scores in report.scores.items()},
    )
