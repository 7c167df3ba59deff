"""What a corpus will cost: known answers, and that the interval is one."""

from __future__ import annotations

import numpy as np
import pytest

from gestray.anchors.costs import Prices, Sample, estimate


def test_a_sample_is_scaled_to_what_is_left():
    sample = Sample([100, 100], [1000, 1000], rounds=1, start_s=40.0, work_s=20.0)
    prices = Prices(device_hour=3.0, million_prompt_tokens=1.0, million_tokens=10.0)

    left = estimate(sample, questions=100, engines=2, devices=4, prices=prices)

    assert left.questions == 100
    assert left.tokens == (10_000, 10_000, 10_000)  # no two of the sample differ
    assert left.prompt_tokens.value == 100_000
    # 200 tokens took 20 s; two engines do 10,000 in 500 s, after 40.
    assert left.seconds.value == pytest.approx(540)
    assert left.device_hours.value == pytest.approx(540 * 8 / 3600)
    assert left.price.value == pytest.approx(540 * 8 / 3600 * 3 + 0.1 + 0.1)


def test_nothing_left_costs_nothing():
    left = estimate(Sample([90], [900], 1, 40.0, 9.0), 0, 1, 1, Prices(device_hour=3.0))
    assert (left.tokens.value, left.seconds.value, left.price.value) == (0, 0, 0)


def test_the_interval_covers_what_comes():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        tokens = rng.integers(60, 140, 116)
        left = estimate(Sample(tokens[:16].tolist(), [1] * 16, 1, 0.0, 1.0), 100, 1, 1, Prices())
        covered += left.tokens.low <= tokens[16:].sum() <= left.tokens.high
    assert 0.88 <= covered / 300 <= 0.99
