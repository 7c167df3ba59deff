"""Retrieval metrics: ranks, and the recalls and median rank made of them.

A query asks a gallery for the item that belongs to it; its rank is all that
the metrics need. Two rules keep the figures honest. Ties are averaged, so that
an encoder that maps everything to one point scores at chance instead of first
place. And where two phrases say the same words, both are right for the words:
relevance is a label shared by query and item, not a diagonal.

Shapes: Q queries, G gallery items, D dimensions, S training runs (seeds).
Recall is a fraction in [0, 1]; ranks count from 1. A query that a protocol does
not ask has the rank NaN (`gestray.metrics.protocols`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.errors import UserError
from gestray.metrics.bootstrap import Bootstrap, Interval

TEXT_TO_GESTURE = "text_to_gesture"
GESTURE_TO_TEXT = "gesture_to_text"
DIRECTIONS = (TEXT_TO_GESTURE, GESTURE_TO_TEXT)

# Cosines of float32 vectors agree to about 1e-7; identical gallery items may
# differ by as much, depending on where a matrix product happens to place them.
COSINE_TOLERANCE = 1e-6

KS = (1, 2, 3, 5, 10, 25, 50)
"""The depths at which the field's papers report recall (TMR, JEGAL)."""

_ROWS_PER_BLOCK = 512


# --- Ranks ---------------------------------------------------------------------------------


def ranks(
    similarity: ArrayLike, relevant: ArrayLike, tolerance: float = 0.0
) -> NDArray[np.float64]:
    """Rank of the best relevant item of every query, ties averaged.

    With `t` irrelevant and `r` relevant items tied at the best relevant score,
    the first relevant one stands on average `t / (r + 1)` places behind the
    items that score higher; that expectation is the rank.

    Args:
        similarity: (Q, G), higher is closer.
        relevant: (Q,) integer, the one right item of each query; or (Q, G) boolean.
        tolerance: scores that differ by no more than this are tied.

    Returns:
        (Q,) ranks in [1, G].

    Raises:
        UserError: a similarity is not finite, or a query has no relevant item.
    """
    similarity_QG = np.asarray(similarity)
    relevant = np.asarray(relevant)
    if similarity_QG.ndim != 2:
        raise UserError(f"similarity: found shape {similarity_QG.shape}, expected (queries, items)")
    n_queries, n_items = similarity_QG.shape
    if relevant.dtype == np.bool_:
        if relevant.shape != similarity_QG.shape:
            raise UserError(
                f"relevant: found shape {relevant.shape}, expected that of similarity, "
                f"{similarity_QG.shape}"
            )
    else:
        if relevant.shape != (n_queries,):
            raise UserError(
                f"relevant: found shape {relevant.shape}, expected ({n_queries},): one item a query"
            )
        if n_queries and not (relevant.min() >= 0 and relevant.max() < n_items):
            raise UserError(
                f"relevant: found items {relevant.min()} to {relevant.max()}, "
                f"expected 0 to {n_items - 1}"
            )
    result = np.empty(n_queries)
    items = np.arange(n_items)
    for rows in blocks(n_queries):
        mask = relevant[rows]
        if relevant.ndim == 1:
            mask = mask[:, None] == items
        result[rows] = block_ranks(similarity_QG[rows], mask, tolerance, rows.start)
    return result


def ranks_from_embeddings(
    queries: ArrayLike,
    gallery: ArrayLike,
    query_labels: ArrayLike | None = None,
    gallery_labels: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """`ranks` by cosine similarity, in blocks that never hold the (Q, G) matrix.

    Args:
        queries: (Q, D); need not be normalised.
        gallery: (G, D).
        query_labels, gallery_labels: (Q,) and (G,) integers; an item is relevant
            to a query if their labels are equal (see `text_labels`). Without
            them query i belongs to item i.

    Returns:
        (Q,) ranks in [1, G].

    Raises:
        UserError: an embedding is zero or not finite, or a query has no relevant item.
    """
    queries_QD, gallery_GD = unit_rows(queries, "queries"), unit_rows(gallery, "gallery")
    if queries_QD.shape[1] != gallery_GD.shape[1]:
        raise UserError(
            f"gallery: found {gallery_GD.shape[1]} dimensions, expected "
            f"{queries_QD.shape[1]} as in the queries: embed both with one encoder"
        )
    labels_Q = _labels(query_labels, len(queries_QD), "query_labels")
    labels_G = _labels(gallery_labels, len(gallery_GD), "gallery_labels")
    result = np.empty(len(queries_QD))
    for rows in blocks(len(queries_QD)):
        similarity = queries_QD[rows] @ gallery_GD.T
        mask = labels_Q[rows, None] == labels_G
        result[rows] = block_ranks(similarity, mask, COSINE_TOLERANCE, rows.start)
    return result


def ranks_both_ways(
    text: ArrayLike, motion: ArrayLike, labels: ArrayLike | None = None
) -> dict[str, NDArray[np.float64]]:
    """Ranks of N phrases in both directions, from (N, D) embeddings of either side.

    `labels` (N,) marks the phrases that say the same (`text_labels`).
    """
    return {
        TEXT_TO_GESTURE: ranks_from_embeddings(text, motion, labels, labels),
        GESTURE_TO_TEXT: ranks_from_embeddings(motion, text, labels, labels),
    }


def text_labels(texts: Sequence[str]) -> NDArray[np.int64]:
    """(N,) integers, equal exactly where two texts say the same words.

    Case, punctuation and spacing do not count; letters, digits and apostrophes
    within words do. Labels follow the order of first appearance.
    """
    known: dict[str, int] = {}
    return np.array([known.setdefault(_normalised(text), len(known)) for text in texts], np.int64)


def _normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return " ".join(re.findall(r"\w+(?:'\w+)*", folded))


def block_ranks(
    similarity: NDArray, relevant: NDArray[np.bool_], tolerance: float, first: int
) -> NDArray[np.float64]:
    """`ranks` of a block of queries, the first of them number `first` of all."""
    # A NaN compares as "not higher" to everything and would rank first.
    finite = np.isfinite(similarity).all(axis=1)
    if not finite.all():
        row = first + int(np.argmin(finite))
        raise UserError(
            f"similarity of query {row}: found NaN or infinity, expected finite scores: "
            "the encoder has diverged"
        )
    has_relevant = relevant.any(axis=1)
    if not has_relevant.all():
        row = first + int(np.argmin(has_relevant))
        raise UserError(
            f"query {row}: found no relevant item in the gallery, expected one at least: "
            "leave the query out, or add its item"
        )
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    higher = similarity > best + tolerance
    tied = (similarity >= best - tolerance) & ~higher
    irrelevant_tied = np.count_nonzero(tied & ~relevant, axis=1)
    relevant_tied = np.count_nonzero(tied & relevant, axis=1)
    return 1.0 + np.count_nonzero(higher, axis=1) + irrelevant_tied / (relevant_tied + 1)


def blocks(rows: int) -> Iterator[slice]:
    """Slices of the rows, each few enough that their similarities to a gallery fit memory."""
    for start in range(0, rows, _ROWS_PER_BLOCK):
        yield slice(start, min(start + _ROWS_PER_BLOCK, rows))


def unit_rows(embeddings: ArrayLike, name: str) -> NDArray[np.float32]:
    """Embeddings (N, D) at length 1, as float32.

    Raises:
        UserError: one of them is zero or not finite, which names it.
    """
    values = np.asarray(embeddings, np.float32)
    if values.ndim != 2:
        raise UserError(f"{name}: found shape {values.shape}, expected (rows, dimensions)")
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    usable = np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)
    if not usable.all():
        row = int(np.argmin(usable))
        raise UserError(
            f"{name}, row {row}: found an embedding of length {norms[row, 0]}, "
            "expected a finite length above 0: the encoder has diverged"
        )
    return values / norms


def _labels(labels: ArrayLike | None, count: int, name: str) -> NDArray:
    if labels is None:
        return np.arange(count)
    values = np.asarray(labels)
    if values.shape != (count,):
        raise UserError(f"{name}: found shape {values.shape}, expected ({count},)")
    return values


# --- Figures ---------------------------------------------------------------------------------


def found_within(ranks: ArrayLike, k: int) -> NDArray[np.float64]:
    """1 where the item is among the first `k`, 0 where it is not, NaN where it was not asked.

    A query tied across the cut (rank 1.5 at k = 1) is not counted as found.
    """
    values = np.asarray(ranks, np.float64)
    return np.where(np.isnan(values), np.nan, values <= k)


def recall_at(ranks: ArrayLike, k: int) -> float:
    """Share of queries whose item is among the first `k`; ranks (Q,) or (S, Q)."""
    return float(np.nanmean(found_within(_runs(ranks), k)))


def recall_curve(ranks: ArrayLike, deepest: int = 50) -> list[float]:
    """Recall at 1, 2, … `deepest`."""
    values = _runs(ranks)
    values = np.sort(values[~np.isnan(values)])
    found = np.searchsorted(values, np.arange(1, deepest + 1), side="right")
    return (found / values.size).tolist()


def summary(ranks: ArrayLike, ks: Sequence[int] = KS) -> dict[str, float]:
    """Recall at each `k` as `r1`, `r2`, …, and the median rank `medr`.

    Ranks are (Q,), or (S, Q) of several training runs, whose figures are averaged.
    """
    values = _runs(ranks)
    figures = {f"r{k}": recall_at(values, k) for k in ks}
    return figures | {"medr": float(np.nanmedian(values, axis=1).mean())}


def summary_intervals(
    ranks: ArrayLike, bootstrap: Bootstrap, ks: Sequence[int] = KS
) -> dict[str, Interval]:
    """The bootstrap interval of every figure of `summary`, from the same resamples."""
    drawn = {f"r{k}": bootstrap.mean(found_within(_runs(ranks), k)) for k in ks}
    drawn["medr"] = bootstrap.median(ranks)
    return {name: bootstrap.interval(figures) for name, figures in drawn.items()}


def _runs(ranks: ArrayLike) -> NDArray[np.float64]:
    runs = np.atleast_2d(np.asarray(ranks, np.float64))
    if runs.ndim != 2 or not (~np.isnan(runs)).any(axis=1).all():
        raise UserError(
            f"ranks: found shape {np.shape(ranks)}, expected (queries,) or "
            "(seeds, queries) with one query at least"
        )
    return runs
