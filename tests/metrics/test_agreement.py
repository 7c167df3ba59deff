"""Kappa against a second implementation, and what its interval must do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.metrics.agreement import agreement, cohen_kappa

labels = st.sampled_from(["up", "down", "left"])


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
def test_as_scikit_learn_has_it(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    first, second = zip(*pairs, strict=True)

    kappa = cohen_kappa(first, second)

    if len({*first, *second}) > 1:
        assert kappa == pytest.approx(metrics.cohen_kappa_score(first, second))
    found = agreement(pairs, range(len(pairs)), resamples=50)
    assert (found.kappa == pytest.approx(kappa, nan_ok=True)) and found.cases == len(pairs)
    assert (found.interval is None) == math.isnan(kappa)


def test_kappa_of_full_agreement_chance_and_none():
    assert cohen_kappa(["a", "b"], ["a", "b"]) == 1
    assert cohen_kappa(["a", "a", "b", "b"], ["a", "b", "a", "b"]) == 0
    assert math.isnan(cohen_kappa(["a"], ["a"])) and math.isnan(cohen_kappa([], []))


def test_the_interval_covers_what_it_says():
    """Two annotators who agree by chance alone, again and again: kappa is truly 0."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        pairs = list(zip(rng.choice(list("abc"), 60), rng.choice(list("abc"), 60), strict=True))
        low, high = agreement(pairs, range(60), resamples=400).interval
        covered += low <= 0 <= high
    assert 0.9 <= covered / 200 <= 0.99


def test_cases_of_one_item_are_drawn_together():
    """Said twice of every item, the same tells no more; the interval must not shrink for it."""
    rng = np.random.default_rng(1)
    pairs = [(a, a if rng.random() < 0.7 else "c") for a in rng.choice(list("ab"), 80)]
    once = agreement(pairs, range(80))
    twice = agreement([*pairs, *pairs], [*range(80), *range(80)])

    assert twice.kappa == pytest.approx(once.kappa)
    assert (twice.items, twice.cases) == (80, 160)
    assert np.ptp(twice.interval) == pytest.approx(np.ptp(once.interval), rel=0.1)


def test_nothing_in_common_is_no_agreement():
    found = agreement([], [])
    assert (found.items, found.cases, found.interval) == (0, 0, None)
    assert math.isnan(found.kappa) and math.isnan(found.agreed)
