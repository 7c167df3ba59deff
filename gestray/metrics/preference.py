"""How much one method is preferred to another, and whether chance would do the same.

Choices between two are counted, and tested against a fair coin by the exact binomial test.
Ties are left out of the test, as in the sign test (Dixon & Mood 1946). The interval of the share
is Clopper and Pearson's (1934): it holds the true share at least as often as it says, and leaves
one half out wherever a one-sided test at half the level would.

Both take choices to be independent, which those of one person are not; so beside them stands an
interval that draws people, then their choices (`gestray.metrics.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gestray.metrics.bootstrap import Bootstrap, Interval


@dataclass(frozen=True)
class Preference:
    """Choices between a first and a second, counted.

    Attributes:
        first: choices of the first.
        second: choices of the second.
        ties: choices of neither.
        share: of the first among the decided; NaN without any.
        interval: exact, of the share.
        p_value: two-sided, that a fair coin is as far from one half.
        by_people: interval of the share by drawing people; None of one person or without choices.
    """

    first: int
    second: int
    ties: int
    share: float
    interval: Interval
    p_value: float
    by_people: Interval | None = None

    @property
    def decided(self) -> int:
        return self.first + self.second


def preference(first: int, second: int, ties: int = 0, level: float = 0.95) -> Preference:
    """The share of the first of two, its exact interval and the exact binomial test."""
    from scipy.stats import binomtest

    decided = first + second
    if not decided:
        return Preference(0, 0, ties, float("nan"), (0.0, 1.0), 1.0)
    test = binomtest(first, decided)
    interval = test.proportion_ci(level, method="exact")
    return Preference(
        first,
        second,
        ties,
        first / decided,
        (float(interval.low), float(interval.high)),
        float(test.pvalue),
    )


def preference_of(choices: ArrayLike, people: ArrayLike, level: float = 0.95) -> Preference:
    """The preference that choices of several people say.

    Args:
        choices: 1 for the first, −1 for the second, 0 for neither; (N,).
        people: who made each, as any labels; (N,).
    """
    made = np.asarray(choices, dtype=np.int64)
    decided = made != 0
    who = np.asarray(people)[decided]
    found = preference(int((made > 0).sum()), int((made < 0).sum()), int((~decided).sum()), level)
    if len(np.unique(who)) < 2:
        return found
    bootstrap = Bootstrap(takes=who, level=level)
    drawn = bootstrap.mean((made[decided] > 0).astype(float))
    return Preference(**{**vars(found), "by_people": bootstrap.interval(drawn)})


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several questions asked at once, adjusted by Holm's (1979) step-down."""
    order = np.argsort(p_values, kind="stable")
    count = len(p_values)
    adjusted = np.empty(count)
    factors = count - np.arange(count)
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    return [float(min(1.0, p)) for p in adjusted]
