"""Figures as sums and weights, take by take, and means and intervals of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Part = tuple[float, float]
"""A sum, and the weight (frames, onsets, …) that it is a sum over; without weight it says nothing.
"""


@dataclass(frozen=True)
class Figure:
    """What a figure is called, counted in, and which way is better.

    Attributes:
        name: as in results.
        title: with its unit.
        better: ``lower``, ``higher``, or ``real``: the nearer to recorded motion the better.
        digits: after the point.
    """

    name: str
    title: str
    better: str
    digits: int = 2


def mean(parts: Sequence[Part]) -> float:
    """Of takes together; NaN where none says anything."""
    total, weight = np.asarray(parts, dtype=np.float64).reshape(-1, 2).sum(axis=0)
    return float(total / weight) if weight > 0 else float("nan")


def draws(takes: int, resamples: int, seed: int = 0) -> np.ndarray:
    """Takes drawn with replacement, (resamples, takes); the same ones for every row."""
    return np.random.default_rng(seed).integers(takes, size=(resamples, takes))


def interval(
    parts: Sequence[Part], drawn: np.ndarray, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile bootstrap over takes; None where it has none (a take, or nothing measured)."""
    values = np.asarray(parts, dtype=np.float64).reshape(-1, 2)
    if len(values) < 2 or not len(drawn):
        return None
    sums = values[drawn].sum(axis=1)
    known = sums[sums[:, 1] > 0]
    if not len(known):
        return None
    tail = (1 - level) / 2
    low, high = np.quantile(known[:, 0] / known[:, 1], (tail, 1 - tail))
    return float(low), float(high)


def by_name(takes: Sequence[Mapping[str, Part]]) -> dict[str, list[Part]]:
    """Parts of each figure, one a take; a take that lacks it has weight 0."""
    names = list(dict.fromkeys(name for take in takes for name in take))
    return {name: [take.get(name, (0.0, 0.0)) for take in takes] for name in names}
