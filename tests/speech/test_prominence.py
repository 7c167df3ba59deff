"""Prominence: louder and longer words stand out, at any level of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.prominence import prominence_of
from gestray.speech.words import Word


def spoken(loudness: list[float], seconds: list[float], gain: float = 1.0):
    """Words of four letters as noise, with a pause of a tenth of a second after each."""
    rng, parts, words, at = np.random.default_rng(0), [], [], 0.0
    for loud, length in zip(loudness, seconds, strict=True):
        parts.append(gain * loud * rng.normal(0, 0.1, round(length * SAMPLE_RATE)))
        parts.append(np.zeros(SAMPLE_RATE // 10))
        words.append(Word("word", at, at + length))
        at += length + 0.1
    return words, np.concatenate(parts).astype("f4")


@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_the_loud_and_the_long_word_stand_out(gain):
    louder = prominence_of(*spoken([1, 1, 3, 1], [0.3] * 4, gain))
    assert louder.argmax() == 2 and louder[2] > 0.5 > louder[[0, 1, 3]].max()
    longer = prominence_of(*spoken([1] * 4, [0.3, 0.6, 0.3, 0.3], gain))
    assert longer.argmax() == 1 and longer[1] > 0.5
    assert louder.mean() == pytest.approx(0, abs=1e-9)


def test_words_that_are_alike_or_silent_do_not_stand_out():
    words, samples = spoken([1, 1], [0.3, 0.3])
    assert np.abs(prominence_of(words, np.zeros_like(samples))).max() == 0
    assert prominence_of([], samples).shape == (0,)
    # A word beyond the end of the sound is silent, and no fault.
    assert prominence_of([*words, Word("late", 9.0, 9.3)], samples).argmin() == 2
