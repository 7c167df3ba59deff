"""How sure a figure is: the bootstrap over takes, queries and training runs.

Phrases of one take are alike: one speaker, one day, the next sentence. Drawing queries as
if they were independent makes intervals too narrow, so a resample draws takes first and
then, within each take drawn, its queries (the hierarchical bootstrap; Davison & Hinkley
1997, section 3.8). Where a method was trained several times, its runs are drawn too, so
that an interval covers the chance of training. Methods that are compared share the draws
of queries, which removes what makes queries easy or hard for all of them.

With S runs, drawing runs understates the variance of training by about a factor of
(S − 1) / S: three seeds are few.

Shapes: R resamples, S runs (seeds), Q queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.errors import UserError

Interval = tuple[float, float]

_DRAWS_PER_CHUNK = 4_000_000


@dataclass(frozen=True)
class PairedGain:
    """What a method gains in a figure over a baseline on the same queries.

    `absolute` is a difference of fractions, `relative` that difference over the
    baseline's figure. A part is None where the baseline has nothing to compare
    with (in all, or in so many resamples that the interval has no end).
    """

    absolute: float
    absolute_interval: Interval
    relative: float | None
    relative_interval: Interval | None


class Bootstrap:
    """Resamples of Q queries, the same for everything that is measured with them.

    Values of queries are (Q,) or (S, Q); NaN where a query has none, as when a protocol
    asks a part of them only.

    Args:
        takes: (Q,), the take of each query, as any labels; None: every query by itself.
        n_queries: Q, where `takes` is None.
        resamples: R.
        seed: equal seeds give equal intervals.
        level: the share of resamples that an interval holds.
    """

    def __init__(
        self,
        takes: ArrayLike | None = None,
        n_queries: int | None = None,
        resamples: int = 2000,
        seed: int = 0,
        level: float = 0.95,
    ) -> None:
        groups = np.arange(n_queries or 0) if takes is None else np.asarray(takes)
        if groups.ndim != 1 or not len(groups):
            raise UserError(f"takes: found shape {groups.shape}, expected one take a query")
        self.n_queries = len(groups)
        self.seed, self.level = seed, level
        self._counts = list(_counts(groups, resamples, np.random.default_rng(seed)))
        self.resamples = resamples

    def mean(self, values: ArrayLike, stream: int = 0) -> NDArray[np.float64]:
        """(R,) means over the queries drawn, averaged over the runs drawn.

        `stream` numbers the draws of runs: methods that are compared have streams of their own.
        """
        values_SQ = self._runs(values)
        known = np.isfinite(values_SQ)
        weights = np.concatenate((np.where(known, values_SQ, 0.0), known)).T.astype(np.float32)
        means = []
        for counts in self._counts:
            sums = counts.astype(np.float32) @ weights
            total, number = np.split(sums.astype(np.float64), 2, axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                means.append(total / number)
        return self._over_runs(np.concatenate(means), stream)

    def median(self, values: ArrayLike, stream: int = 0) -> NDArray[np.float64]:
        """(R,) medians over the queries drawn, averaged over the runs drawn."""
        columns = []
        for run in self._runs(values):
            known = np.flatnonzero(np.isfinite(run))
            order = known[np.argsort(run[known], kind="stable")]
            ordered = run[order]
            columns.append(np.concatenate([_medians(ordered, c[:, order]) for c in self._counts]))
        return self._over_runs(np.stack(columns, axis=1), stream)

    def interval(self, drawn: NDArray[np.float64]) -> Interval:
        """The percentile interval (Efron 1979) of R resampled figures."""
        tail = (1.0 - self.level) / 2.0
        low, high = np.nanquantile(drawn, (tail, 1.0 - tail))
        return float(low), float(high)

    def gain(self, values: ArrayLike, baseline: ArrayLike) -> PairedGain:
        """Gain of the mean of `values` over that of `baseline`, of the same queries.

        The two need not have equally many runs.
        """
        ours, theirs = self.mean(values, stream=1), self.mean(baseline, stream=2)
        reference = float(np.nanmean(self._runs(baseline), axis=1).mean())
        absolute = float(np.nanmean(self._runs(values), axis=1).mean()) - reference
        # Over nothing, anything is endlessly more.
        ratios = np.where(ours > 0, np.inf, 0.0)
        np.divide(ours - theirs, theirs, out=ratios, where=theirs > 0)
        with np.errstate(invalid="ignore"):
            relative_interval = self.interval(ratios)
        bounded = reference > 0 and np.isfinite(relative_interval).all()
        return PairedGain(
            absolute=absolute,
            absolute_interval=self.interval(ours - theirs),
            relative=absolute / reference if reference > 0 else None,
            relative_interval=relative_interval if bounded else None,
        )

    def _runs(self, values: ArrayLike) -> NDArray[np.float64]:
        runs = np.atleast_2d(np.asarray(values, np.float64))
        if runs.ndim != 2 or runs.shape[1] != self.n_queries:
            raise UserError(
                f"values: found shape {np.shape(values)}, expected (seeds, {self.n_queries}): "
                "evaluate all methods on the same queries in the same order"
            )
        return runs

    def _over_runs(self, figures_RS: NDArray[np.float64], stream: int) -> NDArray[np.float64]:
        runs = figures_RS.shape[1]
        if runs == 1:
            return figures_RS[:, 0]
        rng = np.random.default_rng((self.seed, 1 + stream))
        drawn = rng.integers(runs, size=(len(figures_RS), runs))
        return np.take_along_axis(figures_RS, drawn, axis=1).mean(axis=1)


def _counts(
    groups: NDArray, resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.uint16]]:
    """Pieces of (R, Q): how often each resample draws each query."""
    _, group_Q = np.unique(groups, return_inverse=True)
    order = np.argsort(group_Q, kind="stable")
    sizes = np.bincount(group_Q)
    starts = np.cumsum(sizes) - sizes
    n_queries, n_groups = len(group_Q), len(sizes)
    chunk = max(1, _DRAWS_PER_CHUNK // n_queries)
    for first in range(0, resamples, chunk):
        rows = min(chunk, resamples - first)
        drawn = rng.integers(n_groups, size=rows * n_groups)
        lengths = sizes[drawn]
        row = np.repeat(np.repeat(np.arange(rows), n_groups), lengths)
        start, length = np.repeat(starts[drawn], lengths), np.repeat(lengths, lengths)
        within = (rng.random(len(row)) * length).astype(np.int64)
        query = order[start + within]
        counted = np.bincount(row * n_queries + query, minlength=rows * n_queries)
        yield counted.reshape(rows, n_queries).astype(np.uint16)


def _medians(ordered: NDArray[np.float64], counts: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Medians of ascending values that are each taken `counts` (R, N) times; NaN of none."""
    if not len(ordered):
        return np.full(len(counts), np.nan)
    cumulated = counts.cumsum(axis=1, dtype=np.int64)
    total = cumulated[:, -1:]
    # The two middle ones, which are one where the number is odd.
    middle = [
        (cumulated < np.maximum(place, 1)).sum(axis=1).clip(max=len(ordered) - 1)
        for place in ((total + 1) // 2, total // 2 + 1)
    ]
    medians = (ordered[middle[0]] + ordered[middle[1]]) / 2
    return np.where(total[:, 0] > 0, medians, np.nan)
