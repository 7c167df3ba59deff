"""Semantic retrieval: do the gestures that words find mean what the words mean?

Recall asks for the one recorded gesture of these very words. Who looks for a gesture wants
any that carries the intent, and the failure of text–motion encoders that Semantic Motion
Anchors (arXiv 2605.30608) is about shows only here: a generic beat in the place of a gesture
that means something. Queries are the phrases whose gesture carries an intent; each one's own
recording is left out of its gallery, since what it says would be found by its words alone.

Ties at the cut are resolved as if drawn at random: precision counts their expected share,
hit the chance that one that is right is drawn (hypergeometric).

Shapes: Q phrases, each a query and an item; L intents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.errors import UserError
from gestray.metrics.retrieval import COSINE_TOLERANCE, blocks, unit_rows

KS = (1, 5, 10)


@dataclass(frozen=True)
class SemanticResult:
    """What text → gesture retrieval brings of what is meant.

    Attributes:
        figures: name → (Q,), NaN for phrases that carry no intent. ``precision{k}``: share of
            the first k gestures that carry an intent of the query; ``hit{k}``: whether one
            does; ``meaningless{k}``: share that carries none at all, beats and idle hands;
            ``map``: average precision over the whole gallery, tied gestures taken together.
        chance: of ``precision{k}`` at any k and, nearly, of ``map``.
        top: (Q,) the first gesture, -1 for phrases that carry no intent.
    """

    figures: dict[str, NDArray[np.float64]]
    chance: float
    top: NDArray[np.int64]


def semantic_retrieval(
    text: ArrayLike, motion: ArrayLike, carries: ArrayLike, ks: Sequence[int] = KS
) -> SemanticResult:
    """Ask the gallery for the intent of every phrase that carries one.

    Args:
        text, motion: (Q, D) of either side of the phrases; need not be normalised.
        carries: (Q, L) bool, the intents of each phrase's gestures; beats are no intent.
        ks: depths.

    Raises:
        UserError: no phrase carries an intent, or there is one phrase only.
    """
    text_QD, motion_QD = unit_rows(text, "text"), unit_rows(motion, "motion")
    carries_QL = np.asarray(carries, bool)
    n_phrases = len(text_QD)
    if carries_QL.ndim != 2 or len(carries_QL) != n_phrases or n_phrases < 2:
        raise UserError(
            f"carries: found shape {carries_QL.shape}, expected ({n_phrases}, intents) "
            "with two phrases at least"
        )
    asked = np.flatnonzero(carries_QL.any(axis=1))
    if not len(asked):
        raise UserError("semantic retrieval: found no phrase whose gesture carries an intent")
    names = [f"{name}{k}" for name in ("precision", "hit", "meaningless") for k in ks]
    figures = {name: np.full(n_phrases, np.nan) for name in (*names, "map")}
    top = np.full(n_phrases, -1)
    meaningless = ~carries_QL.any(axis=1)
    weights = carries_QL.astype(np.float32)
    right_share = []
    for rows in blocks(len(asked)):
        queries = asked[rows]
        similarity = text_QD[queries] @ motion_QD.T
        right = weights[queries] @ weights.T > 0
        own = (np.arange(len(queries)), queries)
        similarity[own] = -np.inf
        right[own] = False
        top[queries] = similarity.argmax(axis=1)
        ordered = -np.sort(-similarity, axis=1)
        for k in ks:
            cut = min(k, n_phrases - 1)
            taken = _Cut(similarity, ordered[:, cut - 1 : cut], cut)
            figures[f"precision{k}"][queries] = taken.share(right)
            figures[f"hit{k}"][queries] = taken.any(right)
            figures[f"meaningless{k}"][queries] = taken.share(
                np.broadcast_to(meaningless, right.shape)
            )
        figures["map"][queries] = _average_precision(similarity, ordered, right)
        right_share.append(right.sum(axis=1) / (n_phrases - 1))
    return SemanticResult(figures, float(np.concatenate(right_share).mean()), top)


class _Cut:
    """The first k items of every query, where those tied with the k-th are drawn at random."""

    def __init__(self, similarity: NDArray, kth: NDArray, k: int) -> None:
        self.k = k
        self.above = similarity > kth + COSINE_TOLERANCE
        self.tied = (similarity >= kth - COSINE_TOLERANCE) & ~self.above
        self.n_tied = self.tied.sum(axis=1)
        self.drawn = k - self.above.sum(axis=1)

    def share(self, items: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(Q,) expected share of the first k that is among `items`."""
        sure = (items & self.above).sum(axis=1)
        return (sure + (items & self.tied).sum(axis=1) * self.drawn / self.n_tied) / self.k

    def any(self, items: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(Q,) chance that one of the first k is among `items`."""
        others = self.n_tied - (items & self.tied).sum(axis=1)
        none = np.ones(len(others))
        for draw in range(self.k):
            share = np.maximum(others - draw, 0) / np.maximum(self.n_tied - draw, 1)
            none *= np.where(draw < self.drawn, share, 1.0)
        return np.where((items & self.above).any(axis=1), 1.0, 1.0 - none)


def _average_precision(
    similarity: NDArray, ordered: NDArray, right: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(Q,) mean, over the right items, of the precision down to and with those tied; 0 of none."""
    result = np.zeros(len(similarity))
    for query, (scores, row) in enumerate(zip(similarity, right, strict=True)):
        found = np.sort(-scores[row])
        if len(found):
            with_ties = found + COSINE_TOLERANCE
            down_to = np.searchsorted(-ordered[query], with_ties, side="right")
            among = np.searchsorted(found, with_ties, side="right")
            result[query] = (among / down_to).mean()
    return result
