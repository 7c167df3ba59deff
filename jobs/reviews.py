"""Reviews of anchors as an artifact: how they are closed, and what follows of them.

A sitting writes to a journal (`gestray.anchors.review`). `close_reviews` makes an artifact of
what stands there, named by its content: training and evaluation take it like any other input,
and a later one is another artifact.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from gestray.anchors.review import (
    REVIEWS_SCHEMA,
    Journal,
    Review,
    from_row,
    last_words,
    standing,
    to_row,
)
from gestray.artifacts import (
    Artifact,
    Stage,
    StageReport,
    StageResult,
    StageRun,
    run_stage,
)
from gestray.config import Config, digest
from gestray.errors import UserError
from gestray.metrics.agreement import Agreement, agreement
from gestray.metrics.forms import HANDS, fields_of_gesture, fields_of_hand
from gestray.store import Folder
from jobs.rows import read_rows, write_rows


class ReviewsConfig(Config):
    """What a closed review is of: there is nothing to set."""


def close_reviews(store: Folder, anchors: Artifact, name: str) -> StageReport | None:
    """Make an artifact of the decisions that stand; None where there are none."""
    reviews = list(standing(Journal(store, anchors.manifest.identity).read()).values())
    if not reviews:
        return None

    def write(run: StageRun[ReviewsConfig]) -> StageResult:
        table = pa.Table.from_pylist([to_row(review) for review in reviews], REVIEWS_SCHEMA)
        written = write_rows(run.folder, [table], REVIEWS_SCHEMA, "close reviews", len(table))
        decisions = Counter(review.decision for review in reviews)
        metrics = {
            "anchors": anchors.manifest.rows_out,
            "phrases": len({review.phrase_id for review in reviews}),
            "annotators": sorted({review.annotator for review in reviews}),
            **{decision: decisions[decision] for decision in ("accept", "edit", "reject")},
        }
        return StageResult(len(reviews), written, 0, metrics)

    stage = Stage(
        name="anchors.review",
        makes="reviews",
        config_type=ReviewsConfig,
        run=write,
        needs={"anchors": "anchors"},
        fingerprint=lambda _config: digest([review.model_dump(mode="json") for review in reviews]),
    )
    return run_stage(stage, store, name, ReviewsConfig(), {"anchors": anchors})


def read_reviews(reviews: Artifact) -> list[Review]:
    """The decisions of an artifact."""
    return [from_row(row) for row in read_rows(reviews.folder).to_pylist()]


def supervision_of(reviews: Artifact) -> dict[str, tuple[str | None, str | None]]:
    """Phrase → sentences of form and intent that the last word about it gives; None for none.

    A rejected phrase has neither: nothing is learned from it.
    """
    rows = map(to_row, last_words(read_reviews(reviews)).values())
    return {
        row["phrase_id"]: (row["form_text"] or None, row["intent_text"] or None) for row in rows
    }


def pairs_of_annotators(reviews: Sequence[Review]) -> list[tuple[str, str]]:
    """All pairs that have decided about some phrase in common."""
    phrases: dict[str, set[str]] = {}
    for review in reviews:
        phrases.setdefault(review.annotator, set()).add(review.phrase_id)
    return [
        (first, second)
        for first, second in itertools.combinations(sorted(phrases), 2)
        if phrases[first] & phrases[second]
    ]


def agreement_of(
    reviews: Sequence[Review], first: str, second: str, resamples: int = 2000
) -> dict[str, Agreement]:
    """Field → how far two annotators agree, over the phrases that both decided about.

    `usable` is whether a phrase is rejected; what follows is of the phrases that neither did, and
    fields of hands of the hands that take part by both.
    """
    by = {who: {r.phrase_id: r for r in reviews if r.annotator == who} for who in (first, second)}
    pairs: dict[str, list[tuple[str, str]]] = {}
    items: dict[str, list[int]] = {}
    for item, phrase in enumerate(sorted(by[first].keys() & by[second].keys())):
        for field, ours, theirs in _compared(by[first][phrase], by[second][phrase]):
            pairs.setdefault(field, []).append((ours, theirs))
            items.setdefault(field, []).append(item)
    return {field: agreement(pairs[field], items[field], resamples) for field in pairs}


def _compared(ours: Review, theirs: Review) -> Iterator[tuple[str, str, str]]:
    """Field and what either says, of one phrase."""
    yield "usable", str(ours.form is not None), str(theirs.form is not None)
    if ours.form is None or theirs.form is None:
        return
    yield "intent", ours.label, theirs.label
    said = [(fields_of_gesture(ours.form), fields_of_gesture(theirs.form))]
    for side in HANDS:
        hands = getattr(ours.form, side), getattr(theirs.form, side)
        if None not in hands:
            said.append((fields_of_hand(hands[0]), fields_of_hand(hands[1])))
    for first, second in said:
        yield from ((field, value, second[field]) for field, value in first.items())


def agreements(reviews: Artifact) -> dict[str, dict[str, Agreement]]:
    """ "first, second" → field → agreement, of every pair of annotators.

    Raises:
        UserError: no two annotators have decided about the same phrase.
    """
    decided = read_reviews(reviews)
    pairs = pairs_of_annotators(decided)
    if not pairs:
        names = ", ".join(sorted({review.annotator for review in decided}))
        raise UserError(
            f"{reviews.uri}: found decisions of {names}, and no phrase that two annotators have "
            "decided about; let another review the same anchors (--annotator NAME)"
        )
    return {f"{one}, {other}": agreement_of(decided, one, other) for one, other in pairs}


def agreement_metrics(found: Mapping[str, Mapping[str, Agreement]]) -> dict[str, Any]:
    """Pair → field → figures, as JSON has them: null for NaN."""

    def plain(score: Agreement) -> dict[str, Any]:
        figures = asdict(score)
        return {name: None if value != value else value for name, value in figures.items()}

    return {
        pair: {field: plain(score) for field, score in fields.items()}
        for pair, fields in found.items()
    }
