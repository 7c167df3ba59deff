"""Preferences against tails of the binomial that are summed as fractions, and by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.metrics.preference import holm, preference, preference_of


def upper_tail(k: int, n: int, p: Fraction) -> Fraction:
    """P(X ≥ k) of a binomial, without rounding."""
    return sum(
        (math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)), start=Fraction(0)
    )


def test_the_paper_s_preference() -> None:
    """130 of 180 choices are 72.2 %."""
    found = preference(130, 50)
    p = 2 * upper_tail(130, 180, Fraction(1, 2))
    assert found.share == pytest.approx(0.7222, abs=1e-4)
    assert found.p_value == pytest.approx(float(p), rel=1e-9) and found.p_value < 1e-8
    low, high = (Fraction(end).limit_denominator(10**7) for end in found.interval)
    # Where the interval ends, each tail has half of what it leaves out.
    assert float(upper_tail(130, 180, low)) == pytest.approx(0.025, rel=1e-4)
    assert float(1 - upper_tail(131, 180, high)) == pytest.approx(0.025, rel=1e-4)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_exchanging_the_two_turns_everything_round(first: int, second: int, ties: int) -> None:
    one, other = preference(first, second, ties), preference(second, first, ties)
    assert one.p_value == pytest.approx(other.p_value) and one.ties == ties
    low, high = one.interval
    assert (1 - high, 1 - low) == pytest.approx(other.interval, abs=1e-9)
    if first + second:
        assert low <= one.share <= high
        k, n = max(first, second), first + second
        expected = min(Fraction(1), 2 * upper_tail(k, n, Fraction(1, 2)))
        assert one.p_value == pytest.approx(float(expected), rel=1e-9)


def test_ties_are_left_out_of_the_test() -> None:
    assert preference(9, 1, ties=100).p_value == preference(9, 1).p_value


def test_nobody_has_no_preference() -> None:
    found = preference(0, 0)
    assert math.isnan(found.share) and found.interval == (0.0, 1.0) and found.p_value == 1.0


def test_people_who_always_choose_alike_are_worth_one_choice_each() -> None:
    """Twenty people, ten choices each, all of a person the same."""
    choices = np.repeat([1] * 14 + [-1] * 6, 10)
    found = preference_of(choices, np.repeat(np.arange(20), 10))
    low, high = found.by_people
    exact_low, exact_high = found.interval
    assert high - low > 2 * (exact_high - exact_low)
    assert preference_of([1, 1, -1], ["ann"] * 3).by_people is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
