"""Spotting by its definition, at chance and at the top."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from gestray.errors import UserError
from gestray.metrics.spotting import MARGIN_S, TEMPERATURE, SpottingClip, spot_words

FRAME_S = 0.1


def clip(frames: np.ndarray, words: np.ndarray, targets: list[int]) -> SpottingClip:
    """Words of half a second each, one after the other."""
    starts = 0.5 * np.arange(len(words))
    times = FRAME_S * (np.arange(len(frames)) + 0.5)
    return SpottingClip(frames, times, words, starts, starts + 0.5, targets)


def slow(example: SpottingClip) -> tuple[list[float], list[float]]:
    """The definition, one frame and word after the other."""
    accuracy, located = [], []
    for target in example.targets:
        chances = []
        for frame in example.frames:
            cosines = [
                frame @ word / np.linalg.norm(frame) / np.linalg.norm(word)
                for word in example.words
            ]
            weights = [np.exp(cosine / TEMPERATURE) for cosine in cosines]
            chances.append(weights[target] / sum(weights))
        best = int(np.argmax(chances))
        inside = (
            example.starts_s[target] - MARGIN_S
            <= example.times_s[best]
            <= example.ends_s[target] + MARGIN_S
        )
        located.append(float(inside))
        accuracy.append(float(inside and chances[best] >= 0.5))
    return accuracy, located


def test_spotting_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    clips = [
        clip(rng.normal(size=(frames, 6)), rng.normal(size=(words, 6)), list(range(words)))
        for frames, words in rng.integers((10, 2), (60, 9), size=(40, 2))
    ]
    found = spot_words(clips)
    expected = [slow(example) for example in clips]
    for name, which in (("accuracy", 0), ("located", 1)):
        flat = [value for example in expected for value in example[which]]
        np.testing.assert_allclose(found[name], flat)
        assert 0 < np.mean(flat) < 1


def test_a_word_is_spotted_where_its_gesture_is_and_nowhere_else() -> None:
    words = np.eye(8)
    frames = np.repeat(words, 5, axis=0)  # each word's gesture under the word
    assert spot_words([clip(frames, words, list(range(8)))])["accuracy"].tolist() == [1.0] * 8
    # Every gesture two words late: out of reach of the margin.
    late = np.roll(frames, 10, axis=0)
    assert spot_words([clip(late, words, [1, 2, 3, 4, 5])])["accuracy"].tolist() == [0.0] * 5
    # Within the margin of 0.36 s.
    early = np.roll(frames, -3, axis=0)
    assert spot_words([clip(early, words, [1, 2, 3, 4, 5])])["accuracy"].tolist() == [1.0] * 5


def test_a_clip_that_says_everything_everywhere_spots_nothing() -> None:
    words = np.eye(8)
    found = spot_words([clip(np.ones((40, 8)), words, [0, 4])])
    assert found["accuracy"].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(found["located"], found["chance"])


def test_random_embeddings_locate_words_at_chance() -> None:
    rng = np.random.default_rng(0)
    clips = [
        clip(rng.normal(size=(40, 16)), rng.normal(size=(8, 16)), [int(rng.integers(8))])
        for _ in range(1500)
    ]
    found = spot_words(clips)
    low, high = binom.interval(0.9999, 1500, found["chance"].mean())
    assert low <= found["located"].sum() <= high
    assert found["accuracy"].mean() <= found["located"].mean()


def test_a_diverged_encoder_is_named() -> None:
    broken = np.full((4, 3), np.nan)
    with pytest.raises(UserError, match="clip 1: found 4 frames"):
        spot_words([clip(np.eye(3), np.eye(3), [0]), clip(broken, np.eye(3), [0])])
