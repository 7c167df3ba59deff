"""Active speaker detection: whose gestures go with this speech? (GestSync, JEGAL)

A query's own motion stands among clips of other takes that last as long as it does, so that
length gives nothing away; who is most similar to the query is taken to speak. The published
benchmarks show 2, 4 and 6 people.

Two ways to compare a query with a candidate: by the embeddings of the whole clips, and in
time: every word with the frames around it, which is what synchrony means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.errors import UserError
from gestray.metrics.retrieval import COSINE_TOLERANCE, unit_rows

CANDIDATES = (2, 4, 6)
ROUNDS = 10
"""Times that the others are drawn for every query; a query's figure is the mean."""

WORD_MARGIN_S = 0.4
"""Frames this long before and after a word are compared with it, as JEGAL pools them."""

_POOL = 24


@dataclass(frozen=True)
class Similarities:
    """Of queries to their own motion and to that of others.

    Attributes:
        own: (Q,).
        others: (Q, rounds, others).
    """

    own: NDArray[np.float64]
    others: NDArray[np.float64]

    def told(self, people: int) -> NDArray[np.float64]:
        """(Q,) share of rounds in which the own motion is the most similar of so many people.

        The first of the others stand beside it; ties are shared.
        """
        difference = self.others[:, :, : people - 1] - self.own[:, None, None]
        beaten = (difference > COSINE_TOLERANCE).any(axis=2)
        tied = (np.abs(difference) <= COSINE_TOLERANCE).sum(axis=2)
        return np.where(beaten, 0.0, 1.0 / (1 + tied)).mean(axis=1)


def draw_others(
    seconds: ArrayLike, takes: ArrayLike, count: int, rounds: int = ROUNDS, seed: int = 0
) -> NDArray[np.int64]:
    """(Q, rounds, count) clips to stand beside each query, no clip twice in a round.

    Drawn from the 24 clips of other takes that are nearest in length.

    Raises:
        UserError: a query has fewer clips of other takes than that.
    """
    seconds_Q, takes_Q = np.asarray(seconds, np.float64), np.asarray(takes)
    rng = np.random.default_rng(seed)
    others = np.empty((len(seconds_Q), rounds, count), np.int64)
    by_length = np.argsort(seconds_Q, kind="stable")
    # So far to either side in order of length, the nearest of other takes are among them.
    reach = max(_POOL, count) + int(np.unique(takes_Q, return_counts=True)[1].max())
    for place, query in enumerate(by_length):
        near = by_length[max(0, place - reach) : place + reach + 1]
        candidates = near[takes_Q[near] != takes_Q[query]]
        if len(candidates) < count:
            raise UserError(
                f"active speaker among {count + 1}: query {query} has {len(candidates)} clips of "
                f"other takes to stand beside it, expected {count} at least"
            )
        apart = np.abs(seconds_Q[candidates] - seconds_Q[query])
        candidates = candidates[np.argsort(apart, kind="stable")[: max(_POOL, count)]]
        drawn = rng.random((rounds, len(candidates))).argsort(axis=1)[:, :count]
        others[query] = candidates[drawn]
    return others


def by_clips(text: ArrayLike, motion: ArrayLike, others: NDArray[np.int64]) -> Similarities:
    """Cosines of what is said and clips as a whole.

    Args:
        text, motion: (Q, D) of either side of the phrases; need not be normalised.
        others: as `draw_others` gives.
    """
    text_QD, motion_QD = unit_rows(text, "text"), unit_rows(motion, "motion")
    own = np.einsum("qd,qd->q", text_QD, motion_QD)
    theirs = np.einsum("qd,qrcd->qrc", text_QD, motion_QD[others], optimize=True)
    return Similarities(own, theirs)


def in_time(
    frames: Sequence[NDArray[np.float32]],
    times_s: Sequence[NDArray[np.float64]],
    words: Sequence[NDArray[np.float32]],
    spans_s: Sequence[NDArray[np.float64]],
    others: NDArray[np.int64],
    margin_s: float = WORD_MARGIN_S,
) -> Similarities:
    """Means over words of their cosines to the frames around them.

    Args:
        frames, times_s: of every clip, (K, D) and (K,) seconds since its own start.
        words, spans_s: of every query, (W, D) and (W, 2) seconds since its start.
        others: as `draw_others` gives.
        margin_s: around a word; moments of speech, in the place of words, take none.
    """
    units = [_unit(clip) for clip in frames]
    summed = [np.concatenate((np.zeros((1, clip.shape[1])), clip.cumsum(axis=0))) for clip in units]
    own, theirs = np.empty(len(words)), np.empty(others.shape)
    for query, (word, span) in enumerate(zip(words, spans_s, strict=True)):
        unit_words = _unit(word)

        def similarity(clip: int, unit: NDArray = unit_words, span: NDArray = span) -> float:
            times = times_s[clip]
            first = np.searchsorted(times, span[:, 0] - margin_s)
            last = np.searchsorted(times, span[:, 1] + margin_s)
            # A word after the end of a shorter clip meets its last frames.
            first = np.minimum(first, len(times) - 1)
            last = np.maximum(last, first + 1)
            around = _unit(summed[clip][last] - summed[clip][first])
            return float((around * unit).sum(axis=1).mean())

        clips, places = np.unique(others[query], return_inverse=True)
        theirs[query] = np.array([similarity(int(clip)) for clip in clips])[places]
        own[query] = similarity(query)
    return Similarities(own, theirs)


def _unit(values: NDArray) -> NDArray[np.float64]:
    values = np.asarray(values, np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
