"""Active speaker detection: who stands beside whom, at chance and at the top."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from gestray.errors import UserError
from gestray.metrics.active_speaker import by_clips, draw_others, in_time


def takes_of(count: int) -> np.ndarray:
    return np.arange(count) // 5


def test_others_are_of_other_takes_and_as_long() -> None:
    seconds = np.random.default_rng(0).uniform(1, 8, 200)
    others = draw_others(seconds, takes_of(200), 5, rounds=6)
    assert others.shape == (200, 6, 5)
    assert (takes_of(200)[others] != takes_of(200)[:, None, None]).all()
    assert all(len(set(drawn)) == 5 for query in others for drawn in query.tolist())
    apart = np.abs(seconds[others] - seconds[:, None, None])
    assert np.median(apart) < 0.5 < np.abs(seconds[:, None] - seconds).mean()
    np.testing.assert_array_equal(others, draw_others(seconds, takes_of(200), 5, rounds=6))


def test_too_few_others_are_said() -> None:
    with pytest.raises(UserError, match="among 6: query 0 has 4 clips"):
        draw_others(np.ones(9), takes_of(9), 5)


@pytest.mark.parametrize("people", [2, 4, 6])
def test_random_embeddings_score_at_chance_and_an_oracle_one(people: int) -> None:
    rng = np.random.default_rng(people)
    text, motion = rng.normal(size=(2, 1000, 8))
    others = draw_others(rng.uniform(1, 8, 1000), takes_of(1000), people - 1, rounds=1)
    low, high = binom.interval(0.9999, 1000, 1 / people)
    assert low <= by_clips(text, motion, others).told(people).sum() <= high
    assert by_clips(text, 3 * text, others).told(people).mean() == 1.0
    # One point for everybody: nobody is told apart.
    point = np.ones((1000, 4))
    assert by_clips(point, point, others).told(people) == pytest.approx(1 / people)


def test_by_clips_is_an_argmax() -> None:
    rng = np.random.default_rng(0)
    text, motion = rng.normal(size=(2, 60, 6))
    others = draw_others(np.ones(60), takes_of(60), 3, rounds=4)
    unit = motion / np.linalg.norm(motion, axis=1, keepdims=True)
    for people in (2, 4):
        for query, found in enumerate(by_clips(text, motion, others).told(people)):
            won = [
                np.argmax(unit[[query, *drawn[: people - 1]]] @ text[query]) == 0
                for drawn in others[query].tolist()
            ]
            assert found == pytest.approx(np.mean(won))


def test_in_time_hears_order_that_a_clip_as_a_whole_does_not() -> None:
    """Everybody makes the same gestures; only the speaker makes them under their words."""
    rng = np.random.default_rng(0)
    gestures = np.eye(6)
    orders = [rng.permutation(6) for _ in range(40)]
    frames = [np.repeat(gestures[order], 10, axis=0) for order in orders]
    words = [gestures[order] for order in orders]
    times = [0.1 * (np.arange(60) + 0.5)] * 40
    spans = [np.stack((np.arange(6.0), np.arange(6.0) + 1), axis=1)] * 40
    others = draw_others(np.full(40, 6.0), takes_of(40), 3)
    pooled = np.stack([clip.mean(axis=0) for clip in frames])
    assert by_clips(pooled, pooled, others).told(4) == pytest.approx(1 / 4)
    assert in_time(frames, times, words, spans, others).told(4).mean() > 0.95


def test_in_time_at_chance_and_with_shorter_clips() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 60, 300)
    frames = [rng.normal(size=(length, 8)).astype(np.float32) for length in lengths]
    times = [0.1 * (np.arange(length) + 0.5) for length in lengths]
    words = [rng.normal(size=(5, 8)).astype(np.float32) for _ in range(300)]
    # Words that last beyond the end of shorter clips.
    spans = [np.stack((np.arange(5.0), np.arange(5.0) + 1), axis=1)] * 300
    others = draw_others(lengths / 10, takes_of(300), 1, rounds=1)
    low, high = binom.interval(0.9999, 300, 1 / 2)
    assert low <= in_time(frames, times, words, spans, others).told(2).sum() <= high
