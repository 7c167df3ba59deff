"""The field's protocols of retrieval: what a query is asked of which gallery.

TMR (Petrovich et al. 2023, section 4.1) reports four, JEGAL (2025) a fifth:

- ``all``: every test phrase is a query, and all of them are the gallery.
- ``threshold``: the same, but what is said in nearly the same words is right as well. Two
  texts are near where a sentence encoder's cosine, scaled to [0, 1], reaches 0.95; that is
  a cosine of 0.90, which reports that name the threshold alone leave open.
- ``dissimilar``: the 100 phrases whose texts are farthest from each other. TMR solves a
  knapsack problem roughly; here each next phrase is the one farthest from those chosen.
- ``batches32``: galleries of 32 drawn at random, as in the R-precision of older papers.
- ``gallery500``: galleries of 500, the size of JEGAL's benchmark.

Phrases that do not fill a last batch are not asked under that protocol, and a protocol that
needs more phrases than there are does not exist. Under all of them, phrases with the same
words are right for each other and ties are averaged (`gestray.metrics.retrieval`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.metrics.retrieval import (
    COSINE_TOLERANCE,
    DIRECTIONS,
    GESTURE_TO_TEXT,
    TEXT_TO_GESTURE,
    block_ranks,
    blocks,
    unit_rows,
)

ALL, THRESHOLD, DISSIMILAR = "all", "threshold", "dissimilar"
BATCHES_32, GALLERY_500 = "batches32", "gallery500"

NEAR_TEXT = 0.95
DISSIMILAR_PHRASES = 100
_SIZES = {BATCHES_32: 32, GALLERY_500: 500}

Ranks = dict[str, dict[str, NDArray[np.float64]]]


class Protocols:
    """What is asked under each protocol, the same for every method that is compared.

    Args:
        labels: (Q,) integers, equal where two phrases say the same (`text_labels`).
        texts: (Q, D) embeddings of the phrases' texts by an encoder that is none of the
            methods; without them there are no `threshold` and `dissimilar`.
        seed: of the random galleries.

    Attributes:
        galleries: protocol → (galleries, size) phrases of each gallery; of `all` and
            `threshold` there is one.
    """

    def __init__(self, labels: ArrayLike, texts: ArrayLike | None = None, seed: int = 0) -> None:
        self.labels_Q = np.asarray(labels)
        self.n_queries = len(self.labels_Q)
        everything = np.arange(self.n_queries)[None]
        self.galleries: dict[str, NDArray[np.int64]] = {ALL: everything}
        if texts is not None:
            texts_QD = unit_rows(texts, "texts")
            self._near = list(_near_pairs(texts_QD))
            self.galleries[THRESHOLD] = everything
            if self.n_queries > DISSIMILAR_PHRASES:
                chosen = farthest_first(texts_QD, DISSIMILAR_PHRASES)
                self.galleries[DISSIMILAR] = np.sort(chosen)[None]
        rng = np.random.default_rng(seed)
        for name, size in _SIZES.items():
            if self.n_queries >= size:
                count = self.n_queries // size
                self.galleries[name] = rng.permutation(self.n_queries)[: count * size].reshape(
                    count, size
                )

    def ranks(self, text: ArrayLike, motion: ArrayLike) -> Ranks:
        """Ranks of a method's embeddings: protocol → direction → (Q,), NaN where not asked.

        Args:
            text, motion: (Q, D) of either side of the phrases; need not be normalised.

        Raises:
            UserError: an embedding is zero or not finite.
        """
        sides = {
            TEXT_TO_GESTURE: unit_rows(text, "text"),
            GESTURE_TO_TEXT: unit_rows(motion, "motion"),
        }
        galleries = {
            TEXT_TO_GESTURE: sides[GESTURE_TO_TEXT],
            GESTURE_TO_TEXT: sides[TEXT_TO_GESTURE],
        }
        found: Ranks = {
            name: {direction: np.full(self.n_queries, np.nan) for direction in DIRECTIONS}
            for name in self.galleries
        }
        for number, rows in enumerate(blocks(self.n_queries)):
            same = self.labels_Q[rows, None] == self.labels_Q
            masks = {ALL: same}
            if THRESHOLD in found:
                near = same.copy()
                near[self._near[number]] = True
                masks[THRESHOLD] = near
            for direction, queries in sides.items():
                similarity = queries[rows] @ galleries[direction].T
                for name, mask in masks.items():
                    found[name][direction][rows] = block_ranks(
                        similarity, mask, COSINE_TOLERANCE, rows.start
                    )
        for name, members in self.galleries.items():
            if name in (ALL, THRESHOLD):
                continue
            size = members.shape[1]
            same = self.labels_Q[members][:, :, None] == self.labels_Q[members][:, None]
            for direction, queries in sides.items():
                items = galleries[direction][members]
                similarity = queries[members] @ items.transpose(0, 2, 1)
                found[name][direction][members.ravel()] = block_ranks(
                    similarity.reshape(-1, size), same.reshape(-1, size), COSINE_TOLERANCE, 0
                )
        return found


def farthest_first(texts_QD: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The `count` rows that are farthest from each other, chosen one after the other.

    Begins with the row farthest from the mean (Gonzalez 1985).
    """
    nearest = texts_QD @ texts_QD.mean(axis=0)
    chosen = []
    for _ in range(count):
        farthest = int(np.argmin(nearest))
        chosen.append(farthest)
        to_it = texts_QD @ texts_QD[farthest]
        nearest = to_it if len(chosen) == 1 else np.maximum(nearest, to_it)
        nearest[chosen] = np.inf
    return np.array(chosen)


def _near_pairs(texts_QD: NDArray[np.float32]) -> Iterator[tuple[NDArray, NDArray]]:
    """(row within the block, phrase) of texts that are near, a block of rows after the other."""
    cosine = 2 * NEAR_TEXT - 1
    for rows in blocks(len(texts_QD)):
        row, phrase = np.nonzero(texts_QD[rows] @ texts_QD.T >= cosine)
        yield row, phrase
