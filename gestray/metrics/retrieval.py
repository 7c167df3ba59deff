"""Retrieval metrics: ranks, recall, and how sure a figure is.

A query asks a gallery for the item that belongs to it; its rank is all that
the metrics need. Two rules keep the figures honest. Ties are averaged, so that
an encoder that maps everything to one point scores at chance instead of first
place. And where two phrases say the same words, both are right for the words:
relevance is a label shared by query and item, not a diagonal.

Shapes: Q queries, G gallery items, D dimensions, S training runs (seeds).
Recall is a fraction in [0, 1]; ranks count from 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.errors import UserError

Interval = tuple[float, float]
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]

TEXT_TO_GESTURE = "text_to_gesture"
GESTURE_TO_TEXT = "gesture_to_text"
DIRECTIONS = (TEXT_TO_GESTURE, GESTURE_TO_TEXT)

# Cosines of float32 vectors agree to about 1e-7; identical gallery items may
# differ by as much, depending on where a matrix product happens to place them.
COSINE_TOLERANCE = 1e-6

_ROWS_PER_BLOCK = 512
_VALUES_PER_CHUNK = 4_000_000


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
    for rows in _blocks(n_queries):
        mask = relevant[rows]
        if relevant.ndim == 1:
            mask = mask[:, None] == items
        result[rows] = _block_ranks(similarity_QG[rows], mask, tolerance, rows.start)
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
    queries_QD, gallery_GD = _unit(queries, "queries"), _unit(gallery, "gallery")
    if queries_QD.shape[1] != gallery_GD.shape[1]:
        raise UserError(
            f"gallery: found {gallery_GD.shape[1]} dimensions, expected "
            f"{queries_QD.shape[1]} as in the queries: embed both with one encoder"
        )
    labels_Q = _labels(query_labels, len(queries_QD), "query_labels")
    labels_G = _labels(gallery_labels, len(gallery_GD), "gallery_labels")
    result = np.empty(len(queries_QD))
    for rows in _blocks(len(queries_QD)):
        similarity = queries_QD[rows] @ gallery_GD.T
        mask = labels_Q[rows, None] == labels_G
        result[rows] = _block_ranks(similarity, mask, COSINE_TOLERANCE, rows.start)
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


def _block_ranks(
    similarity: NDArray, relevant: NDArray[np.bool_], tolerance: float, first: int
) -> NDArray[np.float64]:
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


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _ROWS_PER_BLOCK):
        yield slice(start, min(start + _ROWS_PER_BLOCK, rows))


def _unit(embeddings: ArrayLike, name: str) -> NDArray[np.float32]:
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


# --- Figures -------------------------------------------------------------------------------


def recall_at(ranks: ArrayLike, k: int) -> float:
    """Share of queries whose item is among the first `k`; ranks (Q,) or (S, Q).

    A query tied across the cut (rank 1.5 at k = 1) is not counted as found.
    """
    return float(_recall(k)(_runs(ranks)).mean())


def recall_curve(ranks: ArrayLike, deepest: int = 50) -> list[float]:
    """Recall at 1, 2, … `deepest`."""
    values = np.sort(_runs(ranks), axis=None)
    found = np.searchsorted(values, np.arange(1, deepest + 1), side="right")
    return (found / values.size).tolist()


def summary(ranks: ArrayLike, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Recall at each `k` as `r1`, `r5`, …, and the median rank `medr`.

    Ranks are (Q,), or (S, Q) of several training runs, whose figures are averaged.
    """
    values = _runs(ranks)
    return {name: float(f(values).mean()) for name, f in _statistics(ks).items()}


def summary_intervals(
    ranks: ArrayLike,
    ks: Sequence[int] = (1, 5, 10),
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """The bootstrap interval of every figure of `summary`, from the same resamples."""
    return {
        name: bootstrap_interval(ranks, statistic, resamples, seed, level)
        for name, statistic in _statistics(ks).items()
    }


def _statistics(ks: Sequence[int]) -> dict[str, Statistic]:
    statistics: dict[str, Statistic] = {f"r{k}": _recall(k) for k in ks}
    statistics["medr"] = _median
    return statistics


def _recall(k: int) -> Statistic:
    return lambda values: (values <= k).mean(axis=-1)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.median(values, axis=-1)


def _runs(values: ArrayLike) -> NDArray[np.float64]:
    array = np.atleast_2d(np.asarray(values, np.float64))
    if array.ndim != 2 or array.size == 0:
        raise UserError(
            f"ranks: found shape {np.shape(values)}, expected (queries,) or "
            "(seeds, queries) with one query at least"
        )
    return array


# --- Intervals -----------------------------------------------------------------------------


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of a statistic (Efron 1979).

    Queries are drawn with replacement. Where there are several training runs,
    these are drawn as well and averaged (the pigeonhole bootstrap, Owen 2007),
    so that the interval covers the chance of training too.

    Args:
        values: (Q,) or (S, Q), one value a query, such as its rank.
        statistic: reduces the last axis of an array.
        resamples: how many times to draw.
        seed: equal seeds give equal intervals.
        level: the share of resamples that the interval holds.
    """
    runs = _runs(values)
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(_draw_runs(runs, queries, rng)).mean(axis=-1)
        for queries in _draw_queries(runs.shape[1], runs.size, resamples, rng)
    ]
    return _percentiles(np.concatenate(drawn), level)


@dataclass(frozen=True)
class PairedGain:
    """What a method gains in recall over a baseline on the same queries.

    `absolute` is a difference of fractions, `relative` that difference over the
    baseline's recall. A part is None where the baseline finds nothing to
    compare with (all of it, or in a share of the resamples).
    """

    absolute: float
    absolute_interval: Interval
    relative: float | None
    relative_interval: Interval | None


def paired_bootstrap(
    ranks: ArrayLike,
    baseline_ranks: ArrayLike,
    k: int = 1,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedGain:
    """Gain in recall at `k` over a baseline, with intervals from shared queries.

    Each resample draws one set of queries for both methods, which removes what
    makes queries easy or hard for both; training runs are drawn for each
    method by itself, and need not be equally many.

    Args:
        ranks: (Q,) or (S, Q).
        baseline_ranks: (Q,) or (S', Q), of the same queries in the same order.
    """
    method, baseline = _runs(ranks), _runs(baseline_ranks)
    n_queries = method.shape[1]
    if baseline.shape[1] != n_queries:
        raise UserError(
            f"baseline_ranks: found {baseline.shape[1]} queries, expected {n_queries}: "
            "evaluate both methods on the same queries in the same order"
        )
    recall = _recall(k)
    rng = np.random.default_rng(seed)
    per_resample = max(method.size, baseline.size)
    drawn = [
        (
            recall(_draw_runs(method, queries, rng)).mean(axis=-1),
            recall(_draw_runs(baseline, queries, rng)).mean(axis=-1),
        )
        for queries in _draw_queries(n_queries, per_resample, resamples, rng)
    ]
    ours = np.concatenate([pair[0] for pair in drawn])
    theirs = np.concatenate([pair[1] for pair in drawn])
    reference = recall_at(baseline, k)
    absolute = recall_at(method, k) - reference
    return PairedGain(
        absolute=absolute,
        absolute_interval=_percentiles(ours - theirs, level),
        relative=absolute / reference if reference > 0 else None,
        relative_interval=(
            _percentiles((ours - theirs) / theirs, level) if (theirs > 0).all() else None
        ),
    )


def _draw_queries(
    n_queries: int, per_resample: int, resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    chunk = max(1, _VALUES_PER_CHUNK // per_resample)
    for start in range(0, resamples, chunk):
        yield rng.integers(n_queries, size=(min(chunk, resamples - start), n_queries))


def _draw_runs(
    runs: NDArray[np.float64], queries: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(chunk, S, Q): for every resample its queries, in S runs drawn from the S given."""
    if len(runs) == 1:
        return runs[0][queries][:, None]
    drawn = rng.integers(len(runs), size=(len(queries), len(runs)))
    return runs[drawn[:, :, None], queries[:, None, :]]


def _percentiles(drawn: NDArray[np.float64], level: float) -> Interval:
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, (tail, 1.0 - tail))
    return float(low), float(high)
