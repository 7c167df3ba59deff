"""How far two annotators agree, field by field, beyond what chance would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gestray.metrics.retrieval import Interval


@dataclass(frozen=True)
class Agreement:
    """Agreement of two annotators in one field.

    Attributes:
        items: phrases that both have said something about.
        cases: pairs of values that were compared; a phrase may have none (a hand that does not
            take part) or several (both hands do).
        agreed: share of the pairs that are equal; NaN without any.
        kappa: Cohen's; NaN where chance alone agrees fully, since both always say the same.
        interval: of kappa, by drawing items; None where kappa is NaN.
    """

    items: int
    cases: int
    agreed: float
    kappa: float
    interval: Interval | None


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Agreement of two annotators beyond chance (Cohen 1960), over the same cases in order.

    1 is full agreement, 0 what chance gives; NaN without cases, or where both
    always give the same one label and chance alone agrees fully.
    """
    cells, labels = _cells(list(zip(first, second, strict=True)))
    return float(_kappas(np.bincount(cells, minlength=labels**2)[None], labels)[0])


def agreement(
    pairs: Sequence[tuple[str, str]],
    items: Sequence[int],
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """Kappa with a bootstrap interval.

    Items are drawn, with all the pairs they have: the hands of a gesture are not independent of
    each other.

    Args:
        pairs: what the two said, a pair a case.
        items: the item of each pair, any numbers.
    """
    cells, labels = _cells(pairs)
    _, item = np.unique(np.asarray(items, dtype=np.int64), return_inverse=True)
    count = int(item.max(initial=-1)) + 1
    kappa = float(_kappas(np.bincount(cells, minlength=labels**2)[None], labels)[0])
    interval = None
    if not np.isnan(kappa):
        in_cells = np.zeros((count, labels**2))
        np.add.at(in_cells, (item, cells), 1)
        drawn = np.random.default_rng(seed).multinomial(
            count, np.full(count, 1 / count), size=resamples
        )
        kappas = _kappas(drawn @ in_cells, labels)
        tail = (1 - level) / 2
        low, high = np.nanquantile(kappas, (tail, 1 - tail))
        interval = (float(low), float(high))
    agreed = float(np.mean([a == b for a, b in pairs])) if pairs else float("nan")
    return Agreement(count, len(pairs), agreed, kappa, interval)


def _cells(pairs: Sequence[tuple[str, str]]) -> tuple[NDArray[np.int64], int]:
    """Where each pair stands in the flattened table of labels, and the number of labels."""
    values = sorted({value for pair in pairs for value in pair})
    labels = {label: i for i, label in enumerate(values)}
    cells = [labels[a] * len(labels) + labels[b] for a, b in pairs]
    return np.array(cells, dtype=np.int64), max(1, len(labels))


def _kappas(counts: NDArray, labels: int) -> NDArray[np.float64]:
    """Kappa of each table of counts (R, labels²); NaN where it has none."""
    table = counts.reshape(-1, labels, labels).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        table = table / table.sum(axis=(1, 2), keepdims=True)
        agreed = np.trace(table, axis1=1, axis2=2)
        chance = (table.sum(axis=2) * table.sum(axis=1)).sum(axis=1)
        return np.where(chance < 1 - 1e-12, (agreed - chance) / (1 - chance), np.nan)
