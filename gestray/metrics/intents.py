"""How well grounded intents agree with gold, and how far their confidence can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gestray.anchors.taxonomy import NO_INTENT

BINS = 10
"""Of equal width, of the confidence in [0, 1]."""


class Case(NamedTuple):
    """A gesture with a gold intent, and what was found of it.

    Attributes:
        gold: its label, or `NO_INTENT`.
        status: of the anchor.
        found: the label that was found, None where none was.
        confidence: in what was found, in [0, 1]; NaN where nothing was.
        similarity: of the found sentence to the gold one, in [-1, 1]; NaN without either.
    """

    gold: str
    status: str
    found: str | None
    confidence: float
    similarity: float


class Bin(NamedTuple):
    """Cases of similar confidence: how many, their mean confidence, and the share that is right."""

    cases: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class IntentScore:
    """Agreement of one grounder with gold.

    Attributes:
        cases: number of gestures with a gold intent.
        statuses: how many of them are grounded, ungrounded, failed.
        accuracy: share whose label is the gold one. Without a label none is, except where gold
            knows of no intent and the anchor is ungrounded.
        macro_f1: mean over the labels that occur in gold or are found of their F1; NaN without
            any.
        f1: the F1 of each.
        similarity: mean over the cases that have both sentences; NaN without any.
        reliability: the cases with a label, by `BINS` of confidence.
        calibration_error: expected calibration error (Naeini et al. 2015): mean distance of
            confidence and accuracy over the bins, weighted by their cases.
    """

    cases: int
    statuses: dict[str, int]
    accuracy: float
    macro_f1: float
    f1: dict[str, float]
    similarity: float
    reliability: tuple[Bin, ...]
    calibration_error: float


def score_intents(cases: Sequence[Case]) -> IntentScore:
    """Scores what was found of gestures with a gold intent; there is at least one."""
    gold = Counter(case.gold for case in cases if case.gold != NO_INTENT)
    found = Counter(case.found for case in cases if case.found is not None)
    right = Counter(case.gold for case in cases if case.found == case.gold)
    none = sum(case.gold == NO_INTENT and case.status == "ungrounded" for case in cases)
    f1 = {label: 2 * right[label] / (gold[label] + found[label]) for label in sorted(gold | found)}
    similarities = [case.similarity for case in cases if not np.isnan(case.similarity)]
    bins = _reliability([case for case in cases if case.found is not None])
    return IntentScore(
        cases=len(cases),
        statuses=dict(Counter(case.status for case in cases)),
        accuracy=(right.total() + none) / len(cases),
        macro_f1=float(np.mean(list(f1.values()))) if f1 else float("nan"),
        f1=f1,
        similarity=float(np.mean(similarities)) if similarities else float("nan"),
        reliability=bins,
        calibration_error=(
            sum(b.cases * abs(b.confidence - b.accuracy) for b in bins) / found.total()
            if bins
            else float("nan")
        ),
    )


def _reliability(cases: Sequence[Case]) -> tuple[Bin, ...]:
    if not cases:
        return ()
    confidence = np.array([case.confidence for case in cases])
    right = np.array([case.found == case.gold for case in cases])
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(int((at := number == b).sum()), float(confidence[at].mean()), float(right[at].mean()))
        for b in np.unique(number)
    )
