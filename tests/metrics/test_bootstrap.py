"""What an interval covers: queries, the takes they come from, and the chance of training."""

from __future__ import annotations

import numpy as np
import pytest

from gestray.errors import UserError
from gestray.metrics.bootstrap import Bootstrap
from gestray.metrics.retrieval import found_within, summary_intervals


def test_interval_of_a_share_is_the_binomial_one() -> None:
    found = np.where(np.arange(1000) < 300, 1, 50)
    low, high = summary_intervals(found, Bootstrap(n_queries=1000, resamples=4000))["r1"]
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.003)
    narrow = Bootstrap(n_queries=1000, level=0.5)
    bounds = narrow.interval(narrow.mean(found <= 1))
    assert low < bounds[0] < 0.3 < bounds[1] < high


def test_queries_of_a_take_do_not_count_as_independent() -> None:
    # Takes of 10 queries that are all found or all missed: as sure as 100 queries, not 1,000.
    takes = np.repeat(np.arange(100), 10)
    found = np.repeat(np.arange(100) < 30, 10)
    by_take = Bootstrap(takes, resamples=4000)
    low, high = by_take.interval(by_take.mean(found))
    half = 1.96 * np.sqrt(0.3 * 0.7 / 100)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.01)


def test_a_single_take_is_resampled_within() -> None:
    bootstrap = Bootstrap(np.zeros(500, int), resamples=2000)
    low, high = bootstrap.interval(bootstrap.mean(np.arange(500) < 250))
    half = 1.96 * 0.5 / np.sqrt(500)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.006)


def test_each_resample_draws_whole_takes_as_often_as_there_are() -> None:
    takes = np.array(["b", "a", "b", "c", "b"])
    counts = np.concatenate(Bootstrap(takes, resamples=300)._counts)
    drawn = np.stack([counts[:, takes == take].sum(axis=1) for take in "abc"], axis=1)
    assert (drawn[:, 1] % 3 == 0).all()  # a take of three queries gives three at each draw
    assert (drawn @ [1, 1 / 3, 1] == 3).all()


def test_mean_and_median_agree_with_repeating_the_queries() -> None:
    rng = np.random.default_rng(0)
    bootstrap = Bootstrap(rng.integers(12, size=70), resamples=200)
    values = rng.integers(9, size=70).astype(float)
    values[::7] = np.nan
    counts = np.concatenate(bootstrap._counts)
    repeated = [np.repeat(values, count) for count in counts]
    np.testing.assert_allclose(bootstrap.mean(values), [np.nanmean(r) for r in repeated], 1e-6)
    np.testing.assert_allclose(bootstrap.median(values), [np.nanmedian(r) for r in repeated])


def test_interval_is_reproducible_and_collapses_without_variation() -> None:
    found = np.random.default_rng(0).integers(1, 9, 200)
    first, again, other = (
        summary_intervals(found, Bootstrap(n_queries=200, seed=seed)) for seed in (3, 3, 4)
    )
    assert first == again != other
    assert summary_intervals(np.full(200, 2), Bootstrap(n_queries=200))["medr"] == (2.0, 2.0)


def test_interval_covers_the_chance_of_training() -> None:
    # Every query agrees within a run; only the runs differ.
    runs = np.repeat([[1.0], [50.0], [1.0], [50.0]], 400, axis=1)
    bootstrap = Bootstrap(n_queries=400)
    assert summary_intervals(runs, bootstrap)["r1"] == (0.0, 1.0)
    one_run = np.concatenate((np.ones(200), np.full(200, 50.0)))
    low, high = summary_intervals(one_run, bootstrap)["r1"]
    assert high - low < 0.12


def test_paired_gain_of_known_answer() -> None:
    # The method finds all that the baseline finds, and 50 of 500 more.
    baseline, method = (np.arange(500) < found for found in (200, 250))
    gain = Bootstrap(n_queries=500, resamples=4000).gain(method, baseline)
    assert gain.absolute == pytest.approx(0.1)
    assert gain.relative == pytest.approx(0.25)
    # Paired, the difference is the share of those 50: binomial at 0.1. Unpaired
    # draws would give an interval more than twice as wide.
    half = 1.96 * np.sqrt(0.1 * 0.9 / 500)
    assert gain.absolute_interval == pytest.approx((0.1 - half, 0.1 + half), abs=0.004)
    assert gain.relative_interval is not None
    assert gain.relative_interval[0] < 0.25 < gain.relative_interval[1]


def test_a_gain_within_the_chance_of_training_is_not_above_zero() -> None:
    # Two trainings of each, which differ more among themselves than the methods do.
    rng = np.random.default_rng(0)
    shares = {"method": (0.3, 0.5), "baseline": (0.25, 0.45)}
    runs = {
        name: np.stack([rng.random(2000) < share for share in pair])
        for name, pair in shares.items()
    }
    gain = Bootstrap(n_queries=2000).gain(runs["method"], runs["baseline"])
    assert gain.absolute == pytest.approx(0.05, abs=0.02)
    assert gain.absolute_interval[0] < 0


def test_a_method_gains_nothing_over_itself() -> None:
    found = np.random.default_rng(0).integers(1, 4, 300)
    gain = Bootstrap(n_queries=300).gain(found <= 1, found <= 1)
    assert (gain.absolute, gain.absolute_interval) == (0.0, (0.0, 0.0))
    assert (gain.relative, gain.relative_interval) == (0.0, (0.0, 0.0))


def test_no_relative_gain_over_a_baseline_that_finds_nothing() -> None:
    gain = Bootstrap(n_queries=3).gain([1, 1, 0], [0, 0, 0])
    assert gain.absolute == pytest.approx(2 / 3)
    assert gain.relative is None
    assert gain.relative_interval is None


def test_what_was_not_asked_does_not_count() -> None:
    bootstrap = Bootstrap(n_queries=4)
    found = found_within([1.0, np.nan, 9.0, np.nan], 5)
    gain = bootstrap.gain(found, found_within([9.0, np.nan, 9.0, np.nan], 5))
    assert gain.absolute == pytest.approx(0.5)


def test_compared_methods_share_their_queries() -> None:
    with pytest.raises(UserError, match=r"found shape \(3,\), expected \(seeds, 2\)"):
        Bootstrap(n_queries=2).gain([1, 0], [1, 0, 0])


@pytest.mark.parametrize(("hits", "bounded"), [(6, True), (2, False)])
def test_a_relative_gain_has_an_interval_if_few_resamples_find_nothing(hits, bounded) -> None:
    """Of 6 hits a resample misses all with a chance of 0.2 %, of 2 with 13 %."""
    baseline = (np.arange(400) < hits).astype(float)
    gain = Bootstrap(n_queries=400).gain((np.arange(400) < 2 * hits).astype(float), baseline)
    assert gain.relative == pytest.approx(1.0)
    assert (gain.relative_interval is not None) == bounded
    if gain.relative_interval is not None:
        assert 0 < gain.relative_interval[0] < 1 < gain.relative_interval[1]
